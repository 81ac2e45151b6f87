"""The residual block: a mixer, attention to a memory, an MLP, in one of a few arrangements."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
from jax.ad_checkpoint import checkpoint_name

from transformer import registry
from transformer.config import BlockConfig
from transformer.context import Context
from transformer.layers import Dropout, DropPath
from transformer.ops.kept import BRANCH
from transformer.residuals import RESIDUALS


@flax.struct.dataclass
class BlockCache:
    """What a block's two sequence parts keep; None for a part that is not there."""

    mixer: Any = None
    cross: Any = None


class Block(nn.Module):
    """Branches mixer, cross and mlp, those that are there, by `config.residual`.

    Norms are called `mixer_norm`, `cross_norm`, `mlp_norm`; the second ones of a sandwich
    `mixer_norm_after` and so on. A parallel block has one, that of its first branch.
    """

    config: BlockConfig
    width: int
    dtype: str = 'float32'

    def setup(self):
        c = self.config
        self.branches = [name for name in ('mixer', 'cross', 'mlp') if getattr(c, name) is not None]
        for i, name in enumerate(self.branches):
            part = registry.build(getattr(c, name), width=self.width, dtype=self.dtype)
            setattr(self, name, part)
            if c.residual != 'parallel' or i == 0:
                setattr(self, f'{name}_norm', registry.build(c.norm, dtype=self.dtype))
            if c.residual == 'sandwich':
                setattr(self, f'{name}_norm_after', registry.build(c.norm, dtype=self.dtype))
        if c.join is not None:
            self.join = registry.build(c.join, width=self.width, dtype=self.dtype)
        self.drop = Dropout(c.dropout)
        if c.mixer_dropout is not None:
            self.mixer_drop = Dropout(c.mixer_dropout)
        self.drop_path = DropPath(c.drop_path)

    def init_cache(self, batch: int, length: int, memory: int) -> BlockCache:
        """Empty caches for `length` tokens and `memory` slots of an encoder's output."""
        c, fields = self.config, {'width': self.width, 'dtype': self.dtype, 'parent': None}
        mixer = c.mixer and registry.build(c.mixer, **fields).init_cache(batch, length)
        cross = c.cross and registry.build(c.cross, **fields).init_cache(batch, memory)
        return BlockCache(mixer, cross)

    def __call__(self, x_BTD: jax.Array, ctx: Context, cache: BlockCache | None = None):
        """Returns x_BTD, the caches and what the MLP reports."""
        old = BlockCache() if cache is None else cache
        calls = {
            'mixer': lambda y: self.mixer(y, ctx, old.mixer),
            'cross': lambda y: self.cross(y, ctx, old.cross),
            'mlp': lambda y: self.mlp(y, ctx),
        }

        def dropped(name):
            own = name == 'mixer' and self.config.mixer_dropout is not None
            drop = self.mixer_drop if own else self.drop

            def call(x_BTD):
                y_BTD, extra = calls[name](x_BTD)
                return checkpoint_name(self.drop_path(drop(y_BTD, ctx), ctx), BRANCH), extra

            return call

        norm = lambda name: getattr(self, name, None)  # noqa: E731
        y_BTD, extras = RESIDUALS[self.config.residual](
            x_BTD,
            [
                (norm(f'{name}_norm'), dropped(name), norm(f'{name}_norm_after'))
                for name in self.branches
            ],
        )
        new = dict(zip(self.branches, extras))
        aux = new.pop('mlp', {})
        if self.config.join is not None:
            y_BTD = self.join(x_BTD, y_BTD, ctx)
        return y_BTD, BlockCache(**new) if cache is not None else None, aux
