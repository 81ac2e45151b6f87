"""Multi-scale retention, https://arxiv.org/abs/2307.08621.

B batch, T length, D width, N heads, H head width, P value width of a head.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from transformer import registry
from transformer.config import InitConfig
from transformer.context import Context
from transformer.errors import ConfigError
from transformer.layers import Linear
from transformer.mixers._causal import require_causal
from transformer.ops.retention import RetentionState, retention
from transformer.ops.rotary import rotate


@dataclasses.dataclass(frozen=True)
class RetNetConfig:
    """out(silu(gate(x)) * norm(y)), y_t = sum_s gamma^(t - s) (q_t . k_s) v_s / sqrt(H), s <= t.

    Queries and keys are turned by their place (`ops.rotary`); head n has gamma = 1 - 2^(-5 - n).

    Attributes:
      heads: N.
      head_width: H, even.
      value_factor: P / H.
      theta: base of the rotary frequencies.
      eps: added to the variance of each head.
      chunk: tokens that are worked on at once, `ops.retention`.
    """

    heads: int = 8
    head_width: int = 64
    value_factor: int = 2
    theta: float = 10_000.0
    eps: float = 1e-6
    chunk: int = 64
    init: InitConfig = InitConfig()

    def __post_init__(self):
        if self.head_width % 2:
            accepted = "an even number with mixer 'retnet', which turns queries and keys in pairs"
            raise ConfigError('model.head_width', self.head_width, accepted)

    @classmethod
    def of(cls, options) -> 'RetNetConfig':
        """From the options of a model."""
        head_width = options.head_width or options.width // options.heads
        return cls(heads=options.heads, head_width=head_width, init=options.init)


class HeadNorm(nn.Module):
    """Group normalisation, a group a head: (y - mean) / sqrt(variance + eps) * scale + bias.

    https://arxiv.org/abs/1803.08494, for each token by itself; float32.
    """

    eps: float

    @nn.compact
    def __call__(self, y_BNTP: jax.Array) -> jax.Array:
        N, P = y_BNTP.shape[1], y_BNTP.shape[3]
        scale_NP = self.param('scale', nn.initializers.ones, (N, P))
        bias_NP = self.param('bias', nn.initializers.zeros, (N, P))
        y_BNTP -= y_BNTP.mean(-1, keepdims=True)
        y_BNTP *= jax.lax.rsqrt(jnp.square(y_BNTP).mean(-1, keepdims=True) + self.eps)
        return y_BNTP * scale_NP[None, :, None] + bias_NP[None, :, None]


@registry.register(RetNetConfig, name='retnet')
class RetNet(nn.Module):
    config: RetNetConfig
    width: int
    dtype: str = 'float32'

    def init_cache(self, batch: int, length: int) -> RetentionState:
        """An empty state; it has the same size for any `length`."""
        del length
        c = self.config
        return RetentionState.empty(batch, c.heads, c.head_width, c.head_width * c.value_factor)

    @nn.compact
    def __call__(
        self, x_BTD: jax.Array, ctx: Context, cache: RetentionState | None = None
    ) -> tuple[jax.Array, RetentionState | None]:
        """Returns y_BTD and the state after the last token.

        Raises:
          ValueError: a context in which tokens see later ones.
        """
        require_causal(ctx, 'retnet')
        c, D, N, H = self.config, self.width, self.config.heads, self.config.head_width
        P = H * c.value_factor
        common = {'init': c.init, 'dtype': self.dtype}
        q = Linear('btd,dnh->bnth', (D, N, H), name='query', **common)(x_BTD)
        k = Linear('btd,dnh->bnth', (D, N, H), name='key', **common)(x_BTD)
        v = Linear('btd,dnp->bntp', (D, N, P), name='value', **common)(x_BTD)
        gate_BNTP = Linear('btd,dnp->bntp', (D, N, P), name='gate', **common)(x_BTD)
        q, k = (rotate(x.astype(jnp.float32), ctx.positions_BT, c.theta) for x in (q, k))
        # float64 here: in float32, 1 - 2^(-5 - n) is 1 from the twentieth head on.
        log_decay_N = jnp.asarray(np.log1p(-(2.0 ** (-5 - np.arange(N)))), jnp.float32)
        y, state = retention(q, k * H**-0.5, v, log_decay_N, ctx.segments_BT, cache, c.chunk)
        y_BNTP = HeadNorm(c.eps, name='group')(y).astype(self.dtype)
        out = Linear('bntp,npd->btd', (N, P, D), residual=True, name='out', **common)
        return out(jax.nn.silu(gate_BNTP) * y_BNTP), None if cache is None else state
