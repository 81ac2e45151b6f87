"""The residual block, and the stack: a pattern of blocks repeated under one scan over depth."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from transformer import registry
from transformer.config import BlockConfig, TransformerConfig
from transformer.context import Context
from transformer.layers import Dropout

# What the backward pass keeps of each repeat; it computes the rest again. 'none' keeps everything.
REMAT = {
    'none': None,
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    'full': jax.checkpoint_policies.nothing_saveable,
}


class Block(nn.Module):
    """x + mixer(norm(x)), then x + mlp(norm(x)): pre-norm, https://arxiv.org/abs/2002.04745."""

    config: BlockConfig
    width: int
    dtype: str = 'float32'

    def setup(self):
        c, dtype = self.config, self.dtype
        self.mixer_norm = registry.build(c.norm, dtype=dtype)
        self.mixer = registry.build(c.mixer, width=self.width, dtype=dtype)
        self.mlp_norm = registry.build(c.norm, dtype=dtype)
        self.mlp = registry.build(c.mlp, width=self.width, dtype=dtype)
        self.drop = Dropout(c.dropout)

    def __call__(self, x_BTD: jax.Array, ctx: Context, cache: Any = None):
        """Returns x_BTD, the mixer's cache and what the MLP reports."""
        y_BTD, cache = self.mixer(self.mixer_norm(x_BTD), ctx, cache)
        x_BTD += self.drop(y_BTD, ctx)
        y_BTD, aux = self.mlp(self.mlp_norm(x_BTD), ctx)
        x_BTD += self.drop(y_BTD, ctx)
        return x_BTD, cache, aux


class Pattern(nn.Module):
    """The blocks of one repeat, in order: the body of the scan."""

    config: TransformerConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, ctx: Context, caches: tuple | None):
        c = self.config
        new_caches, auxes = [], []
        for i, block in enumerate(c.pattern):
            cache = None if caches is None else caches[i]
            module = Block(block, c.width, c.dtype, name=f'block_{i}')
            x_BTD, cache, aux = module(x_BTD, ctx, cache)
            new_caches.append(cache)
            auxes.append(aux)
        return x_BTD, (None if caches is None else tuple(new_caches), tuple(auxes))


class Stack(nn.Module):
    """`repeats` patterns. Every parameter and cache has a leading axis of that length.

    The layout is the same whatever `unroll` and `remat` are, and so are the checkpoints.
    """

    config: TransformerConfig

    def init_cache(self, batch: int, length: int) -> tuple:
        """Empty caches for all layers, stacked over repeats."""
        c = self.config
        one = tuple(
            registry.build(b.mixer, width=c.width, dtype=c.dtype, parent=None).init_cache(
                batch, length
            )
            for b in c.pattern
        )
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (c.repeats, *x.shape)), one)

    @nn.compact
    def __call__(self, x_BTD: jax.Array, ctx: Context, caches: tuple | None = None):
        """Returns x_BTD, the new caches and what the MLPs report, the last two stacked."""
        c = self.config
        body = Pattern
        if c.remat != 'none':
            # Inside a rolled scan nothing can be merged across the barrier; unrolled it could.
            body = nn.remat(body, policy=REMAT[c.remat], prevent_cse=c.unroll > 1)
        scan = nn.scan(
            body,
            variable_axes={'params': 0},
            split_rngs={'params': True, 'dropout': True},
            in_axes=(nn.broadcast, 0),
            length=c.repeats,
            unroll=c.unroll,
        )
        x_BTD, (caches, auxes) = scan(c, name='repeat')(x_BTD, ctx, caches)
        return x_BTD, caches, auxes
