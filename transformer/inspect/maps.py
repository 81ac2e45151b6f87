"""Where attention looks, https://arxiv.org/abs/1706.03762.

B batch, N heads, T places that look, S places that are looked at.
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from transformer.errors import UserError
from transformer.inspect import taps
from transformer.inspect.batches import as_batch
from transformer.inspect.taps import STACKS

WEIGHTS = '_weights'


@dataclasses.dataclass(frozen=True)
class AttentionMap:
    """The attention of one layer.

    Attributes:
      stack: 'stack', or 'encoder' or 'decoder'.
      layer: from 0.
      part: 'mixer' looks at the same sequence, 'cross' at the encoder's output.
      weights_BNTS: float32, rows add up to 1; those of places that see nothing to 0.
    """

    stack: str
    layer: int
    part: str
    weights_BNTS: np.ndarray

    @property
    def seen(self) -> str:
        """The stack whose places are looked at."""
        return 'encoder' if self.part == 'cross' else self.stack


def attention(model: Any, params: Any, tokens: Any) -> list[AttentionMap]:
    """softmax(scores) of every layer that has attention, in order.

    Args:
      model, params: of any kind; linear attention and state spaces have no such weights.
      tokens: ids [T] or [B, T], or a batch as `model.forward` reads it.

    Raises:
      UserError: no layer has attention; tokens that the model cannot read.
    """
    batch = as_batch(model, tokens)
    found = {site: np.asarray(x) for site, x in _weights(model, params, batch).items()}
    if not found:
        raise UserError(f'{without(model)}: there are no attention maps')
    return [
        AttentionMap(site.stack, site.layer, site.part.removesuffix(WEIGHTS), found[site])
        for site in sorted(found, key=lambda site: (STACKS.index(site.stack), *site[1:]))
    ]


@functools.partial(jax.jit, static_argnames='model')
def _weights(model: Any, params: Any, batch: Any) -> dict[taps.Site, jax.Array]:
    wanted = lambda site: site.part.endswith(WEIGHTS)  # noqa: E731
    return taps.capture(*taps.apart(model, params), batch, wanted, weights=True)[1]


def without(model: Any) -> str:
    """A phrase that says what a model without attention has instead."""
    stacks = (getattr(model.config, name, None) for name in STACKS)
    kinds = {type(b.mixer).__name__ for stack in stacks if stack for b in stack.pattern}
    names = ', '.join(sorted(kind.removesuffix('Config') for kind in kinds))
    return f'no layer of the model has attention weights (its mixers: {names})'
