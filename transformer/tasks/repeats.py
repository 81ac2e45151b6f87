"""A random segment, again and again: what induction heads continue, arxiv.org/abs/2209.11895."""

import dataclasses

import numpy as np

from transformer.tasks.base import Drawn, Made, register


@register
@dataclasses.dataclass(frozen=True)
class Repeats(Drawn):
    """A segment of different random tokens, repeated until the row is full.

    Its length, the period, is drawn anew for every row, so that no fixed distance helps. Learnt is
    each token that follows one which has been seen before: the second token of the first
    repetition, and all from there on.

    Attributes:
      tokens: V.
      least, most: period of a row; from `least` to `most`, all alike.
    """

    kind: str = 'repeats'
    tokens: int = 64
    least: int = 8
    most: int = 32

    def __post_init__(self):
        super().__post_init__()
        self._require('least', self.least > 0, 'a whole number above 0')
        accepted = f'from config.objective.least={self.least} up'
        self._require('most', self.most >= self.least, accepted)
        accepted = f'at least config.objective.most={self.most}: the tokens of a segment differ'
        self._require('tokens', self.tokens >= self.most, accepted)

    @property
    def pieces(self) -> tuple[str, ...]:
        return tuple(f'{n} ' for n in range(self.tokens))

    def accepted(self, context: int) -> str:
        least = self.most + 1
        return '' if context >= least else f'at least {least}, one more than the longest period,'

    def draw(self, rng: np.random.Generator, context: int) -> Made:
        period = int(rng.integers(self.least, self.most + 1))
        segment = rng.permutation(self.tokens)[:period].astype(np.int32)
        row = np.resize(segment, context + 1)  # NumPy's `resize` repeats
        learnt = np.arange(1, context + 1) > period
        return Made(row[:-1], row[1:], learnt.astype(np.float32))
