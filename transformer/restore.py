"""A trained model from its work directory, for everything that is not training."""

import contextlib
import dataclasses
from collections.abc import Iterator
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
    experiment: Experiment,
    vocab: int = 0,
    classes: int = 0,
    target: int = 0,
    decode: bool = False,
    platform: str = '',
) -> Any:
    """The model that an experiment describes.

    Args:
      vocab: tokens of the tokenizer; 0 for images.
      classes: of the data, if they have any.
      target: longest target of an encoder-decoder, where the experiment leaves it to the objective.
      decode: whether it is to write text: some attention backends cannot.
      platform: where it is to run: 'cpu', 'gpu' or 'tpu'; '' means here.
    """
    platform = platform or jax.default_backend()
    sizes = Sizes(
        vocab=vocab,
        context=experiment.context,
        target_context=experiment.target_context or target,
        head=experiment.objective.HEAD,
        classes=classes,
        dtype=hardware.resolve_dtype(experiment.dtype, platform),
        remat=experiment.remat,
        unroll=hardware.resolve_unroll(experiment.unroll, platform),
        platform=platform,
        prefix=experiment.objective.kind == 'prefix',
        decode=decode,
        stages=max(experiment.mesh.stage, 1),  # what -1 comes to, a `Stack` sees
        rounds=experiment.rounds,
        microbatches=experiment.accumulation,
        context_ways=experiment.mesh.context,
    )
    return model.make(experiment.model.build(sizes))


def load(
    directory: Path, digest: str | None, checkpoint: str, asked: Experiment | None = None
) -> Restored:
    """The model of a run.

    Args:
      digest: of the run's tokenizer; it must be the one that the model was trained with. None: no
        tokenizer is used.
      checkpoint: 'best' (lowest validation loss), 'latest', or a step.
      asked: the run's experiment with what `evaluation.changed` changes; None: as it was trained.

    Raises:
      UserError: no run, no such checkpoint, a damaged one, or another tokenizer.
    """
    trained = Experiment.from_config(workdir.read_config(directory))
    experiment = asked or trained
    folder = directory / workdir.CHECKPOINTS
    if not folder.is_dir():
        raise UserError(f'--workdir={directory} holds no checkpoint yet')
    checkpoints = Checkpoints(folder, read_only=True, report=workdir.warn)
    step = _choose(checkpoints, checkpoint, directory)
    task = workdir.read_task(directory)
    shape = task['vocab'], len(task['classes']), task['target_context']
    # Stages become parts: only training has microbatches that flow through a pipeline.
    plain = dataclasses.replace(experiment, mesh=without_stages(experiment.mesh))
    # Tables of places are as long as they were trained, though rows may be shorter.
    names = ('context', 'target_context')
    longest = {name: max(getattr(trained, name), getattr(plain, name)) for name in names}
    whole = dataclasses.replace(plain, **longest)
    built = build_model(whole, *shape)
    writer = build_model(whole, *shape, decode=True)
    abstract = jax.eval_shape(
        lambda key: built.init(key, built.example(), method='forward')['params'], jax.random.key(0)
    )
    mesh, specs = _laid_out(plain, abstract, task['target_context'])
    shardings = jax.tree.map(lambda spec: jax.sharding.NamedSharding(mesh, spec), specs)
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


def without_stages(mesh: MeshConfig) -> MeshConfig:
    """The stages' devices along `fsdp`."""
    if mesh.stage == -1 or mesh.fsdp == -1:
        return dataclasses.replace(mesh, stage=1, fsdp=-1)
    return dataclasses.replace(mesh, stage=1, fsdp=mesh.fsdp * mesh.stage)


def _meshes(experiment: Experiment) -> Iterator[Mesh]:
    """The mesh of the run, then others that these devices may form: parts, copies, one device.

    One device is no choice for several processes: the others would have none.
    """
    for config in (experiment.mesh, MeshConfig(data=1, fsdp=-1), MeshConfig()):
        with contextlib.suppress(ConfigError):
            yield sharding.make_mesh(config, experiment.model.experts)
    if jax.process_count() == 1:
        yield sharding.make_mesh(MeshConfig(data=1), devices=jax.devices()[:1])


def _laid_out(experiment: Experiment, params: Any, target: int) -> tuple[Mesh, Any]:
    """The first mesh that divides the parameters and the lengths, and a spec for each parameter."""
    last: ConfigError | None = None
    for mesh in _meshes(experiment):
        try:
            for length in (experiment.length, target):
                sharding.check_context(length, mesh)
            return mesh, sharding.param_specs(params, mesh)
        except ConfigError as error:
            last = error
    raise last


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
