"""What heads do on random tokens that are said twice, https://arxiv.org/abs/2209.11895.

L layers, B rows, N heads, T places.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from transformer.config import TransformerConfig
from transformer.errors import UserError
from transformer.inspect.maps import attention

ROWS, HALF = 4, 32  # rows, and the most tokens that are said twice


@dataclasses.dataclass(frozen=True)
class Patterns:
    """Mean weights of attention, [L, N], from 0 to 1; of layers without attention not a number.

    Attributes:
      induction: of a token said again, on what came after it the first time.
      previous: of a token, on the one before it.
      first: of a token, on the first one.
    """

    induction: np.ndarray
    previous: np.ndarray
    first: np.ndarray

    def only(self, layer: int | None, head: int | None) -> 'Patterns':
        """Those of one layer or head, NaN elsewhere; None means all."""
        layers, heads = np.indices(self.first.shape)
        kept = np.isin(layers, layers if layer is None else layer)
        kept &= np.isin(heads, heads if head is None else head)
        return Patterns(**{name: np.where(kept, x, np.nan) for name, x in vars(self).items()})


def head_patterns(
    model: Any, params: Any, seed: int = 0, tokens: Sequence[int] | None = None
) -> Patterns:
    """How much each head of a decoder is an induction head, and attends to the previous token.

    Args:
      seed: of the random tokens.
      tokens: those that are drawn from; None means all.

    Raises:
      UserError: no decoder, or one without attention, or of a context of less than 4 tokens.
    """
    c = model.config
    if not isinstance(c, TransformerConfig) or not c.stack.causal:
        raise UserError(f'a {type(model).__name__} repeats nothing; accepted: a decoder')
    half = min(HALF, c.context // 2)
    if half < 2:
        raise UserError(f'a context of {c.context} tokens; accepted: at least 4')
    drawn = np.arange(c.tokens.vocab) if tokens is None else np.asarray(tokens)
    rng, again = np.random.default_rng(seed), len(drawn) < half  # else all of a row differ
    said_BT = np.stack([rng.choice(drawn, half, replace=again) for _ in range(ROWS)])
    said_BT = np.concatenate([said_BT, said_BT], axis=1)
    maps = attention(model, params, said_BT)
    heads = max(found.weights_BNTS.shape[1] for found in maps)
    names = [f.name for f in dataclasses.fields(Patterns)]
    made = {name: np.full((c.stack.layers, heads), np.nan) for name in names}
    for found in maps:
        weights_NTT = found.weights_BNTS.mean(0)
        at = found.layer, slice(len(weights_NTT))
        diagonal = lambda k, w=weights_NTT: np.diagonal(w, k, axis1=1, axis2=2)  # noqa: E731
        made['induction'][at] = diagonal(1 - half)[:, 1:].mean(-1)
        made['previous'][at] = diagonal(-1).mean(-1)
        made['first'][at] = weights_NTT[:, 1:, 0].mean(-1)
    return Patterns(**made)
