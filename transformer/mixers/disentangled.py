"""Disentangled attention of DeBERTa, https://arxiv.org/abs/2006.03654, in both directions.

B batch, T length, D width, N heads, H head width, R rows of the table of distances, G groups.
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
from transformer.mixers.attention import AttentionConfig, Heads
from transformer.mlps import ACTIVATIONS
from transformer.ops import disentangled as ops
from transformer.ops.masks import Mask


@dataclasses.dataclass(frozen=True)
class DistancesConfig:
    """The vectors of distances that a stack's disentangled attention reads, `StackConfig.relative`.

    Attributes:
      width: D.
      max_distance: from here on all distances share a vector.
      buckets: vectors of either direction, half of them for one distance each, the others for more
        and more; 0 means one for each distance up to `max_distance`.
      norm: config of a normalisation of the vectors, or None.
    """

    width: int
    max_distance: int
    buckets: int = 0
    norm: Any = None
    init: InitConfig = InitConfig()

    def __post_init__(self):
        if self.max_distance < 1:
            raise ValueError(f'max_distance={self.max_distance}; accepted: at least 1')
        if self.buckets and not 2 <= self.buckets <= 2 * (self.max_distance - 2):
            raise ValueError(
                f'buckets={self.buckets} cannot be used with max_distance={self.max_distance}; '
                f'accepted: 0, or from 2 to {2 * (self.max_distance - 2)}'
            )


@registry.register(DistancesConfig)
class Distances(nn.Module):
    config: DistancesConfig

    @nn.compact
    def __call__(self) -> ops.Distances:
        c = self.config
        start = nn.initializers.normal(c.init.std or c.width**-0.5)
        shape = (2 * (c.buckets or c.max_distance), c.width)
        table_RD = self.param('table', start, shape)
        if c.norm is not None:
            table_RD = registry.build(c.norm, name='norm')(table_RD)
        return ops.Distances(table_RD, c.max_distance, exact=not c.buckets)


@dataclasses.dataclass(frozen=True)
class DisentangledConfig(AttentionConfig):
    """Scores are scale * (q k + q key(distance) + query(distance) k).

    `scale=None` means 1 / sqrt(H * number of the terms). What else of `AttentionConfig` has no
    meaning here is refused.

    Attributes:
      content_to_position: whether the second term is there.
      position_to_content: whether the third term is there.
      shared: whether distances are projected as tokens are, without kernels of their own.
      position_dropout: share of the vectors of distances that is dropped in training.
    """

    content_to_position: bool = True
    position_to_content: bool = True
    shared: bool = False
    position_dropout: float = 0.0

    def __post_init__(self):
        for name, accepted in (
            ('kv_heads', self.heads),
            ('rotary', None),
            ('window', None),
            ('softcap', None),
            ('qk_norm', None),
        ):
            value = getattr(self, name)
            if value != accepted:
                raise ValueError(f'disentangled attention: {name}={value!r}; accepted: {accepted}')
        if not self.content_to_position and not self.position_to_content:
            raise ValueError(
                'disentangled attention: content_to_position=False, position_to_content=False; '
                'accepted: at least one of them, or an AttentionConfig'
            )

    @property
    def terms(self) -> int:
        """How many products make a score."""
        return 1 + self.content_to_position + self.position_to_content


@registry.register(DisentangledConfig)
class DisentangledAttention(Heads):
    """A sequence attends to itself. What comes later is seen, so there is no cache."""

    def setup(self):
        super().setup()
        c, H = self.config, self.config.head_width
        if c.scale is None:
            self.scale = (H * c.terms) ** -0.5
        if not c.shared:
            shape = (self.width, c.heads, H)
            common = {'init': c.init, 'dtype': self.dtype}
            if c.content_to_position:
                bias = c.bias if c.key_bias is None else c.key_bias
                self.position_key = Linear('bsd,dnh->bnsh', shape, bias=bias, **common)
            if c.position_to_content:
                self.position_query = Linear('btd,dnh->bnth', shape, bias=c.bias, **common)

    def __call__(
        self, x_BTD: jax.Array, ctx: Context, cache: None = None
    ) -> tuple[jax.Array, None]:
        """Returns y_BTD and no cache.

        Raises:
          ValueError: a causal stack, or one without vectors of distances.
        """
        if ctx.causal or cache is not None:
            raise ValueError(
                f'disentangled attention: causal={ctx.causal} {"with" if cache else "without"} '
                'a cache; accepted: causal=False without one'
            )
        if not isinstance(ctx.bias, ops.Distances):
            raise ValueError(
                f'disentangled attention: relative made a {type(ctx.bias).__name__}; '
                'accepted: what a DistancesConfig makes'
            )
        q_BNTH, (k_BNTH, v_BNTH) = self.queries(x_BTD), self.keys_values(x_BTD)
        bias = self._distances(q_BNTH, k_BNTH, ctx)
        mask = Mask(ctx.segments_BT, ctx.segments_BT)
        return self.attend(q_BNTH, k_BNTH, v_BNTH, mask, ctx, bias), None

    def _distances(self, q_BNTH: jax.Array, k_BNTH: jax.Array, ctx: Context) -> ops.Disentangled:
        c, parts = self.config, {}
        vectors_1RD = self._dropped(ctx.bias.table_RD, ctx)[None]
        if c.content_to_position:
            project = self.key if c.shared else self.position_key
            parts |= {'q_BNTH': q_BNTH * self.scale, 'keys_NRH': project(vectors_1RD)[0]}
        if c.position_to_content:
            project = self.query if c.shared else self.position_query
            queries_NRH = project(vectors_1RD)[0] * self.scale
            parts |= {'k_BNSH': k_BNTH, 'queries_NRH': queries_NRH}
        return ops.Disentangled(ctx.bias, **parts)

    def _dropped(self, table_RD: jax.Array, ctx: Context) -> jax.Array:
        """With dropout, the same for all rows of the batch: they share the vectors."""
        rate = self.config.position_dropout
        if not ctx.train or not rate:
            return table_RD
        keep_RD = jax.random.bernoulli(self.make_rng('dropout'), 1 - rate, table_RD.shape)
        return jnp.where(keep_RD, table_RD / (1 - rate), 0)


@dataclasses.dataclass(frozen=True)
class ConvolutionConfig:
    """norm(y + act(conv(x))) of a block's input x and output y, `BlockConfig.join`.

    DeBERTa-v2 has it in its first layer. The convolution reads neighbours on both sides that are of
    the same document.

    Attributes:
      norm: config of the normalisation.
      kernel: places that are read, the token's own in the middle.
      groups: G, parts of the width that are read apart.
      activation: a key of `mlps.ACTIVATIONS`.
      dropout: share of the convolution's output that is dropped in training.
    """

    norm: Any
    kernel: int = 3
    groups: int = 1
    activation: str = 'tanh'
    dropout: float = 0.0
    init: InitConfig = InitConfig()

    def __post_init__(self):
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f'kernel={self.kernel}; accepted: an odd number, which has a middle')


@registry.register(ConvolutionConfig)
class Convolution(nn.Module):
    config: ConvolutionConfig
    width: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BTD: jax.Array, y_BTD: jax.Array, ctx: Context) -> jax.Array:
        """Returns the block's new output.

        Raises:
          ValueError: a width that the groups do not divide.
        """
        c, D = self.config, self.width
        if D % c.groups:
            raise ValueError(f'groups={c.groups}; accepted: a divisor of width={D}')
        W, G, part = c.kernel, c.groups, D // c.groups
        std = c.init.std or (W * part) ** -0.5
        kernel = self.param('kernel', nn.initializers.normal(std), (W, G, part, part))
        bias_D = self.param('bias', nn.initializers.zeros, (D,))
        near = ops.neighbours(x_BTD.astype(self.dtype), ctx.segments_BT, W)
        near = near.reshape(*near.shape[:3], G, part)
        z_BTD = jnp.einsum('wbtgi,wgio->btgo', near, kernel.astype(self.dtype)).reshape(x_BTD.shape)
        z_BTD = Dropout(c.dropout)(z_BTD + bias_D.astype(self.dtype)[None, None], ctx)
        z_BTD = ACTIVATIONS[c.activation](z_BTD)
        return registry.build(c.norm, dtype=self.dtype, name='norm')(y_BTD + z_BTD)
