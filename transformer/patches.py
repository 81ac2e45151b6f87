"""From images to the residual stream, https://arxiv.org/abs/2010.11929.

B batch, I image side, P patch side, C channels, G = I / P patches a side, D width.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from transformer import registry
from transformer.config import InitConfig
from transformer.context import Context
from transformer.layers import Dropout, Linear


@dataclasses.dataclass(frozen=True)
class PatchesConfig:
    """Attributes:

    image: I, in pixels.
    patch: P, which divides I.
    channels: C.
    width: D.
    extra: trained vectors before the patches: 1 class token, or 2 with DeiT's distillation token,
      https://arxiv.org/abs/2012.12877.
    positions: config of position vectors for all places, or None. Place 0 is the first extra
      vector's.
    grid: config of position vectors for the patches alone, or None. Place 0 is the first patch's.
    dropout: share that is dropped in training.
    shuffle: 0, or the seed of one permutation of the patches of all images, before they are told
      apart by positions.
    """

    image: int
    patch: int
    channels: int
    width: int
    extra: int = 1
    positions: Any = None
    grid: Any = None
    dropout: float = 0.0
    init: InitConfig = InitConfig()
    shuffle: int = 0

    @property
    def length(self) -> int:
        """T, vectors of an image."""
        return self.extra + (self.image // self.patch) ** 2

    @property
    def order(self) -> np.ndarray:
        """Which patch stands where, [G * G]."""
        count = (self.image // self.patch) ** 2
        if not self.shuffle:
            return np.arange(count)
        return np.random.default_rng(self.shuffle).permutation(count)


class Patches(nn.Module):
    """Cuts an image into squares, and maps each to a vector."""

    config: PatchesConfig
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, images_BIIC: jax.Array, ctx: Context) -> jax.Array:
        """Returns x_BTD, patches in rows from the top left, or shuffled.

        Raises:
          ValueError: images of another size than the config's.
        """
        c = self.config
        B, *shape = images_BIIC.shape
        if shape != [c.image, c.image, c.channels]:
            accepted = f'{c.image} x {c.image} x {c.channels}'
            raise ValueError(f'images are {" x ".join(map(str, shape))}; accepted: {accepted}')
        G, P, D = c.image // c.patch, c.patch, c.width
        x = images_BIIC.reshape(B, G, P, G, P, c.channels)
        to_vector = Linear(
            'bgphqc,pqcd->bghd',
            (P, P, c.channels, D),
            c.init,
            bias=True,
            dtype=self.dtype,
            name='project',
        )
        x_BTD = to_vector(x).reshape(B, G * G, D)
        if c.shuffle:
            x_BTD = x_BTD[:, c.order]
        if c.grid is not None:
            place = registry.build(c.grid, width=D, dtype=self.dtype, name='grid')
            x_BTD += place(jnp.broadcast_to(jnp.arange(G * G)[None], (B, G * G)))
        if c.extra:
            start = nn.initializers.normal(c.init.std or D**-0.5)
            extra_XD = self.param('extra', start, (c.extra, D)).astype(self.dtype)
            first_BXD = jnp.broadcast_to(extra_XD[None], (B, c.extra, D))
            x_BTD = jnp.concatenate([first_BXD, x_BTD], axis=1)
        if c.positions is not None:
            place = registry.build(c.positions, width=D, dtype=self.dtype, name='positions')
            x_BTD += place(ctx.positions_BT)
        return Dropout(c.dropout)(x_BTD, ctx)
