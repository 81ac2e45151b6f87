"""Mamba, a selective state space, https://arxiv.org/abs/2312.00752.

B batch, T length, D width, F inner width, M state of a channel, R rank of the step, W kernel of the
convolution.
"""

import dataclasses
import math

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from transformer import registry
from transformer.config import InitConfig
from transformer.context import Context
from transformer.layers import Linear
from transformer.mixers._causal import require_causal
from transformer.ops.convolution import ConvolutionState, causal_convolution
from transformer.ops.selective_scan import ScanState, selective_scan


@dataclasses.dataclass(frozen=True)
class MambaConfig:
    """contract(silu(z) * (scan(u) + D u)), u = silu(convolution(x)), [x, z] = expand(input).

    The step and the matrices B and C of the scan are linear in u; the step has a low rank R.

    Attributes:
      state: M.
      conv: W.
      expand: F / D.
      inner: F; 0 means expand * D.
      rank: R; 0 means D / 16, rounded up.
      step_min: least step size at the start of training.
      step_max: greatest.
      chunk: tokens that are worked on at once, `ops.selective_scan`.
      bias: whether the first and the last map have one.
      conv_bias: whether the convolution has one.
    """

    state: int = 16
    conv: int = 4
    expand: int = 2
    rank: int = 0
    step_min: float = 1e-3
    step_max: float = 0.1
    chunk: int = 16
    bias: bool = False
    conv_bias: bool = True
    inner: int = 0
    init: InitConfig = InitConfig()

    @classmethod
    def of(cls, options) -> 'MambaConfig':
        """From the options of a model."""
        return cls(
            state=options.mamba_state,
            conv=options.mamba_conv,
            expand=options.mamba_expand,
            init=options.init,
        )

    def channels(self, width: int) -> int:
        """F, of a residual stream of that width."""
        return self.inner or self.expand * width


@flax.struct.dataclass
class MambaCache:
    """The last inputs of the convolution and the last state of the scan."""

    conv: ConvolutionState
    scan: ScanState


def _uniform(bound: float):
    """Initialiser: uniform from -bound to bound."""
    return lambda key, shape: jax.random.uniform(key, shape, minval=-bound, maxval=bound)


class Convolution(nn.Module):
    """`ops.convolution` with its kernel and bias."""

    kernel: int
    dtype: str
    bias: bool = True

    @nn.compact
    def __call__(self, x_BTF, segments_BT, state):
        F = x_BTF.shape[-1]
        kernel_WF = self.param('kernel', _uniform(self.kernel**-0.5), (self.kernel, F))
        y, state = causal_convolution(x_BTF, kernel_WF.astype(self.dtype), segments_BT, state)
        if not self.bias:
            return y, state
        bias_F = self.param('bias', nn.initializers.zeros, (F,))
        return y + bias_F.astype(self.dtype)[None, None], state


class Step(nn.Module):
    """softplus(r kernel + bias), float32; the bias alone makes steps log-uniform in their range."""

    config: MambaConfig
    inner: int

    @nn.compact
    def __call__(self, r_BTR: jax.Array) -> jax.Array:
        low, high = math.log(self.config.step_min), math.log(self.config.step_max)

        def inverse_softplus(key, shape):
            step = jnp.exp(jax.random.uniform(key, shape, minval=low, maxval=high))
            return step + jnp.log(-jnp.expm1(-step))

        R = r_BTR.shape[-1]
        kernel_RF = self.param('kernel', _uniform(R**-0.5), (R, self.inner))
        bias_F = self.param('bias', inverse_softplus, (self.inner,))
        y_BTF = jnp.einsum('btr,rf->btf', r_BTR.astype(jnp.float32), kernel_RF)
        return jax.nn.softplus(y_BTF + bias_F[None, None])


@registry.register(MambaConfig, name='mamba')
class Mamba(nn.Module):
    config: MambaConfig
    width: int
    dtype: str = 'float32'

    def init_cache(self, batch: int, length: int) -> MambaCache:
        """An empty state; it has the same size for any `length`."""
        del length
        c, F = self.config, self.config.channels(self.width)
        return MambaCache(
            ConvolutionState.empty(batch, c.conv, F, self.dtype),
            ScanState.empty(batch, F, c.state),
        )

    @nn.compact
    def __call__(
        self, x_BTD: jax.Array, ctx: Context, cache: MambaCache | None = None
    ) -> tuple[jax.Array, MambaCache | None]:
        """Returns y_BTD and the state after the last token.

        Raises:
          ValueError: a context in which tokens see later ones.
        """
        require_causal(ctx, 'mamba')
        c, D, M = self.config, self.width, self.config.state
        F, R = c.channels(D), c.rank or -(-D // 16)
        common = {'init': c.init, 'dtype': self.dtype}
        conv, scan = (None, None) if cache is None else (cache.conv, cache.scan)

        expand = Linear('btd,dgf->gbtf', (D, 2, F), bias=c.bias, name='expand', **common)
        x_BTF, z_BTF = expand(x_BTD)
        convolve = Convolution(c.conv, self.dtype, c.conv_bias, name='conv')
        convolved_BTF, conv = convolve(x_BTF, ctx.segments_BT, conv)
        u_BTF = jax.nn.silu(convolved_BTF)

        made = Linear('btf,fr->btr', (F, R + 2 * M), name='parameters', **common)(u_BTF)
        r_BTR, B_BTM, C_BTM = jnp.split(made, (R, R + M), axis=-1)
        step_BTF = Step(c, F, name='step')(r_BTR)
        log_FM = lambda key, shape: jnp.log(jnp.broadcast_to(1.0 + jnp.arange(M), shape))  # noqa: E731
        A_FM = -jnp.exp(self.param('A_log', log_FM, (F, M)))
        y_BTF, scan = selective_scan(
            u_BTF, step_BTF, A_FM, B_BTM, C_BTM, ctx.segments_BT, scan, c.chunk
        )
        skip_F = self.param('D', nn.initializers.ones, (F,))
        y_BTF += skip_F[None, None] * u_BTF.astype(jnp.float32)

        y_BTF = y_BTF.astype(self.dtype) * jax.nn.silu(z_BTF)
        how = common | {'bias': c.bias, 'residual': True}
        y_BTD = Linear('btf,fd->btd', (F, D), name='contract', **how)(y_BTF)
        return y_BTD, None if cache is None else MambaCache(conv, scan)
