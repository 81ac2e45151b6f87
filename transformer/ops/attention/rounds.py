"""Who meets whom where keys go round, and which of these meetings a mask spares.

n devices hold parts of a sequence. Device i meets the keys of i, i - 1, i - 2, ...; with a causal
mask its part is two halves from both ends of the sequence (`zigzag`), so that in each round all
devices have the same number of pairs to work on.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from transformer.ops.masks import Mask
from transformer.ops.partition import CONTEXT


@dataclasses.dataclass(frozen=True)
class Rounds:
    """A block is a device's part of a sequence, or a half of it.

    Attributes:
      n: devices.
      T: queries of a block.
      S: keys of a block.
      count: of the rounds, at most n.
      halves: blocks of a device: 2 where parts are dealt out by halves, otherwise 1.
      causal: as in `Mask`.
      window: as in `Mask`.
      prefix: whether the mask has one.
    """

    n: int
    T: int
    S: int
    count: int
    halves: int
    causal: bool
    window: int | None
    prefix: bool

    @classmethod
    def of(cls, n: int, T: int, S: int, mask: Mask) -> 'Rounds':
        """For whole lengths T and S, which n divides."""
        count, halves, prefix = n, 1, mask.prefix_BS is not None
        if mask.causal and T == S:
            if mask.window is not None and not prefix:
                count = min(n, 1 - (1 - mask.window) // (T // n))  # no query looks further back
            halves = 2 if count == n > 1 and T % (2 * n) == 0 else 1
        blocks = n * halves
        return cls(n, T // blocks, S // blocks, count, halves, mask.causal, mask.window, prefix)

    def pairs(self):
        """Numbers of a device's blocks of queries and of another's blocks of keys."""
        return itertools.product(range(self.halves), repeat=2)

    def meet(self, at, source, a: int, b: int, prefix_BS: jax.Array | None = None):
        """Whether queries in block `a` of device `at` may see keys in block `b` of `source`.

        By their slots alone; True, no array, where slots hide nothing.
        """
        t, s = self._place(at, a) * self.T, self._place(source, b) * self.S
        t_last, s_last = t + self.T - 1, s + self.S - 1
        sees = True
        if self.causal:
            sees = s <= t_last
            if prefix_BS is not None:
                sees |= prefix_BS.any()
        if self.window is not None:
            sees &= t - s_last < self.window
            if not self.causal or self.prefix:
                sees &= s - t_last < self.window
        return sees

    def query_slots(self, at) -> list[jax.Array]:
        """Of each block of a device."""
        return [self._place(at, a) * self.T + jnp.arange(self.T) for a in range(self.halves)]

    def key_slots(self, source) -> list[jax.Array]:
        """Of each block of a device."""
        return [self._place(source, b) * self.S + jnp.arange(self.S) for b in range(self.halves)]

    def _place(self, at, half: int):
        return (at, 2 * self.n - 1 - at)[half]

    def split(self, x: jax.Array | None, axis: int) -> list[jax.Array | None]:
        """The blocks of a device's part."""
        return [None] * self.halves if x is None else jnp.split(x, self.halves, axis)

    def here(self):
        """The number of this device."""
        return 0 if self.n == 1 else lax.axis_index(CONTEXT)

    def passed(self, x: Any, hops: int = 1) -> Any:
        """What comes in when all devices pass theirs on by that many."""
        if hops % self.n == 0:
            return x
        way = [(i, (i + hops) % self.n) for i in range(self.n)]
        return jax.tree.map(lambda x: lax.ppermute(x, CONTEXT, way), x)

    def go(self, step: Callable, carry: Any) -> Any:
        """The carry after `step(carry, source)` in each round."""
        if self.n == 1:
            return step(carry, 0)
        body = lambda carry, r: (step(carry, (self.here() - r) % self.n), None)  # noqa: E731
        return lax.scan(body, carry, jnp.arange(self.count))[0]
