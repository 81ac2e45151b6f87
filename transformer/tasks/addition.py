"""Addition modulo a prime: a table of which a share is shown, https://arxiv.org/abs/2301.05217."""

import dataclasses
import functools

import numpy as np

from transformer.tasks.base import Made, Task, register


@register
@dataclasses.dataclass(frozen=True)
class ModularAddition(Task):
    """'a b =', at whose end a + b modulo `modulus` is learnt. All pairs are trained on or held out.

    Attributes:
      modulus: numbers are 0 to below it; the token after them is '='.
      share: of all pairs, that is trained on.
      draw: seed of the choice of these pairs.
    """

    kind: str = 'modular_addition'
    modulus: int = 113
    share: float = 0.5
    draw: int = 0

    def __post_init__(self):
        super().__post_init__()
        self._require('modulus', 2 <= self.modulus <= 4096, 'from 2 to 4096')
        pairs = self.modulus**2
        holds = 0 < self.rows('train') < pairs
        self._require('share', holds, f'one that leaves some of the {pairs} pairs on both sides')
        self._require('draw', 0 <= self.draw < 2**31, 'a whole number from 0 to 2147483647')

    @property
    def pieces(self) -> tuple[str, ...]:
        return (*(f'{n} ' for n in range(self.modulus)), '= ')

    def rows(self, split: str) -> int:
        trained = int(self.share * self.modulus**2)
        return trained if split == 'train' else self.modulus**2 - trained

    def accepted(self, context: int) -> str:
        return '' if context == 3 else '3'

    def row(self, split: str, place: int, key: tuple[int, ...], context: int) -> Made:
        del key, context
        inputs_NT, targets_NT, weights_T = _table(self.modulus, self.draw)
        at = place if split == 'train' else self.rows('train') + place
        return Made(inputs_NT[at], targets_NT[at], weights_T)


@functools.lru_cache(4)
def _table(modulus: int, seed: int) -> Made:
    """All N pairs in an order that follows from the seed; the weights of one row."""
    order = np.argsort(np.random.PCG64(seed).random_raw(modulus**2), kind='stable')
    a, b = np.divmod(order.astype(np.int32), np.int32(modulus))
    inputs = np.stack([a, b, np.full_like(a, modulus)], -1)
    targets = np.stack([b, np.full_like(a, modulus), (a + b) % np.int32(modulus)], -1)
    made = Made(inputs, targets, np.array([0, 0, 1], np.float32))
    for array in made:
        array.flags.writeable = False  # rows are views of these
    return made
