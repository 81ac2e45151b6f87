"""Associative recall with many queries (MQAR), https://arxiv.org/abs/2312.04927, section 4."""

import dataclasses

import numpy as np

from transformer.tasks.base import Drawn, Made, register


@register
@dataclasses.dataclass(frozen=True)
class Recall(Drawn):
    """Pairs of a key and its value, then every key once more: there its value is learnt.

    A row is k1 v1 k2 v2 ..., followed by queries at even distances; the place g among them has the
    chance g^(power - 1), none is taken twice, and what is left is filled with token 0. Keys are
    tokens of the lower half of the vocabulary, values of the upper half; in a row none comes twice.

    Attributes:
      tokens: V.
      pairs: keys of a row.
      power: of the law of the gaps; 1 makes all places alike, small numbers near ones likelier.
    """

    kind: str = 'recall'
    tokens: int = 128
    pairs: int = 8
    power: float = 0.01

    def __post_init__(self):
        super().__post_init__()
        self._require('pairs', self.pairs > 0, 'a whole number above 0')
        least = 2 * self.pairs + 2
        accepted = f'an even number of at least {least}: half are keys, of which 0 is none'
        self._require('tokens', self.tokens >= least and self.tokens % 2 == 0, accepted)
        self._require('power', 0 < self.power <= 1, 'above 0, at most 1')

    @property
    def pieces(self) -> tuple[str, ...]:
        half = self.tokens // 2
        return ('. ', *(f'k{n} ' for n in range(1, half)), *(f'v{n} ' for n in range(half)))

    def accepted(self, context: int) -> str:
        least = 4 * self.pairs
        holds = context >= least and context % 2 == 0
        return '' if holds else f'an even number of at least {least}, four times the pairs,'

    def draw(self, rng: np.random.Generator, context: int) -> Made:
        half, told = self.tokens // 2, 2 * self.pairs
        keys = 1 + rng.permutation(half - 1)[: self.pairs]
        values = half + rng.permutation(half)[: self.pairs]
        # The first of exponential clocks: a draw without replacement by these chances.
        gaps = np.arange(1, (context - told) // 2 + 1, dtype=np.float64)
        clocks = rng.standard_exponential(len(gaps)) / gaps ** (self.power - 1)
        asked = told + 2 * np.argsort(clocks, kind='stable')[: self.pairs]
        inputs, targets = np.zeros(context, np.int32), np.zeros(context, np.int32)
        inputs[0:told:2], inputs[1:told:2] = keys, values
        inputs[asked], targets[asked] = keys, values
        weights = np.zeros(context, np.float32)
        weights[asked] = 1
        return Made(inputs, targets, weights)
