"""What reads a stack's output. B batch, T length, D width, E token width, V vocabulary, C classes.

A head is `head(x_BTD, tokens, ctx) -> scores`, float32; `tokens` is the model's table
(`embed.Tokens`), which tied heads read.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from transformer import registry
from transformer.config import InitConfig
from transformer.context import Context
from transformer.layers import Dropout, Linear
from transformer.mlps import ACTIVATIONS


@dataclasses.dataclass(frozen=True)
class TokenHeadConfig:
    """A score for every token at every place.

    Attributes:
      tied: whether it reads the table of token vectors, https://arxiv.org/abs/1608.05859.
      scale: factor on the input; T5 has 1 / sqrt(D) where it is tied.
      softcap: scores become softcap * tanh(scores / softcap); 0 means they stay.
    """

    vocab: int
    tied: bool = True
    bias: bool = False
    scale: float = 1.0
    softcap: float = 0.0
    init: InitConfig = InitConfig()


@registry.register(TokenHeadConfig)
class TokenHead(nn.Module):
    config: TokenHeadConfig
    width: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BTD: jax.Array, tokens: Any, ctx: Context) -> jax.Array:
        """Returns scores_BTV."""
        c = self.config
        x_BTD = x_BTD * jnp.asarray(c.scale, x_BTD.dtype)
        if c.tied:
            scores_BTV = tokens.scores(x_BTD)
        else:
            start = nn.initializers.normal(c.init.std or self.width**-0.5)
            kernel_VD = self.param('kernel', start, (c.vocab, self.width)).astype(self.dtype)
            scores_BTV = jnp.einsum(
                'btd,vd->btv', x_BTD, kernel_VD, preferred_element_type=jnp.float32
            )
        if c.bias:
            scores_BTV += self.param('bias', nn.initializers.zeros, (c.vocab,))[None, None]
        return c.softcap * jnp.tanh(scores_BTV / c.softcap) if c.softcap else scores_BTV


@dataclasses.dataclass(frozen=True)
class MaskedHeadConfig:
    """BERT's: a dense layer, a norm, the table of tokens and a bias, arxiv.org/abs/1810.04805."""

    vocab: int
    token_width: int
    norm: Any
    activation: str = 'gelu'
    init: InitConfig = InitConfig()


@registry.register(MaskedHeadConfig)
class MaskedHead(nn.Module):
    config: MaskedHeadConfig
    width: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BTD: jax.Array, tokens: Any, ctx: Context) -> jax.Array:
        """Returns scores_BTV."""
        c = self.config
        shape = (self.width, c.token_width)
        dense = Linear('btd,de->bte', shape, c.init, True, dtype=self.dtype, name='dense')
        x_BTE = ACTIVATIONS[c.activation](dense(x_BTD))
        x_BTE = registry.build(c.norm, dtype=self.dtype, name='norm')(x_BTE)
        bias_V = self.param('bias', nn.initializers.zeros, (c.vocab,))
        return tokens.scores(x_BTE) + bias_V[None, None]


def first(x_BTD: jax.Array, ctx: Context) -> jax.Array:
    """The vector of the first place, [B, D]."""
    return x_BTD[:, 0]


def mean(x_BTD: jax.Array, ctx: Context) -> jax.Array:
    """The mean over all places that are not padding, [B, D]."""
    real_BT1 = (ctx.segments_BT > 0)[..., None]
    count_B1 = jnp.maximum(real_BT1.sum(1), 1)
    return jnp.where(real_BT1, x_BTD, 0).sum(1) / count_B1.astype(x_BTD.dtype)


POOLS = {'first': first, 'mean': mean}


@dataclasses.dataclass(frozen=True)
class ClassHeadConfig:
    """A score for every class of the whole sequence.

    Attributes:
      classes: C; 0 stops before the scores, at the pooled vector.
      pool: a key of `POOLS`.
      activation: of a dense layer before the scores, a key of `mlps.ACTIVATIONS`; '' means no such
        layer. BERT's pooler has 'tanh'.
    """

    classes: int
    pool: str = 'first'
    activation: str = ''
    dropout: float = 0.0
    init: InitConfig = InitConfig()


@registry.register(ClassHeadConfig)
class ClassHead(nn.Module):
    config: ClassHeadConfig
    width: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BTD: jax.Array, tokens: Any, ctx: Context) -> jax.Array:
        """Returns scores_BC, or the pooled x_BD."""
        c, D = self.config, self.width
        x_BD = POOLS[c.pool](x_BTD, ctx)
        if c.activation:
            dense = Linear('bd,de->be', (D, D), c.init, True, dtype=self.dtype, name='dense')
            x_BD = ACTIVATIONS[c.activation](dense(x_BD))
        if not c.classes:
            return x_BD
        x_BD = Dropout(c.dropout)(x_BD, ctx)
        scores = Linear('bd,dc->bc', (D, c.classes), c.init, True, dtype=self.dtype, name='classes')
        return scores(x_BD).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class TokenClassHeadConfig:
    """A score for every class at every place."""

    classes: int
    dropout: float = 0.0
    init: InitConfig = InitConfig()


@registry.register(TokenClassHeadConfig)
class TokenClassHead(nn.Module):
    config: TokenClassHeadConfig
    width: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BTD: jax.Array, tokens: Any, ctx: Context) -> jax.Array:
        """Returns scores_BTC."""
        c = self.config
        x_BTD = Dropout(c.dropout)(x_BTD, ctx)
        shape = (self.width, c.classes)
        scores = Linear('btd,dc->btc', shape, c.init, True, dtype=self.dtype, name='classes')
        return scores(x_BTD).astype(jnp.float32)
