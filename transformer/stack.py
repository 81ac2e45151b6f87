"""The stack: a pattern of blocks repeated under one scan over depth."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from transformer import registry
from transformer.blocks import Block
from transformer.config import InitConfig, StackConfig
from transformer.context import Context
from transformer.layers import Dropout, Linear

# What the backward pass keeps of each repeat; it computes the rest again. 'none' keeps everything.
REMAT = {
    'none': None,
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    'full': jax.checkpoint_policies.nothing_saveable,
}


class Pattern(nn.Module):
    """The blocks of one repeat, in order: the body of the scan."""

    config: StackConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, ctx: Context, repeat: jax.Array, caches: tuple | None):
        c = self.config
        new_caches, auxes = [], []
        for i, block in enumerate(c.pattern):
            cache = None if caches is None else caches[i]
            depth = (repeat * len(c.pattern) + i) / max(c.layers - 1, 1)
            module = Block(block, c.width, c.dtype, name=f'block_{i}')
            x_BTD, cache, aux = module(x_BTD, ctx.replace(depth=depth), cache)
            new_caches.append(cache)
            auxes.append(aux)
        return x_BTD, (None if caches is None else tuple(new_caches), tuple(auxes))


class Stack(nn.Module):
    """`repeats` patterns, then a norm.

    Every parameter below `repeat` and every cache has a leading axis of length `repeats`; where the
    repeats share parameters, these lie below `shared` and have no such axis; where some of them
    do, the axis has length `groups`. The layout is the same whatever `unroll` and `remat` are, and
    so are the checkpoints.
    """

    config: StackConfig

    def setup(self):
        c = self.config
        body = Pattern
        if c.remat != 'none':
            # Inside a rolled scan nothing can be merged across the barrier; unrolled it could.
            body = nn.remat(body, policy=REMAT[c.remat], prevent_cse=c.unroll > 1)
        one = c.shared and c.groups == 1
        scan = nn.scan(
            body,
            variable_axes={'intermediates': 0} | ({} if one else {'params': 0}),
            variable_broadcast='params' if one else False,
            split_rngs={'params': not one, 'dropout': True},
            in_axes=(nn.broadcast, 0, 0),
            length=c.repeats,
            unroll=c.unroll,
        )
        if c.shared and not one:
            scan = _grouped(scan, c.repeats, c.groups, self.is_initializing())
        self.layers = scan(c, name='shared' if one else 'repeat')
        if c.relative is not None:
            self.relative = registry.build(c.relative)
        if c.norm is not None:
            self.norm = registry.build(c.norm, dtype=c.dtype)
        if c.output:
            shape = (c.width, c.output)
            self.project = Linear('btd,de->bte', shape, InitConfig(), dtype=c.dtype)
        self.drop = Dropout(c.dropout)

    def init_cache(self, batch: int, length: int, memory: int = 0) -> tuple:
        """Empty caches for all layers, stacked over repeats."""
        c = self.config
        one = tuple(
            Block(b, c.width, c.dtype, parent=None).init_cache(batch, length, memory)
            for b in c.pattern
        )
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (c.repeats, *x.shape)), one)

    def __call__(self, x_BTD: jax.Array, ctx: Context, caches: tuple | None = None):
        """Returns x_BTD, the new caches and what the MLPs report, the last two stacked."""
        c = self.config
        ctx = ctx.replace(causal=c.causal, bias=self.relative() if c.relative is not None else None)
        index = jnp.arange(c.repeats, dtype=jnp.float32)
        x_BTD, (caches, auxes) = self.layers(x_BTD, ctx, index, caches)
        if c.norm is not None:
            x_BTD = self.norm(x_BTD)
        if c.output:
            x_BTD = self.project(x_BTD)
        return self.drop(x_BTD, ctx), caches, auxes


def _grouped(scan: type[nn.Module], repeats: int, groups: int, starts: bool) -> type[nn.Module]:
    """`scan` whose parameters have an axis of `groups`, of which each repeat reads its own."""
    group = jnp.arange(repeats) * groups // repeats
    first = jnp.searchsorted(group, jnp.arange(groups))
    return nn.map_variables(
        scan,
        'params',
        trans_in_fn=lambda params: jax.tree.map(lambda x: x[group], params),
        trans_out_fn=lambda params: jax.tree.map(lambda x: x[first], params),
        init=starts,
    )
