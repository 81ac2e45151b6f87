"""How a model knows where a token stands. B batch, T length, D width."""

import dataclasses

import flax.linen as nn
import jax

from transformer import registry
from transformer.config import InitConfig


@dataclasses.dataclass(frozen=True)
class LearnedConfig:
    """A trained vector for each place, added to the token's. Places run from 0 to `length` - 1."""

    length: int
    init: InitConfig = InitConfig()


@dataclasses.dataclass(frozen=True)
class RotaryConfig:
    """Queries and keys are turned by their place, `ops.rotary`. It has no parameters."""

    theta: float = 10_000.0


@registry.register(LearnedConfig)
class Learned(nn.Module):
    config: LearnedConfig
    width: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, positions_BT: jax.Array) -> jax.Array:
        std = self.config.init.std or self.width**-0.5
        shape = (self.config.length, self.width)
        table_PD = self.param('table', nn.initializers.normal(std), shape)
        return table_PD.astype(self.dtype)[positions_BT]
