"""Whole models. B batch, T length, D width, V vocabulary."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from transformer import mixers, mlps, norms, positions, registry  # noqa: F401  (they register)
from transformer.blocks import Stack
from transformer.config import TransformerConfig
from transformer.context import Context
from transformer.layers import Dropout


class Decoder(nn.Module):
    """Tokens in, a score for every next token out: embed, stack, normalise, read out."""

    config: TransformerConfig

    def setup(self):
        c = self.config
        start = nn.initializers.normal(c.init.std or c.width**-0.5)
        self.tokens_VD = self.param('tokens', start, (c.vocab, c.width))
        self.head_VD = self.tokens_VD if c.tied else self.param('head', start, (c.vocab, c.width))
        if c.positions is not None:
            self.positions = registry.build(c.positions, width=c.width, dtype=c.dtype)
        self.drop = Dropout(c.dropout)
        self.stack = Stack(c)
        self.norm = registry.build(c.norm, dtype=c.dtype)

    def init_cache(self, batch: int, length: int) -> tuple:
        """Empty caches for `batch` rows of up to `length` tokens; no parameters are needed."""
        return Stack(self.config, parent=None).init_cache(batch, length)

    def __call__(self, inputs_BT: jax.Array, ctx: Context, caches: tuple | None = None):
        """Returns logits_BTV in float32, the new caches, and what the MLPs report."""
        x_BTD, caches, aux = self.hidden(inputs_BT, ctx, caches)
        return self.logits(x_BTD), caches, aux

    def hidden(self, inputs_BT: jax.Array, ctx: Context, caches: tuple | None = None):
        """Like `__call__`, without the read-out: x_BTD, caches, reports."""
        x_BTD = self.tokens_VD.astype(self.config.dtype)[inputs_BT]
        if self.config.positions is not None:
            x_BTD += self.positions(ctx.positions_BT)
        x_BTD = self.drop(x_BTD, ctx)
        x_BTD, caches, aux = self.stack(x_BTD, ctx, caches)
        return self.norm(x_BTD), caches, aux

    def logits(self, x_BTD: jax.Array) -> jax.Array:
        """Scores of every token, float32 [B, T, V]."""
        head_VD = self.head_VD.astype(self.config.dtype)
        return jnp.einsum('btd,vd->btv', x_BTD, head_VD, preferred_element_type=jnp.float32)
