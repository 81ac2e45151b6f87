"""Layout: which axis of which parameter lies along which axis of the mesh. One table.

The axes: `data` copies everything and splits the batch; `fsdp` splits the batch, the parameters and
the optimizer state; `tensor` splits heads, hidden units and the vocabulary; `context` splits
sequences; `expert` splits experts.
"""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from transformer import paths
from transformer.errors import ConfigError
from transformer.experiment import MeshConfig

# Path of a parameter -> mesh axis of each of its own axes. The leading axis that the scan over
# depth adds below `repeat` is not written here; it is never split.
RULES = (
    (r'tokens/table|head/kernel', ('tensor', 'fsdp')),
    (r'(\w*embed|patches)/(positions/table|types|extra)', (None, 'fsdp')),
    (r'(embed|stack)/project/kernel', ('fsdp', None)),
    (r'(patches/project|.*/join)/kernel', (None, None, None, 'fsdp')),
    (r'head/dense/kernel', ('fsdp', None)),
    (r'head/(classes|distilled)/kernel', ('fsdp', None)),
    (r'head/distilled/bias', (None,)),
    (r'(stack|encoder|decoder)/relative/table', (None, None)),
    (r'.*/(mixer|cross)/(position_)?(query|key|value|gate)/kernel', ('fsdp', 'tensor', None)),
    (r'.*/(mixer|cross)/(position_)?(query|key|value)/bias', ('tensor', None)),
    (r'.*/(mixer|cross)/out/kernel', ('tensor', None, 'fsdp')),
    (r'.*/mixer/group/(scale|bias)', ('tensor', None)),
    (r'.*/mixer/expand/kernel', ('fsdp', None, 'tensor')),
    (r'.*/mixer/expand/bias', (None, 'tensor')),
    (r'.*/mixer/contract/bias', (None,)),
    (r'.*/mixer/(conv|step)/kernel', (None, 'tensor')),
    (r'.*/mixer/((conv|step)/bias|D)', ('tensor',)),
    (r'.*/mixer/(parameters/kernel|A_log)', ('tensor', None)),
    (r'.*/mixer/contract/kernel', ('tensor', 'fsdp')),
    (r'.*/mlp/(up|gate)/kernel', ('fsdp', 'tensor')),
    (r'.*/mlp/(up|gate)/bias', ('tensor',)),
    (r'.*/mlp/down/kernel', ('tensor', 'fsdp')),
    (r'.*/mlp/router/kernel', ('fsdp', None)),
    (r'.*/mlp/router/bias', (None,)),
    (r'.*/mlp/experts_(up|gate)/kernel', ('expert', 'fsdp', 'tensor')),
    (r'.*/mlp/experts_(up|gate)/bias', ('expert', 'tensor')),
    (r'.*/mlp/experts_down/kernel', ('expert', 'tensor', 'fsdp')),
    (r'.*/mlp/experts_down/bias', ('expert', None)),
    (
        r'(.*/)?(mixer/out|cross/out|mlp/down|\w*norm\w*|project|dense|classes|join)/(scale|bias)',
        (None,),
    ),
    (r'head/bias', (None,)),
)


def batch_spec(rank: int) -> PartitionSpec:
    """Of an array of a batch: [microbatches, rows], [microbatches, rows, tokens], or images."""
    rows = (None, ('data', 'fsdp'))
    return PartitionSpec(*rows, 'context') if rank == 3 else PartitionSpec(*rows)


