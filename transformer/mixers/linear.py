"""Linear attention, https://arxiv.org/abs/2006.16236.

B batch, T length, D width, N heads, H head width.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from transformer import registry
from transformer.config import InitConfig
from transformer.context import Context
from transformer.layers import Linear
from transformer.mixers._causal import require_causal
from transformer.ops.retention import RetentionState, retention


@dataclasses.dataclass(frozen=True)
class LinearAttentionConfig:
    """y_t = sum_s phi(q_t).phi(k_s) v_s / sum_s phi(q_t).phi(k_s), s <= t, phi(x) = elu(x) + 1.

    Attributes:
      heads: N.
      head_width: H.
      eps: added to the denominator.
      chunk: tokens that are worked on at once, `ops.retention`.
    """

    heads: int = 8
    head_width: int = 64
    eps: float = 1e-6
    chunk: int = 64
    init: InitConfig = InitConfig()

    @classmethod
    def of(cls, options) -> 'LinearAttentionConfig':
        """From the options of a model."""
        head_width = options.head_width or options.width // options.heads
        return cls(heads=options.heads, head_width=head_width, init=options.init)


@registry.register(LinearAttentionConfig, name='linear')
class LinearAttention(nn.Module):
    config: LinearAttentionConfig
    width: int
    dtype: str = 'float32'

    def init_cache(self, batch: int, length: int) -> RetentionState:
        """An empty state; it has the same size for any `length`."""
        del length
        c = self.config
        return RetentionState.empty(batch, c.heads, c.head_width, c.head_width + 1)

    @nn.compact
    def __call__(
        self, x_BTD: jax.Array, ctx: Context, cache: RetentionState | None = None
    ) -> tuple[jax.Array, RetentionState | None]:
        """Returns y_BTD and the state after the last token.

        Raises:
          ValueError: a context in which tokens see later ones.
        """
        require_causal(ctx, 'linear')
        c, D = self.config, self.width
        N, H = c.heads, c.head_width
        common = {'init': c.init, 'dtype': self.dtype}
        q, k, v = (
            Linear('btd,dnh->bnth', (D, N, H), name=name, **common)(x_BTD).astype(jnp.float32)
            for name in ('query', 'key', 'value')
        )
        q, k = jax.nn.elu(q) + 1, jax.nn.elu(k) + 1
        # A column of ones among the values sums up the weights.
        v1 = jnp.concatenate([v, jnp.ones_like(v[..., :1])], axis=-1)
        y, state = retention(q, k, v1, jnp.zeros(N), ctx.segments_BT, cache, c.chunk)
        y_BNTH = (y[..., :-1] / (y[..., -1:] + c.eps)).astype(self.dtype)
        out = Linear('bnth,nhd->btd', (N, H, D), residual=True, name='out', **common)
        return out(y_BNTH), None if cache is None else state
