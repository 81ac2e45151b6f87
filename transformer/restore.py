"""A trained model from its work directory, for everything that is not training."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from transformer import hardware, sharding, workdir
from transformer.checkpoint import Checkpoints
from transformer.context import Context
from transformer.errors import ConfigError, UserError
from transformer.experiment import Experiment, MeshConfig
from transformer.model import Decoder


@dataclasses.dataclass(frozen=True)
class Restored:
    """A model with the parameters of one checkpoint.

    Attributes:
      step: of the checkpoint.
      validation_loss: that training measured there, or None.
    """

    experiment: Experiment
    model: Any
    params: Any
    param_shardings: Any
    mesh: Mesh
    step: int
    validation_loss: float | None


def build_model(experiment: Experiment, vocab: int) -> Decoder:
    """The model that an experiment describes, for a tokenizer with `vocab` tokens."""
    config = experiment.model.build(
        vocab,
        experiment.context,
        dtype=hardware.resolve_dtype(experiment.dtype),
        remat=experiment.remat,
        unroll=hardware.resolve_unroll(experiment.unroll),
    )
    return Decoder(config)


def load(directory: Path, tokenizer: Any, digest: str, checkpoint: str) -> Restored:
    """The model of a run.

    Args:
      tokenizer: of the run.
      digest: of the tokenizer; it must be the one that the model was trained with.
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
    model = build_model(experiment, tokenizer.vocab_size)
    inputs = jax.ShapeDtypeStruct((1, 8), 'int32')
    abstract = jax.eval_shape(
        lambda key, x: model.init(key, x, Context.of(x))['params'], jax.random.key(0), inputs
    )
    shardings = jax.tree.map(
        lambda spec: jax.sharding.NamedSharding(mesh, spec), sharding.param_specs(abstract, mesh)
    )
    abstract = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), abstract, shardings
    )
    params, meta = checkpoints.restore_params(abstract, step)
    workdir.check_same('tokenizer', digest, meta['tokenizer'])
    loss = checkpoints.validation_loss(meta['step'])
    checkpoints.close()
    return Restored(experiment, model, params, shardings, mesh, meta['step'], loss)


def _any_mesh(experiment: Experiment) -> Mesh:
    """The mesh of the run, or plain copies where these devices cannot form it."""
    try:
        return sharding.make_mesh(experiment.mesh)
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
