"""Multi-head attention, https://arxiv.org/abs/1706.03762, with grouped key/value heads,
https://arxiv.org/abs/2305.13245.

B batch, T query length, S cache length, D width, N heads, K key/value heads, H head width.
"""

import dataclasses

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jax import lax

from transformer import registry
from transformer.config import InitConfig
from transformer.context import Context
from transformer.layers import Dropout, Linear
from transformer.ops.attention import attend
from transformer.ops.masks import Mask
from transformer.ops.rotary import rotate
from transformer.positions import RotaryConfig


@dataclasses.dataclass(frozen=True)
class AttentionConfig:
    """Attributes:

    heads: N.
    kv_heads: K, which divides N; 1 is multi-query attention.
    head_width: H.
    rotary: how queries and keys are turned, or None.
    window: how many positions back a query sees, itself included, or None for all.
    bias: whether the four projections have one.
    dropout: share of the attention weights that is dropped in training.
    backend: a key of `ops.attention.BACKENDS`.
    """

    heads: int = 8
    kv_heads: int = 8
    head_width: int = 64
    rotary: RotaryConfig | None = None
    window: int | None = None
    bias: bool = False
    dropout: float = 0.0
    backend: str = 'reference'
    init: InitConfig = InitConfig()


@flax.struct.dataclass
class AttentionCache:
    """Keys and values of the `length` slots seen so far, with the document of each."""

    k_BKSH: jax.Array
    v_BKSH: jax.Array
    segments_BS: jax.Array
    length: jax.Array

    def append(self, k_BKTH, v_BKTH, segments_BT) -> 'AttentionCache':
        """The cache after T more slots; the caller sees to it that they fit."""
        at, zero = self.length, jnp.zeros((), self.length.dtype)
        return AttentionCache(
            lax.dynamic_update_slice(self.k_BKSH, k_BKTH, (zero, zero, at, zero)),
            lax.dynamic_update_slice(self.v_BKSH, v_BKTH, (zero, zero, at, zero)),
            lax.dynamic_update_slice(self.segments_BS, segments_BT, (zero, at)),
            at + k_BKTH.shape[2],
        )


@registry.register(AttentionConfig)
class Attention(nn.Module):
    config: AttentionConfig
    width: int
    dtype: str = 'float32'

    def init_cache(self, batch: int, length: int) -> AttentionCache:
        """An empty cache of `length` slots."""
        shape = (batch, self.config.kv_heads, length, self.config.head_width)
        return AttentionCache(
            jnp.zeros(shape, self.dtype),
            jnp.zeros(shape, self.dtype),
            jnp.zeros((batch, length), jnp.int32),
            jnp.zeros((), jnp.int32),
        )

    @nn.compact
    def __call__(
        self, x_BTD: jax.Array, ctx: Context, cache: AttentionCache | None = None
    ) -> tuple[jax.Array, AttentionCache | None]:
        """Returns y_BTD and the cache with this call's keys and values."""
        c, D, H = self.config, self.width, self.config.head_width
        common = {'init': c.init, 'bias': c.bias, 'dtype': self.dtype}
        q = Linear('btd,dnh->bnth', (D, c.heads, H), name='query', **common)(x_BTD)
        k = Linear('btd,dkh->bkth', (D, c.kv_heads, H), name='key', **common)(x_BTD)
        v = Linear('btd,dkh->bkth', (D, c.kv_heads, H), name='value', **common)(x_BTD)
        if c.rotary is not None:
            q, k = (rotate(x, ctx.positions_BT, c.rotary.theta) for x in (q, k))
        offset, segments_BS = 0, ctx.segments_BT
        if cache is not None:
            offset, cache = cache.length, cache.append(k, v, ctx.segments_BT)
            k, v, segments_BS = cache.k_BKSH, cache.v_BKSH, cache.segments_BS
        mask = Mask(ctx.segments_BT, segments_BS, offset, ctx.causal, c.window)
        drop = None
        if ctx.train and c.dropout:
            dropout = Dropout(c.dropout)
            drop = lambda weights: dropout(weights, ctx)  # noqa: E731
        y_BNTH = attend(q, k, v, mask, scale=H**-0.5, backend=c.backend, drop=drop)
        out = Linear('bnth,nhd->btd', (c.heads, H, D), residual=True, name='out', **common)
        return out(y_BNTH), cache
