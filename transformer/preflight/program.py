"""The real step of an experiment, compiled for devices that are not here.

B rows, T the context, V vocabulary.
"""

import dataclasses
import functools
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from transformer import decode, optim, schedule, sharding, step, writer
from transformer.errors import ConfigError, UserError
from transformer.ops.partition import HEADS, ROWS
from transformer.preflight.kinds import Topology
from transformer.preflight.task import Task
from transformer.restore import build_model, without_stages
from transformer.sampling import Sampling


@dataclasses.dataclass(frozen=True)
class Case:
    """An experiment on a topology.

    Attributes:
      model: as it is to run there; with caches, where it is to write text.
      writes: whether the step is one of decoding, not of training.
    """

    experiment: Any
    topology: Topology
    task: Task
    mesh: Mesh | AbstractMesh
    model: Any
    writes: bool


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A compiled step.

    Attributes:
      state: shapes and layout of the training state, or of the parameters alone.
      kept: shapes and layout of what decoding keeps (the caches), or None.
      executable: None where the compiler ran out of memory.
      error: what it said then.
      seconds: to trace and compile.
    """

    state: Any
    kept: Any
    executable: Any
    error: str
    seconds: float


def case(experiment: Any, topology: Topology, task: Task, devices: Any, writes: bool) -> Case:
    """The model and the mesh; what cannot be laid out is refused as in training.

    Raises:
      ConfigError: the mesh, the batch or the context do not fit the devices.
      UserError: decoding with a model that writes nothing.
    """
    c = experiment
    if writes:  # as `restore.load` does
        c = dataclasses.replace(c, mesh=without_stages(c.mesh))
    mesh = sharding.make_mesh(c.mesh, c.model.experts, devices)
    if writes:
        if c.objective.SHAPE not in ('decoder', 'encoder_decoder'):
            raise UserError(f'--decode: a model of objective {c.objective.kind!r} writes no text')
        _check_rows(c.batch_size, mesh)
    else:
        sharding.check_batch(c.batch_size, c.accumulation, c.length, mesh)
        schedule.check_use(mesh.shape['stage'], c.accumulation, c.rounds)
        if task.target % mesh.shape['context']:
            accepted = f'a divisor of {task.target}, the length of target sequences'
            raise ConfigError('mesh.context', mesh.shape['context'], accepted)
    sharding.check_model(c.model, mesh)
    sizes = task.vocab, task.classes, task.target
    if not topology.compiles:  # the shape of the mesh is all that there is
        mesh = mesh.abstract_mesh
    # The fused kernels of TPUs stand for those of GPUs, which cannot be traced without one.
    model = build_model(c, *sizes, decode=writes, platform='tpu')
    return Case(c, topology, task, mesh, model, writes)


def _check_rows(rows: int, mesh: Mesh) -> None:
    ways = sharding.row_ways(mesh)
    if rows % ways:
        near = -(-rows // ways) * ways
        raise ConfigError('batch_size', rows, f'a multiple of {ways}, such as {near}')


def compiled(of: Case) -> Compiled:
    """The step, traced and compiled; running out of memory is an answer, not an error.

    Raises:
      UserError: the compiler cannot make a program of it, whatever the memory.
    """
    began = time.monotonic()
    lowered, state, kept = (lowered_decode if of.writes else lowered_train)(of)
    executable, error = None, ''
    try:
        executable = lowered.compile()
    except jax.errors.JaxRuntimeError as raised:
        error = str(raised)
        if 'RESOURCE_EXHAUSTED' not in error:
            raise UserError(f'the compiler refuses the program: {error[:500]}') from None
    return Compiled(state, kept, executable, error, time.monotonic() - began)


def train_state(of: Case) -> Any:
    """Shapes, types and layout of the training state."""
    tx = optim.make(of.experiment)
    offload = of.experiment.optimizer.offload
    return step.abstract_state(step.init_fn(of.model, tx), tx, of.mesh, offload)


def lowered_train(of: Case) -> tuple[Any, Any, None]:
    """The training step that `train.py` runs, its state, and nothing else that is kept."""
    c, tx = of.experiment, optim.make(of.experiment)
    state = train_state(of)
    shardings = jax.tree.map(lambda x: x.sharding, state)
    batch = step.abstract_batch(of.task.batch(c.batch_size, c.accumulation), of.mesh)
    update = step.train_step_fn(of.model, tx, c, of.task.sources)
    return step.jit_train_step(update, shardings, of.mesh).lower(state, batch), state, None


def lowered_decode(of: Case) -> tuple[Any, Any, Any]:
    """A step of `decode.advance`: one token for each row, whose caches have the whole context."""
    model, params = writer.ready(of.model, parameters(of))
    kept = decode_state(of, model)
    one = functools.partial(decode.advance, model, Sampling(), None)

    def on_mesh(params, key, state):
        with jax.sharding.use_abstract_mesh(of.mesh.abstract_mesh):
            return one(params, jax.random.wrap_key_data(key), state, jnp.int32(0), jnp.int32(1))

    whole = NamedSharding(of.mesh, PartitionSpec())
    key = jax.ShapeDtypeStruct((2,), jnp.uint32, sharding=whole)
    layout = jax.tree.map(lambda x: x.sharding, kept)
    jitted = jax.jit(on_mesh, out_shardings=layout, donate_argnums=2)
    return jitted.lower(params, key, kept), params, kept


def parameters(of: Case) -> Any:
    """Shapes, types and layout of the parameters alone."""
    shapes = jax.eval_shape(
        lambda key: of.model.init(key, of.model.example(), method='forward')['params'],
        jax.random.key(0),
    )
    specs = sharding.param_specs(shapes, of.mesh)
    return jax.tree.map(lambda x, spec: _laid(x, of.mesh, spec), shapes, specs)


def decode_state(of: Case, model: Any) -> Any:
    """Shapes and layout of a `decode.State` of `model`: rows and heads of its caches are split."""
    c, writes = of.experiment, of.task.target
    length = (c.context,) if not writes else (writes, c.context)
    tensor = math.prod(of.mesh.shape[axis] for axis in HEADS)

    def made(rows: int) -> Any:
        logits_BV = jnp.zeros((rows, model.config.tokens.vocab))
        caches = model.init_cache(rows, *length)
        return decode.State.of(logits_BV, caches, jnp.zeros(rows, jnp.int32), 1)

    def layout(one, two, x) -> jax.ShapeDtypeStruct:
        # Its rows are where it grows with their number.
        spec = [ROWS if a != b else None for a, b in zip(one.shape, two.shape)]
        at = spec.index(ROWS) + 1 if ROWS in spec else 0
        if at and at < len(spec) - 1 and x.shape[at] % tensor == 0:
            spec[at] = HEADS  # a cache has its heads after its rows
        return _laid(x, of.mesh, PartitionSpec(*spec))

    shapes = (jax.eval_shape(functools.partial(made, n)) for n in (1, 2, c.batch_size))
    return jax.tree.map(layout, *shapes)


def _laid(x: Any, mesh: Mesh | AbstractMesh, spec: PartitionSpec) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec))
