"""What reads a stack's output. B batch, T length, D width, E token width, V vocabulary, C classes.

A head is `head(x_BTD, tokens, ctx) -> scores`, float32; `tokens` is the model's table
(`embed.Tokens`), which tied heads read. A head that scores tokens, whose config has `vocab`, hands
out what scores are made of as well, by `unscored`: losses need not hold them all.
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
from transformer.ops.unscored import Unscored


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


def _table(head: nn.Module, tokens: Any, E: int) -> jax.Array:
    """The model's vectors of tokens, or a kernel of the head's own, [V, E]."""
    c = head.config
    if c.tied:
        return tokens.vectors()
    start = nn.initializers.normal(c.init.std or E**-0.5)
    return head.param('kernel', start, (c.vocab, E)).astype(head.dtype)


@registry.register(TokenHeadConfig)
class TokenHead(nn.Module):
    config: TokenHeadConfig
    width: int
    dtype: str = 'float32'

    def __call__(self, x_BTD: jax.Array, tokens: Any, ctx: Context) -> jax.Array:
        """Returns scores_BTV."""
        return self.unscored(x_BTD, tokens, ctx).scores()

    @nn.compact
    def unscored(self, x_BTD: jax.Array, tokens: Any, ctx: Context) -> Unscored:
        """What the scores are made of."""
        c = self.config
        x_BTD = x_BTD * jnp.asarray(c.scale, x_BTD.dtype)
        table_VD = _table(self, tokens, x_BTD.shape[-1])
        bias_V = self.param('bias', nn.initializers.zeros, (c.vocab,)) if c.bias else None
        return Unscored(x_BTD, table_VD, bias_V, c.softcap)


@dataclasses.dataclass(frozen=True)
class MaskedHeadConfig:
    """BERT's: a dense layer, a norm, the table of tokens and a bias, arxiv.org/abs/1810.04805.

    Attributes:
      tied: whether the last map is the table of token vectors, or a kernel of its own.
    """

    vocab: int
    token_width: int
    norm: Any
    activation: str = 'gelu'
    tied: bool = True
    init: InitConfig = InitConfig()


@registry.register(MaskedHeadConfig)
class MaskedHead(nn.Module):
    config: MaskedHeadConfig
    width: int
    dtype: str = 'float32'

    def __call__(self, x_BTD: jax.Array, tokens: Any, ctx: Context) -> jax.Array:
        """Returns scores_BTV."""
        return self.unscored(x_BTD, tokens, ctx).scores()

    @nn.compact
    def unscored(self, x_BTD: jax.Array, tokens: Any, ctx: Context) -> Unscored:
        """What the scores are made of."""
        c = self.config
        shape = (self.width, c.token_width)
        dense = Linear('btd,de->bte', shape, c.init, True, dtype=self.dtype, name='dense')
        x_BTE = ACTIVATIONS[c.activation](dense(x_BTD))
        x_BTE = registry.build(c.norm, dtype=self.dtype, name='norm')(x_BTE)
        bias_V = self.param('bias', nn.initializers.zeros, (c.vocab,))
        return Unscored(x_BTE, _table(self, tokens, c.token_width), bias_V)


def first(x_BTD: jax.Array, ctx: Context) -> jax.Array:
    """The vector of the first place, [B, D]."""
    return x_BTD[:, 0]


def mean(x_BTD: jax.Array, ctx: Context) -> jax.Array:
    """The mean over all places that are not padding, [B, D]."""
    real_BT1 = (ctx.segments_BT > 0)[..., None]
    count_B1 = jnp.maximum(real_BT1.sum(1), 1)
    return jnp.where(real_BT1, x_BTD, 0).sum(1) / count_B1.astype(x_BTD.dtype)


def last(x_BTD: jax.Array, ctx: Context) -> jax.Array:
    """The vector of the last place that is not padding, [B, D]."""
    places_BT = jnp.where(ctx.segments_BT > 0, jnp.arange(x_BTD.shape[1])[None], 0)
    return jnp.take_along_axis(x_BTD, places_BT.max(1)[:, None, None], 1)[:, 0]


POOLS = {'first': first, 'mean': mean, 'last': last}


@dataclasses.dataclass(frozen=True)
class ClassHeadConfig:
    """A score for every class of the whole sequence.

    Attributes:
      classes: C; 0 stops before the scores, at the pooled vector.
      pool: a key of `POOLS`.
      activation: of a dense layer before the scores, a key of `mlps.ACTIVATIONS`; '' means no such
        layer. BERT's pooler has 'tanh'.
      dropout: share that is dropped before the scores in training.
      dense_dropout: share that is dropped before the dense layer.
      dense: width of the dense layer; 0 means that of the model.
      bias: whether the scores have one.
    """

    classes: int
    pool: str = 'first'
    activation: str = ''
    dropout: float = 0.0
    dense_dropout: float = 0.0
    dense: int = 0
    bias: bool = True
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
            x_BD, shape = Dropout(c.dense_dropout)(x_BD, ctx), (D, c.dense or D)
            dense = Linear('bd,de->be', shape, c.init, True, dtype=self.dtype, name='dense')
            x_BD = ACTIVATIONS[c.activation](dense(x_BD))
        if not c.classes:
            return x_BD
        x_BD = Dropout(c.dropout)(x_BD, ctx)
        shape = (x_BD.shape[-1], c.classes)
        scores = Linear('bd,dc->bc', shape, c.init, c.bias, dtype=self.dtype, name='classes')
        return scores(x_BD).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class TokenClassHeadConfig:
    """A score for every class at every place.

    Attributes:
      activation: of a dense layer before the scores, a key of `mlps.ACTIVATIONS`; '' means no such
        layer.
      bias: whether the scores have one.
    """

    classes: int
    dropout: float = 0.0
    activation: str = ''
    bias: bool = True
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
        if c.activation:
            shape = (self.width, self.width)
            dense = Linear('btd,de->bte', shape, c.init, True, dtype=self.dtype, name='dense')
            x_BTD = ACTIVATIONS[c.activation](dense(x_BTD))
        x_BTD = Dropout(c.dropout)(x_BTD, ctx)
        shape = (self.width, c.classes)
        scores = Linear('btd,dc->btc', shape, c.init, c.bias, dtype=self.dtype, name='classes')
        return scores(x_BTD).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class DistilledHeadConfig:
    """DeiT's: the mean of the scores of two classifiers, https://arxiv.org/abs/2012.12877.

    One reads the first vector, the class token's; the other the second, the distillation token's.
    """

    classes: int
    init: InitConfig = InitConfig()


@registry.register(DistilledHeadConfig)
class DistilledHead(nn.Module):
    config: DistilledHeadConfig
    width: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BTD: jax.Array, tokens: Any, ctx: Context) -> jax.Array:
        """Returns scores_BC."""
        c = self.config
        how = {'shape': (self.width, c.classes), 'init': c.init, 'bias': True, 'dtype': self.dtype}
        own_BC = Linear('bd,dc->bc', name='classes', **how)(x_BTD[:, 0])
        taught_BC = Linear('bd,dc->bc', name='distilled', **how)(x_BTD[:, 1])
        return (own_BC.astype(jnp.float32) + taught_BC.astype(jnp.float32)) / 2
