"""How a model knows where a token stands. B batch, T length, D width, N heads, R buckets.

Three kinds: vectors added to embeddings, `module(positions_BT) -> [B, T, D]`; turned queries and
keys, `RotaryConfig`; numbers added to scores, `module() -> ops.biases`.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from transformer import registry
from transformer.config import InitConfig
from transformer.errors import ConfigError
from transformer.ops import biases
from transformer.ops.rotary import Scaling


@dataclasses.dataclass(frozen=True)
class RotaryConfig:
    """Queries and keys are turned by their place, `ops.rotary`. It has no parameters.

    Attributes:
      theta: base of the frequencies.
      scaling: how they are stretched to a longer context, such as `ops.rotary.Yarn`, or None.
      width: how much of each head is turned, its first part, https://arxiv.org/abs/2204.06745;
        None means all.
      interleaved: whether neighbours are turned together, as in GPT-J, or one of the first half
        with one of the second.
    """

    theta: float = 10_000.0
    scaling: Scaling | None = None
    width: int | None = None
    interleaved: bool = False


@dataclasses.dataclass(frozen=True)
class LearnedConfig:
    """A trained vector for each place, added to the token's. Places run from 0 to `length` - 1.

    Attributes:
      offset: row of place 0. The table has `length + offset` rows; BART, OPT and RoBERTa use 2.
    """

    length: int
    init: InitConfig = InitConfig()
    offset: int = 0


@dataclasses.dataclass(frozen=True)
class SinusoidalConfig:
    """Sines and cosines of the place, https://arxiv.org/abs/1706.03762. It has no parameters.

    Frequencies are theta^(-2i/D). The first half of the vector holds sines, the second cosines, as
    in tensor2tensor; the paper alternates them.
    """

    theta: float = 10_000.0


@dataclasses.dataclass(frozen=True)
class Grid2DConfig:
    """Sines and cosines of the column, then of the row, as in MAE, https://arxiv.org/abs/2111.06377.

    Place p is row p // columns, column p % columns. Frequencies are theta^(-4i/D). It has no
    parameters.
    """

    rows: int
    columns: int
    theta: float = 10_000.0


@dataclasses.dataclass(frozen=True)
class RelativeBucketsConfig:
    """T5's numbers by distance, one set for a whole stack, `ops.biases.RelativeBuckets`.

    Attributes:
      heads: N.
      buckets: R, rows of the table.
      max_distance: from here on all distances share a bucket.
      bidirectional: whether later keys have buckets of their own: yes for encoders.
      init: how the table starts; a standard deviation of 0 means 1 / sqrt(R).
    """

    heads: int
    buckets: int = 32
    max_distance: int = 128
    bidirectional: bool = True
    init: InitConfig = InitConfig()

    def __post_init__(self):
        exact = self.buckets // (4 if self.bidirectional else 2)
        if not 0 < exact < self.max_distance:
            raise ValueError(
                f'buckets={self.buckets} cannot be used with max_distance={self.max_distance}; '
                f'accepted: at least {4 if self.bidirectional else 2}, of which '
                f'{"a quarter" if self.bidirectional else "half"} is below max_distance'
            )


@dataclasses.dataclass(frozen=True)
class AlibiConfig:
    """Scores fall with distance, by a slope for each head, `ops.biases.Alibi`. No parameters."""

    heads: int


@dataclasses.dataclass(frozen=True)
class RoundedAlibiConfig:
    """ALiBi with Falcon's rounding and factor, `ops.biases.RoundedAlibi`. No parameters."""

    heads: int
    scale: float = 1.0


@registry.register(LearnedConfig)
class Learned(nn.Module):
    """Rows of a table. A place outside it gives NaN, never another place's vector.

    Places are data, so a single one raises no error; a row longer than the table does.

    Raises:
      ConfigError: such a row.
    """

    config: LearnedConfig
    width: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, positions_BT: jax.Array) -> jax.Array:
        T, length = positions_BT.shape[1], self.config.length
        if length < T:
            raise ConfigError('context', T, f'at most {length}, the places of the learned table')
        std = self.config.init.std or self.width**-0.5
        rows = self.config.length + self.config.offset
        table_PD = self.param('table', nn.initializers.normal(std), (rows, self.width))
        row_BT = positions_BT + self.config.offset
        row_BT = jnp.where(row_BT < 0, rows, row_BT)  # `take` would count them from the end
        return jnp.take(table_PD.astype(self.dtype), row_BT, 0, mode='fill', fill_value=jnp.nan)


@registry.register(SinusoidalConfig)
class Sinusoidal(nn.Module):
    config: SinusoidalConfig
    width: int
    dtype: str = 'float32'

    def __call__(self, positions_BT: jax.Array) -> jax.Array:
        return _waves(positions_BT, self.width, self.config.theta).astype(self.dtype)


@registry.register(Grid2DConfig)
class Grid2D(nn.Module):
    """A place outside the grid gives NaN, as in `Learned`."""

    config: Grid2DConfig
    width: int
    dtype: str = 'float32'

    def __call__(self, positions_BT: jax.Array) -> jax.Array:
        c, half = self.config, self.width // 2
        if self.width % 4:
            raise ValueError(f'width {self.width} cannot hold a grid; accepted: a multiple of 4')
        places = (positions_BT % c.columns, positions_BT // c.columns)
        waves_BTD = jnp.concatenate([_waves(p, half, c.theta) for p in places], axis=-1)
        inside_BT = (positions_BT >= 0) & (positions_BT < c.rows * c.columns)
        return jnp.where(inside_BT[..., None], waves_BTD, jnp.nan).astype(self.dtype)


def _waves(positions_BT: jax.Array, width: int, theta: float) -> jax.Array:
    """[sin(p w_i), cos(p w_i)] with w_i = theta^(-2i/width), float32 [B, T, width]."""
    if width % 2:
        raise ValueError(f'width {width} cannot hold sines and cosines; accepted: an even one')
    frequency_h = (theta ** (-np.arange(0, width, 2) / width)).astype(np.float32)
    angle_BTh = positions_BT[..., None].astype(jnp.float32) * frequency_h[None, None]
    return jnp.concatenate([jnp.sin(angle_BTh), jnp.cos(angle_BTh)], axis=-1)


@registry.register(RelativeBucketsConfig)
class RelativeBuckets(nn.Module):
    config: RelativeBucketsConfig

    @nn.compact
    def __call__(self) -> biases.RelativeBuckets:
        c = self.config
        start = nn.initializers.normal(c.init.std or c.buckets**-0.5)
        table_RN = self.param('table', start, (c.buckets, c.heads))
        return biases.RelativeBuckets(table_RN, c.bidirectional, c.max_distance)


@registry.register(AlibiConfig)
class Alibi(nn.Module):
    config: AlibiConfig

    def __call__(self) -> biases.Alibi:
        return biases.Alibi(jnp.asarray(biases.alibi_slopes(self.config.heads)))


@registry.register(RoundedAlibiConfig)
class RoundedAlibi(nn.Module):
    config: RoundedAlibiConfig

    def __call__(self) -> biases.RoundedAlibi:
        return biases.RoundedAlibi(self.config.heads, self.config.scale)
