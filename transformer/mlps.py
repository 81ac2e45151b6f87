"""What works on each position alone. B batch, T length, D width, F hidden width."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from transformer import registry
from transformer.config import InitConfig
from transformer.context import Context
from transformer.layers import Dropout, Linear
from transformer.ops.activations import gelu

ACTIVATIONS = {
    'relu': jax.nn.relu,
    'relu2': lambda x: jnp.square(jax.nn.relu(x)),  # https://arxiv.org/abs/2109.08668
    'gelu': gelu,  # https://arxiv.org/abs/1606.08415
    'gelu_tanh': lambda x: jax.nn.gelu(x, approximate=True),
    'silu': jax.nn.silu,
    'tanh': jnp.tanh,
    'sigmoid': jax.nn.sigmoid,
    'quick_gelu': lambda x: x * jax.nn.sigmoid(1.702 * x),
    'relu6': jax.nn.relu6,
    'leaky_relu': jax.nn.leaky_relu,
    'mish': jax.nn.mish,  # https://arxiv.org/abs/1908.08681
    'linear': lambda x: x,
}


@dataclasses.dataclass(frozen=True)
class MLPConfig:
    """down(act(up(x))), or with a gate down(act(gate(x)) * up(x)), https://arxiv.org/abs/2002.05202.

    Attributes:
      hidden: F.
      activation: a key of `ACTIVATIONS`.
      gated: whether there is a gate; with 'silu' that is SwiGLU.
      dropout: share of the hidden units that is dropped in training.
    """

    hidden: int
    activation: str = 'gelu'
    gated: bool = False
    bias: bool = False
    dropout: float = 0.0
    init: InitConfig = InitConfig()


@registry.register(MLPConfig)
class MLP(nn.Module):
    config: MLPConfig
    width: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BTD: jax.Array, ctx: Context) -> tuple[jax.Array, dict]:
        """Returns y_BTD and nothing to report."""
        c, D = self.config, self.width
        common = {'init': c.init, 'bias': c.bias, 'dtype': self.dtype}
        up_BTF = Linear('btd,df->btf', (D, c.hidden), name='up', **common)(x_BTD)
        act = ACTIVATIONS[c.activation]
        if c.gated:
            gate_BTF = Linear('btd,df->btf', (D, c.hidden), name='gate', **common)(x_BTD)
            hidden_BTF = act(gate_BTF) * up_BTF
        else:
            hidden_BTF = act(up_BTF)
        hidden_BTF = Dropout(c.dropout)(hidden_BTF, ctx)
        down = Linear('btf,fd->btd', (c.hidden, D), residual=True, name='down', **common)
        return down(hidden_BTF), {}