def make_mesh(config: MeshConfig, experts: int = 0) -> Mesh:
    """A mesh over all devices.

    Args:
      experts: of the model; without any, nothing can be split along `expert`.

    Raises:
      ConfigError: the axes do not multiply to the number of devices.
    """
    sizes = dataclasses.asdict(config)
    count = jax.device_count()
    for axis, size in sizes.items():
        if size == 0 or size < -1:
            raise ConfigError(
                f'mesh.{axis}', size, 'a whole number above 0, or -1 for what is left'
            )
    if config.expert != 1 and not experts:  # the devices along it would do the same work
        raise ConfigError('mesh.expert', config.expert, '1, as config.model.experts=0')
    free = [axis for axis, size in sizes.items() if size == -1]
    if len(free) > 1:
        raise ConfigError(
            f'mesh.{free[1]}', -1, f'-1 on one axis only; config.mesh.{free[0]} has it'
        )
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if count % fixed or (not free and count != fixed):
        axis = max((a for a in sizes if sizes[a] != -1), key=lambda a: sizes[a])
        shape = ' * '.join(f'{a} {s}' for a, s in sizes.items() if s not in (1, -1))
        raise ConfigError(
            f'mesh.{axis}',
            sizes[axis],
            f'sizes that multiply to the {count} devices here, -1 once for what is left '
            f'(now {shape} = {fixed})',
        )
    if free:
        sizes[free[0]] = count // fixed
    auto = (AxisType.Auto,) * len(sizes)
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=auto)


def check_batch(batch_size: int, accumulation: int, context: int, mesh: Mesh) -> None:
    """Raises a `ConfigError` where a batch cannot be dealt out evenly over the mesh."""
    rows = batch_size // accumulation
    ways = mesh.shape['data'] * mesh.shape['fsdp']
    if rows % ways:
        unit = ways * accumulation
        near = sorted({max(1, batch_size // unit) * unit, -(-batch_size // unit) * unit})
        each = f' in {accumulation} microbatches' if accumulation > 1 else ''
        raise ConfigError(
            'batch_size',
            batch_size,
            f'a multiple of {unit} for {ways} devices along data and fsdp{each}, '
            f'such as {" or ".join(map(str, near))}',
        )
    if context % mesh.shape['context']:
        raise ConfigError('context', context, f'a multiple of mesh.context={mesh.shape["context"]}')


def param_specs(params: Any, mesh: Mesh, rules=RULES) -> Any:
    """A PartitionSpec for each parameter.

    Args:
      params: arrays or shapes, a nested dict.

    Raises:
      ValueError: no rule for a parameter, or a rule of another rank.
      ConfigError: an axis of a parameter that its mesh axis does not divide.
    """
    axes = paths.match([(pattern, _Axes(spec)) for pattern, spec in rules], params, all_used=False)
    specs = []
    found = zip(paths.names(params), jax.tree.leaves(params), jax.tree.leaves(axes))
    for path, leaf, rule in found:
        spec = (None,) * ('/repeat/' in path) + rule.axes
        if len(spec) != len(leaf.shape):
            raise ValueError(f'parameter {path!r} has shape {leaf.shape}, its rule is {rule.axes}')
        for size, axis in zip(leaf.shape, spec):
            if axis and size % mesh.shape[axis]:
                accepted = f'a divisor of {size}, an axis of parameter {path}'
                raise ConfigError(f'mesh.{axis}', mesh.shape[axis], accepted)
        specs.append(PartitionSpec(*spec))
    return jax.tree.unflatten(jax.tree.structure(params), specs)


@dataclasses.dataclass(frozen=True)
class _Axes:
    axes: tuple[str | None, ...]


def state_shardings(abstract_state: Any, tx: optax.GradientTransformation, mesh: Mesh) -> Any:
    """A NamedSharding for each leaf of a `TrainState`: optimizer state lies as its parameter."""
    specs = param_specs(abstract_state.params, mesh)
    shard = lambda tree: jax.tree.map(lambda spec: NamedSharding(mesh, spec), tree)  # noqa: E731
    whole = PartitionSpec()
    moments = optax.tree_map_params(
        tx,
        lambda _, spec: spec,
        abstract_state.opt_state,
        specs,
        transform_non_params=lambda _: whole,
    )
    rest = jax.tree.map(lambda _: whole, abstract_state)
    return shard(rest.replace(params=specs, opt_state=moments))


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This process's rows of a batch, onto its devices."""

    def put(x: np.ndarray) -> jax.Array:
        layout = NamedSharding(mesh, batch_spec(x.ndim))
        return jax.make_array_from_process_local_data(layout, x)

    return {name: put(x) for name, x in batch.items()}
