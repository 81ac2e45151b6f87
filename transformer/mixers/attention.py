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
from transformer.norms import RMSNormConfig
from transformer.ops import attention as ops
from transformer.ops.masks import Mask
from transformer.ops.rotary import frequencies, rotate
from transformer.ops.slots import written
from transformer.positions import RotaryConfig


@dataclasses.dataclass(frozen=True)
class AttentionConfig:
    """Attributes:

    heads: N.
    kv_heads: K, which divides N; 1 is multi-query attention.
    head_width: H.
    rotary: how queries and keys are turned, or None.
    window: how many positions back a query sees, itself included, or None for all.
    scale: factor on the scores; None means 1 / sqrt(H).
    softcap: scores become softcap * tanh(scores / softcap), or None.
    qk_norm: config of a norm of each query and each key, https://arxiv.org/abs/2010.04245, or None.
    bias: whether the projections of queries, keys and values have one.
    out_bias: whether the last projection has one; None means as `bias`.
    key_bias: whether that of keys has one; None means as `bias`.
    dropout: share of the attention weights that is dropped in training.
    backend: a key of `ops.attention.BACKENDS`.
    """

    heads: int = 8
    kv_heads: int = 8
    head_width: int = 64
    rotary: RotaryConfig | None = None
    window: int | None = None
    scale: float | None = None
    softcap: float | None = None
    qk_norm: RMSNormConfig | None = None
    bias: bool = False
    out_bias: bool | None = None
    dropout: float = 0.0
    backend: str = 'reference'
    init: InitConfig = InitConfig()
    key_bias: bool | None = None

    @classmethod
    def of(cls, options) -> 'AttentionConfig':
        """From the options of a family."""
        return cls(
            heads=options.heads,
            kv_heads=options.kv_heads or options.heads,
            head_width=options.head_width or options.width // options.heads,
            rotary=options.rotary,
            window=options.window or None,
            scale=options.attention_scale or None,
            softcap=options.attention_softcap or None,
            qk_norm=RMSNormConfig() if options.qk_norm else None,
            bias=options.bias,
            dropout=options.dropout,
            backend=options.attention,
            init=options.init,
        )


@flax.struct.dataclass
class AttentionCache:
    """Keys and values of the `length` slots seen so far, with the document of each."""

    k_BKSH: jax.Array
    v_BKSH: jax.Array
    segments_BS: jax.Array
    length: jax.Array

    @classmethod
    def empty(cls, config: AttentionConfig, batch: int, slots: int, dtype: str):
        """Room for `slots` keys and values."""
        shape = (batch, config.kv_heads, slots, config.head_width)
        return cls(
            jnp.zeros(shape, dtype),
            jnp.zeros(shape, dtype),
            jnp.zeros((batch, slots), jnp.int32),
            jnp.zeros((), jnp.int32),
        )

    def append(self, k_BKTH, v_BKTH, segments_BT) -> 'AttentionCache':
        """The cache after T more slots; the caller sees to it that they fit."""
        at, zero = self.length, jnp.zeros((), self.length.dtype)
        return AttentionCache(
            *written((self.k_BKSH, self.v_BKSH), (k_BKTH, v_BKTH), at),
            lax.dynamic_update_slice(self.segments_BS, segments_BT, (zero, at)),
            at + k_BKTH.shape[2],
        )


