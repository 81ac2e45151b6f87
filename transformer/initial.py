"""What a run starts from instead of random numbers: a checkpoint, ours or Hugging Face's."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import ml_collections
import numpy as np

from transformer import paths, workdir
from transformer.errors import UserError

ORIGINAL = 'original'  # in a work directory: the files of the Hugging Face directory, no weights
KEPT = ('config.json', 'generation_config.json', 'preprocessor_config.json')


def is_run(source: str) -> bool:
    """Whether a work directory is named, not a Hugging Face directory or hub id."""
    return (Path(source) / workdir.TASK).is_file()


def adopt(config: ml_collections.ConfigDict, source: str, directory: Path) -> None:
    """Gives `config` the model of `source`, and says that its tokenizer is used, in place.

    Args:
      directory: of the run. Where it has begun with `source`, it has the model itself.

    Raises:
      UserError: there is no such directory, or its config.json is of no known family.
    """
    begun = workdir.read_config(directory) if workdir.has_checkpoint(directory) else {}
    if begun and begun.get('init') == source:
        config.model = begun.model
    elif is_run(source):
        config.model = workdir.read_config(Path(source)).model
    else:
        from transformer.hf import architecture, files
        from transformer.models.imported import ImportedOptions, settings

        directory = files.locate(source)
        values = architecture.values_of(directory)
        config.model = ml_collections.ConfigDict(
            {'family': ImportedOptions.family, 'hf': settings(values), 'allow': ()}
            | {'attention': ImportedOptions.attention}
        )
    config.init = source
    config.data.tokenizer = 'init'


def params(
    experiment: Any, model: Any, params: Any, classes: tuple[str, ...]
) -> tuple[Any, list[str]]:
    """The parameters of `experiment.init`, and fresh ones where it has none.

    Args:
      params: fresh ones, as they lie on the mesh.
      classes: names of the task's classes.

    Returns:
      The parameters, and the paths of those that stayed fresh.

    Raises:
      UserError: parameters other than a head's are missing, or have another shape.
    """
    layout = {path: x.sharding for path, x in paths.leaves(params).items()}
    if is_run(experiment.init):
        found, theirs = _of_run(experiment.init, layout, params, model)
    else:
        found, theirs = _of_checkpoint(experiment, params, layout, classes)
    found = by_name(found, theirs, classes)
    fresh = sorted(path for path in layout if path not in found)
    body = [path for path in fresh if not path.startswith('head/')]
    if body:
        raise UserError(
            f'config.init={experiment.init!r} has no parameter {body[0]!r} of this shape, and '
            f'{len(body) - 1} others; accepted: a checkpoint of config.model, of which only the '
            'head may differ'
        )
    whole = paths.leaves(params) | found
    return flax.traverse_util.unflatten_dict(whole, sep='/'), fresh


def by_name(
    found: Mapping[str, jax.Array], theirs: tuple[str, ...], mine: tuple[str, ...]
) -> dict[str, jax.Array]:
    """Parameters whose scores of classes stand in our order; without them where names differ.

    Names such as LABEL_0 say nothing: the order is taken as it is.
    """
    named = [name for name in theirs if not re.fullmatch(r'LABEL_\d+', name)]
    if not mine or theirs == mine or not named:
        return dict(found)
    scores = re.compile(r'head/(classes|distilled)/(kernel|bias)')
    if sorted(theirs) != sorted(mine):
        return {path: x for path, x in found.items() if not scores.fullmatch(path)}
    order = np.array([theirs.index(name) for name in mine])
    return {
        path: jax.device_put(x[..., order], x.sharding) if scores.fullmatch(path) else x
        for path, x in found.items()
    }


Found = tuple[dict[str, jax.Array], tuple[str, ...]]  # parameters by path, names of classes


def _of_checkpoint(experiment, fresh, layout, classes) -> Found:
    from transformer.hf import files, weights
    from transformer.hf.settings import Settings

    directory = files.locate(experiment.init)
    theirs = Settings(files.read_json(directory / files.CONFIG)).labels
    made = experiment.model.architecture(experiment.objective.HEAD, classes)
    with files.Tensors(directory) as tensors:
        pieces, _ = weights.check(tensors, made.pieces(fresh), made, fresh=True)
        return weights.load(tensors, pieces, made, layout, 'float32'), theirs


def _of_run(source: str, layout: Mapping[str, Any], fresh, model) -> Found:
    from transformer import restore

    run = restore.load(Path(source), None, 'best')
    same_head = type(run.model.config.head) is type(model.config.head)
    shapes = {path: x.shape for path, x in paths.leaves(fresh).items()}
    same = {
        path: x
        for path, x in paths.leaves(run.params).items()
        if shapes.get(path) == x.shape and (same_head or not path.startswith('head/'))
    }
    return {path: jax.device_put(x, layout[path]) for path, x in same.items()}, run.classes


def refuse_imported(directory: Path) -> None:
    """Raises a `UserError` where a checkpoint was imported: it has no optimizer state to go on."""
    if (directory / workdir.CHECKPOINTS / '0').is_dir():
        raise UserError(
            f'--workdir={directory} holds an imported checkpoint, not a run; fine-tune it in '
            f'another --workdir with --config.init={directory}'
        )


def keep_original(source: str, directory: Path) -> None:
    """Copies the small files that an export will want into the work directory.

    Names of classes and remarks in config.json are kept there, not in `config.model`.
    """
    target = directory / ORIGINAL
    if is_run(source):
        found = Path(source) / ORIGINAL
    else:
        from transformer.hf import files

        found = files.locate(source)
    for name in KEPT:
        if (found / name).is_file():
            target.mkdir(exist_ok=True)
            shutil.copyfile(found / name, target / name)


def original_config(directory: Path) -> dict[str, Any]:
    """The config.json that a work directory's model was imported with; {} where it was not."""
    file = directory / ORIGINAL / 'config.json'
    return json.loads(file.read_text(encoding='utf-8')) if file.is_file() else {}
