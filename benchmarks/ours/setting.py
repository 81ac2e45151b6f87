"""What the sides of ours begin with: an experiment on one device, as train.py sets it up."""

import dataclasses
from typing import Any

import jax
from jax.sharding import Mesh

from benchmarks import cases
from transformer import hardware, optim, sharding, step
from transformer.experiment import Experiment, MeshConfig


@dataclasses.dataclass(frozen=True)
class Setting:
    """A case of `cases.CASES`, with the overrides of the command line."""

    case: cases.Case
    experiment: Experiment
    mesh: Mesh

    @classmethod
    def of(cls, model: str, overrides: dict[str, str]) -> 'Setting':
        """The mesh is that of this process from now on."""
        experiment = cases.experiment(model, overrides)
        hardware.enable_compilation_cache(experiment.compilation_cache)
        mesh = sharding.make_mesh(MeshConfig(data=1), devices=jax.devices()[:1])
        jax.set_mesh(mesh)
        return cls(cases.CASES[model], experiment, mesh)


@dataclasses.dataclass(frozen=True)
class Training:
    """A training state, and what it is updated with.

    Attributes:
      abstract: the state's shapes, types and layout.
    """

    state: step.TrainState
    abstract: step.TrainState
    tx: Any

    @classmethod
    def of(cls, model: Any, setting: Setting) -> 'Training':
        """The first state, made in place."""
        c, tx = setting.experiment, optim.make(setting.experiment)
        init = step.init_fn(model, tx)
        abstract = step.abstract_state(init, tx, setting.mesh, c.optimizer.offload)
        layout = jax.tree.map(lambda x: x.sharding, abstract)
        state = jax.jit(init, out_shardings=layout)(jax.random.key(c.seed))
        return cls(state, abstract, tx)