class Heads(nn.Module):
    """What self- and cross-attention share: four projections around `ops.attention.attend`."""

    config: AttentionConfig
    width: int
    dtype: str = 'float32'

    def setup(self):
        c, D, H = self.config, self.width, self.config.head_width
        common = {'init': c.init, 'dtype': self.dtype}
        self.scale = H**-0.5 if c.scale is None else c.scale
        # Whatever the scale, scores start with the same spread.
        gain = H**-0.5 / self.scale
        self.query = Linear('btd,dnh->bnth', (D, c.heads, H), bias=c.bias, gain=gain, **common)
        key_bias = c.bias if c.key_bias is None else c.key_bias
        self.key = Linear('bsd,dkh->bksh', (D, c.kv_heads, H), bias=key_bias, **common)
        self.value = Linear('bsd,dkh->bksh', (D, c.kv_heads, H), bias=c.bias, **common)
        out_bias = c.bias if c.out_bias is None else c.out_bias
        self.out = Linear('bnth,nhd->btd', (c.heads, H, D), bias=out_bias, residual=True, **common)
        if c.qk_norm is not None:
            self.query_norm = registry.build(c.qk_norm, dtype=self.dtype)
            self.key_norm = registry.build(c.qk_norm, dtype=self.dtype)
        self.drop = Dropout(c.dropout)

    def queries(self, x_BTD: jax.Array) -> jax.Array:
        q_BNTH = self.query(x_BTD)
        return q_BNTH if self.config.qk_norm is None else self.query_norm(q_BNTH)

    def keys_values(self, x_BSD: jax.Array) -> tuple[jax.Array, jax.Array]:
        k_BKSH, v_BKSH = self.key(x_BSD), self.value(x_BSD)
        return (k_BKSH if self.config.qk_norm is None else self.key_norm(k_BKSH)), v_BKSH

    def attend(self, q_BNTH, k_BKSH, v_BKSH, mask: Mask, ctx: Context, bias=None) -> jax.Array:
        """Returns y_BTD; hands the weights over where a caller collects `intermediates`."""
        c = self.config
        how = {'scale': self.scale, 'bias': bias, 'softcap': c.softcap}
        if self.is_mutable_collection('intermediates'):
            if c.backend not in ('reference', 'blocked'):  # whose weights are the reference's
                raise ValueError(
                    f"attention backend {c.backend!r} has no attention weights; use 'reference'"
                )
            self.sow('intermediates', 'weights', ops.weights(q_BNTH, k_BKSH, mask, **how))
        how |= {'backend': c.backend, 'drop': self.drop.choice(ctx)}
        y_BNTH = ops.attend(q_BNTH, k_BKSH, v_BKSH, mask, **how)
        return self.out(y_BNTH)


@registry.register(AttentionConfig, name='attention')
class Attention(Heads):
    """A sequence attends to itself."""

    def init_cache(self, batch: int, length: int) -> AttentionCache:
        """An empty cache of `length` slots."""
        return AttentionCache.empty(self.config, batch, length, self.dtype)

    def __call__(
        self, x_BTD: jax.Array, ctx: Context, cache: AttentionCache | None = None
    ) -> tuple[jax.Array, AttentionCache | None]:
        """Returns y_BTD and the cache with this call's keys and values.

        Raises:
          ValueError: a cache for attention in both directions: what comes later is not known yet.
        """
        c = self.config
        if cache is not None and not ctx.causal:
            window = f' (window {c.window})' if c.window else ''
            raise ValueError(f'bidirectional attention{window} has no cache; accepted: causal=True')
        q, (k, v) = self.queries(x_BTD), self.keys_values(x_BTD)
        if c.rotary is not None:
            turning = frequencies(c.rotary, c.head_width, ctx.positions_BT)
            q, k = (rotate(x, ctx.positions_BT, turning, c.rotary.interleaved) for x in (q, k))
        offset, segments_BS, prefix_BS = 0, ctx.segments_BT, ctx.prefix_BT
        if cache is not None:
            offset, cache = cache.length, cache.append(k, v, ctx.segments_BT)
            k, v, segments_BS = cache.k_BKSH, cache.v_BKSH, cache.segments_BS
            if prefix_BS is not None:  # earlier slots are seen anyway
                none_BS = jnp.zeros(segments_BS.shape, bool)
                prefix_BS = lax.dynamic_update_slice(none_BS, prefix_BS, (0, offset))
        mask = Mask(ctx.segments_BT, segments_BS, offset, prefix_BS, ctx.causal, c.window)
        return self.attend(q, k, v, mask, ctx, ctx.bias), cache


@dataclasses.dataclass(frozen=True)
class GlobalAttentionConfig(AttentionConfig):
    """Attention without the window that the model's other layers have, arxiv.org/abs/2408.00118."""

    @classmethod
    def of(cls, options) -> 'GlobalAttentionConfig':
        """From the options of a family."""
        return dataclasses.replace(super().of(options), window=None)


registry.register(GlobalAttentionConfig, name='global')(Attention)
