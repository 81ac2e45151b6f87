"""Where activations lie: constraints at the boundaries of blocks, put there from outside.

Flax modules know no mesh. A method interceptor constrains what some of them return; between these
places XLA decides.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
from jax.sharding import PartitionSpec

from transformer import paths, summary
from transformer.blocks import Block
from transformer.embed import Embed, Tokens
from transformer.heads import MaskedHead, TokenHead
from transformer.ops import partition
from transformer.patches import Patches
from transformer.sharding.rules import param_specs

# What a module returns -> mesh axes of [B, T, last]. Outside pipelines `stage` splits rows too.
ROWS = (*partition.ROWS, 'stage')
RESULTS = {
    Tokens: (ROWS, (partition.CONTEXT,), ()),
    Embed: (ROWS, (partition.CONTEXT,), ()),
    Patches: (ROWS, (partition.CONTEXT,), ()),
    Block: (ROWS, (partition.CONTEXT,), ()),
    TokenHead: (ROWS, (partition.CONTEXT,), partition.HEADS),
    MaskedHead: (ROWS, (partition.CONTEXT,), partition.HEADS),
}
# The gradient of token vectors is summed into a table whose columns `fsdp` splits: columns are
# exchanged for rows first, which is little, where XLA would gather all rows or sum whole tables.
TOKENS_BACKWARD = (tuple(axis for axis in ROWS if axis != 'fsdp'), (partition.CONTEXT,), ('fsdp',))


def apply(model: nn.Module, variables: Any, *args, **kwargs) -> Any:
    """`model.apply`, with activations constrained to the mesh in force; the same without one."""
    if not partition.ways():
        return model.apply(variables, *args, **kwargs)
    with nn.intercept_methods(_intercept):
        return model.apply(variables, *args, **kwargs)


def _intercept(next_fun, args, kwargs, context):
    found = next_fun(*args, **kwargs)
    axes = RESULTS.get(type(context.module)) if context.method_name == '__call__' else None
    if axes is None:
        return found
    if isinstance(found, tuple):
        return jax.lax.with_sharding_constraint(found[0], _spec(found[0], axes)), *found[1:]
    if type(context.module) is Tokens:
        return _laid(found, _spec(found, axes), _spec(found, TOKENS_BACKWARD))
    return jax.lax.with_sharding_constraint(found, _spec(found, axes))


def _spec(x: jax.Array, axes: tuple[tuple[str, ...], ...]) -> PartitionSpec:
    """`axes` as far as they are in force; an axis of `x` that they do not divide stays whole."""
    return PartitionSpec(*map(partition.first_dividing, axes, x.shape))


def at_use(params: Any, model: nn.Module) -> Any:
    """The parameters as the model is to read them: those outside the scans gathered over `fsdp`.

    A table of tokens is read by its rows, where XLA would rather move activations than the table.
    What lies below a scan over depth is gathered layer by layer, by XLA.

    Tables of tokens are gathered in the type that the model computes in.
    """
    if not partition.ways():
        return params
    specs = param_specs(params, jax.sharding.get_abstract_mesh())
    used = []
    for path, x, spec in zip(paths.names(params), *map(jax.tree.leaves, (params, specs))):
        if '/repeat/' not in path and '/shared/' not in path:
            if path in ('tokens/table', 'head/kernel'):
                x = x.astype(next(iter(summary.stacks(model.config).values()))[0].dtype)
            # Gradients are summed where they are to lie, instead of everywhere.
            x = _laid(x, PartitionSpec(*map(_whole, spec)), spec)
        used.append(x)
    return jax.tree.unflatten(jax.tree.structure(params), used)


def _whole(axis: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
    """An entry of a spec without `fsdp`."""
    if isinstance(axis, tuple):
        return tuple(a for a in axis if a != 'fsdp') or None
    return None if axis == 'fsdp' else axis


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _laid(x: jax.Array, forward: PartitionSpec, backward: PartitionSpec) -> jax.Array:
    """`x` laid by `forward`, its gradient by `backward`."""
    return jax.lax.with_sharding_constraint(x, forward)


def _laid_forward(x, forward, backward):
    return _laid(x, forward, backward), None


def _laid_backward(forward, backward, _, grad):
    return (jax.lax.with_sharding_constraint(grad, backward),)


_laid.defvjp(_laid_forward, _laid_backward)
