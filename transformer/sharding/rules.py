"""Which axis of which parameter lies along which axis of the mesh, for all families: one table."""

import dataclasses
import math
from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from transformer import paths
from transformer.errors import ConfigError

Axis = str | tuple[str, ...] | None

# Path of a parameter -> mesh axis of each of its own axes; a third entry is taken where the second
# does not divide. The leading axis that the scan over depth adds below `repeat` is not written
# here: it lies along `stage`.
RULES = (
    (r'tokens/table|head/kernel', ('tensor', 'fsdp'), (None, ('fsdp', 'tensor'))),
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


def param_specs(params: Any, mesh: Mesh | AbstractMesh, rules=RULES) -> Any:
    """A PartitionSpec for each parameter.

    Args:
      params: arrays or shapes, a nested dict.

    Raises:
      ValueError: no rule for a parameter, or a rule of another rank.
      ConfigError: an axis of a parameter that its mesh axis does not divide.
    """
    table = [(pattern, _Rule(*choices)) for pattern, *choices in rules]
    chosen = jax.tree.leaves(paths.match(table, params, all_used=False))
    specs = []
    for path, leaf, rule in zip(paths.names(params), jax.tree.leaves(params), chosen):
        depth = ('stage',) * ('/repeat/' in path)
        spec = depth + rule.axes
        if len(spec) != len(leaf.shape):
            raise ValueError(f'parameter {path!r} has shape {leaf.shape}, its rule is {rule.axes}')
        if rule.otherwise and _undivided(leaf.shape, spec, mesh):
            spec = depth + rule.otherwise
        if found := _undivided(leaf.shape, spec, mesh):
            raise _refusal(path, *found, mesh)
        specs.append(PartitionSpec(*spec))
    return jax.tree.unflatten(jax.tree.structure(params), specs)


@dataclasses.dataclass(frozen=True)
class _Rule:
    axes: tuple[Axis, ...]
    otherwise: tuple[Axis, ...] = ()


def _undivided(shape, spec, mesh) -> tuple[int, tuple[str, ...]] | None:
    """A size that its mesh axes do not divide, and those."""
    for size, axis in zip(shape, spec):
        axes = (axis,) if isinstance(axis, str) else axis or ()
        if size % math.prod(mesh.shape[a] for a in axes):
            return size, axes
    return None


def _refusal(path: str, size: int, axes: tuple[str, ...], mesh) -> ConfigError:
    axis = max(axes, key=lambda a: mesh.shape[a])
    now = mesh.shape[axis]
    others = {a: mesh.shape[a] for a in axes if a != axis and mesh.shape[a] > 1}
    rest = math.prod(others.values())
    fitting = [n for n in range(1, size + 1) if size % (n * rest) == 0]
    near = sorted(sorted(fitting, key=lambda n: abs(n - now))[:2])
    times = ' '.join(f'times config.mesh.{a}={n}' for a, n in others.items())
    what = f'what {times} is ' if times else ''
    such = f', such as {" or ".join(map(str, near))}' if near else ''
    accepted = f'{what}a divisor of {size}, an axis of parameter {path}{such}'
    return ConfigError(f'mesh.{axis}', now, accepted)
