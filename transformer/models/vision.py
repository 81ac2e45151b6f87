"""Vision Transformers, by a table of choices."""

import dataclasses

from transformer.config import VisionConfig
from transformer.heads import POOLS
from transformer.models import assemble
from transformer.models.assemble import Sizes
from transformer.models.options import StackOptions
from transformer.patches import PatchesConfig
from transformer.positions import Grid2DConfig, LearnedConfig


@dataclasses.dataclass(frozen=True)
class VisionOptions(StackOptions):
    """`config.model` of the family 'vision': `StackOptions` and:

    Attributes:
      image: I, height and width of the images in pixels.
      patch: P, side of the squares they are cut into; it divides `image`.
      channels: 1 for grey, 3 for colour.
      extra: trained vectors before the patches: 1 class token, 2 with DeiT's distillation token.
      pool: what a class is read from, a key of `heads.POOLS`.
      pooler: activation of a dense layer before the classes; '' means no such layer.
      shuffle: 0: patches stand in rows from the top left; otherwise the seed of one permutation of
        them, the same for all images: what a model can do without neighbourhood.
    """

    family: str = 'vision'
    positions: str = 'learned'
    norm: str = 'layernorm'
    bias: bool = True
    image: int = 224
    patch: int = 16
    channels: int = 3
    extra: int = 1
    pool: str = 'first'
    pooler: str = ''
    shuffle: int = 0

    POSITIONS = ('learned', 'grid', 'none')
    CAUSAL = False

    def __post_init__(self):
        super().__post_init__()
        for name in ('image', 'patch', 'channels'):
            self._require(name, getattr(self, name) > 0, 'a whole number above 0')
        holds = self.image % self.patch == 0
        near = max(1, round(self.image / self.patch)) * self.patch
        self._require('image', holds, f'a multiple of config.model.patch={self.patch}: {near}')
        self._require('pool', self.pool in POOLS, f'one of {", ".join(POOLS)}')
        holds = self.positions != 'grid' or self.width % 4 == 0
        self._require('width', holds, 'a multiple of 4 for the grid of positions')
        holds = self.extra > 0 or self.pool == 'mean'
        self._require('extra', holds, "at least 1, or config.model.pool='mean'")

    def build(self, sizes: Sizes) -> VisionConfig:
        """The model; `sizes` gives its classes."""
        side = self.image // self.patch
        positions, grid = {
            'learned': (LearnedConfig(self.extra + side**2, self.init), None),
            'grid': (None, Grid2DConfig(side, side)),
            'none': (None, None),
        }[self.positions]
        patches = PatchesConfig(
            image=self.image,
            patch=self.patch,
            channels=self.channels,
            width=self.width,
            extra=self.extra,
            positions=positions,
            grid=grid,
            dropout=self.dropout,
            init=self.init,
            shuffle=self.shuffle,
        )
        return VisionConfig(
            patches=patches,
            stack=assemble.stack(self, sizes, causal=False),
            head=assemble.head(self, sizes, pool=self.pool, pooler=self.pooler),
        )
