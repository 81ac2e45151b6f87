"""Parameters that a block has and never uses: a decoder that is run without an encoder.

Checkpoints of such decoders hold them, and what is saved must, too. B batch, T length, D width.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax

from transformer import registry
from transformer.context import Context


@dataclasses.dataclass(frozen=True)
class SpareConfig:
    """Attributes:

    cross: config of attention to a memory that there is not.
    norm: config of its norm.
    """

    cross: Any
    norm: Any


@registry.register(SpareConfig)
class Spare(nn.Module):
    """A block's join that returns what the block made; its own parameters only start."""

    config: SpareConfig
    width: int
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x_BTD: jax.Array, y_BTD: jax.Array, ctx: Context) -> jax.Array:
        if self.is_initializing():
            ctx = ctx.replace(memory_BSD=x_BTD, memory_segments_BS=ctx.segments_BT)
            norm = registry.build(self.config.norm, dtype=self.dtype, name='cross_norm')
            fields = {'width': self.width, 'dtype': self.dtype, 'name': 'cross'}
            registry.build(self.config.cross, **fields)(norm(x_BTD), ctx)
        return y_BTD
