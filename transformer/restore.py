"""A trained model from its work directory, for everything that is not training."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from transformer import hardware, model, sharding, workdir
from transformer.checkpoint import Checkpoints
from transformer.errors import ConfigError, UserError
from transformer.experiment import Experiment, MeshConfig
from transformer.models.assemble import Sizes


@dataclasses.dataclass(frozen=True)
class Restored:
    """A model with the parameters of one checkpoint.

    Attributes:
      writer: the same model, built for writing text with caches.
      classes: names of the classes or tags, if there are any.
      step: of the checkpoint.
      validation_loss: that training measured there, or None.
    """

    experiment: Experiment
    model: Any
    writer: Any
    classes: tuple[str, ...]
    params: Any
    param_shardings: Any
    mesh: Mesh
    step: int
    validation_loss: float | None


def build_model(
    experiment: Experiment, vocab: int = 0, classes: int = 0, target: int = 0, decode: bool = False
) -> Any:
    """The model that an experiment describes.

    Args:
      vocab: tokens of the tokenizer; 0 for images.
      classes: of the data, if they have any.
      target: longest target of an encoder-decoder, where the experiment leaves it to the objective.
      decode: whether it is to write text: some attention backends cannot.
    """
    sizes = Sizes(
        vocab=vocab,
        context=experiment.context,
        target_context=experiment.target_context or target,
        head=experiment.objective.HEAD,
        classes=classes,
        dtype=hardware.resolve_dtype(experiment.dtype),
        remat=experiment.remat,
        unroll=hardware.resolve_unroll(experiment.unroll),
        platform=jax.default_backend(),
        prefix=experiment.objective.kind == 'prefix',
        decode=decode,
    )
    return model.make(experiment.model.build(sizes))


def load(directory: Path, digest: str | None, checkpoint: str) -> Restored:
    """The model of a run.

    Args:
      digest: of the run's tokenizer; it must be the one that the model was trained with. None: no
        tokenizer is used.
      checkpoint: 'best' (lowest validation loss), 'latest', or a step.

    Raises:
      UserError: no run, no such checkpoint, a damaged one, or another tokenizer.
    """
    experiment = Experiment.from_config(workdir.read_config(directory))
    folder = directory / workdir.CHECKPOINTS
    if not folder.is_dir():
        raise UserError(f'--workdir={directory} holds no checkpoint yet')
    checkpoints = Checkpoints(folder, read_only=True, report=workdir.warn)
    step = _choose(checkpoints, checkpoint, directory)
    mesh = _any_mesh(experiment)
    task = workdir.read_task(directory)
    shape = task['vocab'], len(task['classes']), task['target_context']
    built = build_model(experiment, *shape)
    writer = build_model(experiment, *shape, decode=True)
    abstract = jax.eval_shape(
        lambda key: built.init(key, built.example(), method='forward')['params'], jax.random.key(0)
    )
    shardings = jax.tree.map(
        lambda spec: jax.sharding.NamedSharding(mesh, spec), sharding.param_specs(abstract, mesh)
    )
    abstract = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, shardings
    )
    params, meta = checkpoints.restore_params(abstract, step)
    if digest is not None:
        workdir.check_same('tokenizer', digest, meta['tokenizer'])
    loss = checkpoints.validation_loss(meta['step'])
    checkpoints.close()
    classes = tuple(task['classes'])
    return Restored(experiment, built, writer, classes, params, shardings, mesh, meta['step'], loss)


def _any_mesh(experiment: Experiment) -> Mesh:
    """The mesh of the run, or plain copies where these devices cannot form it."""
    try:
        return sharding.make_mesh(experiment.mesh, experiment.model.experts)
    except ConfigError:
        return sharding.make_mesh(MeshConfig())


def _choose(checkpoints: Checkpoints, wanted: str, directory: Path) -> int | None:
    steps = checkpoints.steps()
    if not steps:
        raise UserError(f'--workdir={directory} holds no checkpoint yet')
    if wanted == 'latest':
        return None
    if wanted == 'best':
        return checkpoints.best()
    if not wanted.isdigit() or int(wanted) not in steps:
        known = ', '.join(map(str, steps))
        raise UserError(f'--checkpoint={wanted}: accepted: best, latest, or a step of {known}')
    return int(wanted)
