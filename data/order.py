"""Which example comes when: a function of (seed, i) alone. Nothing is stored, nothing replayed.

Each source ticks at its own rate. With share w of the examples and a phase u from 0 (excluded) to
1, drawn from the seed, its tick j is at time (j + 1 - u) / w; example i of the stream is tick i of
all sources, in the order of their times. Up to time t a source has had w t examples, one more or
less, so of n examples in a row each of K sources has its share of n within 1 + w K examples. In any
100,000 that is 0.1% with 99 sources or fewer whatever the phases are, and far beyond in practice,
as phases differ. A source that has had its epochs stops ticking: the others go on at their own
rates, so that what it had is shared among them in proportion to their weights.

Tick times need one subtraction and one division of float64, so they are the same on every machine;
all else only brackets them.

Within a source, tick j is place p(j mod size) of epoch j // size, p being a permutation of all its
examples that is computed, anew each epoch.
"""

import decimal
import functools
import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from grain.experimental import index_shuffle

from transformer.errors import ConfigError

BLOCK, KEPT = 1024, 8  # examples scheduled at once, and for how many such blocks it is remembered
MOST = 1 << 50  # examples and ticks are below this: times of neighbours are distinct float64
LEAST_SHARE = 1e-12
ENDLESS = 1 << 62
SMALL = 1024  # examples; Grain's permutation takes the longer, the fewer than 2^16 there are


class Drawn(NamedTuple):
    """Example i of a stream: the row at `place` of `source`, in its pass `epoch`."""

    source: int
    place: int
    epoch: int


def shares(
    sizes: Sequence[int],
    weights: Sequence[float],
    temperature: float = 0.0,
    names: Sequence[str] = (),
) -> tuple[float, ...]:
    """Share of each source: w size^(1 / temperature), or w alone where it is 0; they sum to 1.

    https://arxiv.org/abs/1910.10683, section 3.5.2. Reckoned in decimals, whose logarithms are the
    same on every machine.

    Args:
      sizes: examples of each source.
      weights: w.
      names: of the sources, for errors.

    Raises:
      ConfigError: weights that are negative, not finite or all zero; an empty source; a share that
        would never come; a temperature below 0.
    """
    if not (temperature >= 0 and math.isfinite(temperature)):
        raise ConfigError('data.temperature', temperature, 'a number of at least 0')
    names = list(names) or [str(i) for i in range(len(sizes))]
    for name, size, weight in zip(names, sizes, weights, strict=True):
        where = f'data.mixture.{name}'
        if not (weight >= 0 and math.isfinite(weight)):
            raise ConfigError(f'{where}.weight', weight, 'a number of at least 0')
        if size < 1 and weight:
            accepted = 'weight 0: the source gives no rows to train on'
            raise ConfigError(f'{where}.weight', weight, accepted)
    if not any(weights):
        listed = dict(zip(names, weights))
        raise ConfigError('data.mixture', listed, 'weights of which one at least is above 0')
    with decimal.localcontext(prec=40, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN):
        raw = [decimal.Decimal(float(weight)) for weight in weights]
        if temperature:
            power = 1 / decimal.Decimal(float(temperature))
            grown = [(decimal.Decimal(int(n)).ln() * power).exp() if n else 0 for n in sizes]
            raw = [w * n for w, n in zip(raw, grown)]
        total = sum(raw)
        made = tuple(float(w / total) for w in raw)
    for name, weight, share in zip(names, weights, made):
        if weight and share < LEAST_SHARE:
            accepted = f'0, or more: its share of the rows would be {share:.1g}'
            raise ConfigError(f'data.mixture.{name}.weight', weight, accepted)
    return made


class Order:
    """The endless, or limited, stream of examples of one source or several.

    Attributes:
      total: how many examples there are until all sources have had their epochs; None: no end.

    Args:
      sizes: examples of each source.
      weights: their shares are proportional to these; one of weight 0 never comes. See `shares`.
      epochs: passes over each source at most, to the nearest example; 0: no limit.
      seed: of phases and permutations.
      names: of the sources, for errors.

    Raises:
      ConfigError: as of `shares`; epochs that are negative or not finite.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        weights: Sequence[float] = (1.0,),
        epochs: Sequence[float] = (),
        seed: int = 0,
        names: Sequence[str] = (),
    ):
        self._arguments = sizes, weights, epochs, seed, names
        self._shares = shares(sizes, weights, 0.0, names)
        epochs = list(epochs) or [0.0] * len(sizes)
        for i, (passes, size) in enumerate(zip(epochs, sizes, strict=True)):
            if not (passes >= 0 and math.isfinite(passes) and passes * size < MOST):
                name = names[i] if names else i
                raise ConfigError(f'data.mixture.{name}.epochs', passes, 'a number of at least 0')
        self._sizes, self._seed = [int(size) for size in sizes], seed
        self._active = [k for k, share in enumerate(self._shares) if share]
        self._rates = np.array([self._shares[k] for k in self._active])
        self._phases = np.array([_phase(seed, k) for k in self._active])
        limits = [
            max(1, round(epochs[k] * self._sizes[k])) if epochs[k] else ENDLESS
            for k in self._active
        ]
        self._limits = np.array(limits, np.int64)
        self.total = sum(limits) if max(limits) < ENDLESS else None
        self._prepare_inverse()
        self._block = functools.lru_cache(KEPT)(self._schedule)

    def __reduce__(self):
        return Order, self._arguments  # without what is remembered: workers get a copy

    def shares(self) -> tuple[float, ...]:
        """Asked share of each source, as long as none has had its epochs."""
        return self._shares

    def at(self, i: int) -> Drawn:
        """Example i.

        Raises:
          IndexError: below 0, or not below `total`.
        """
        if not 0 <= i < (MOST if self.total is None else self.total):
            raise IndexError(f'example {i} of {self.total or MOST}')
        if len(self._active) == 1:
            source, tick = self._active[0], int(i)
        else:
            block, offset = divmod(int(i), BLOCK)
            sources, ticks = self._block(block)
            source, tick = sources[offset], ticks[offset]
        size = self._sizes[source]
        epoch, index = divmod(tick, size)
        seed = _shuffle_seed(self._seed, source, epoch)
        return Drawn(source, shuffled(index, size, seed), epoch)

    def counts(self, i: int) -> np.ndarray:
        """Examples of each source among the first i, int64; costs the same for any i."""
        made = np.zeros(len(self._sizes), np.int64)
        if self.total is not None:
            i = min(i, self.total)
        before, sources, _ = self._ticks(i, i)
        short = i - int(before.sum())
        made[self._active] = before + np.bincount(sources[:short], minlength=len(before))
        return made

    def _schedule(self, block: int) -> tuple[list[int], list[int]]:
        """Source and tick of each example of a block."""
        first = block * BLOCK
        last = first + BLOCK if self.total is None else min(first + BLOCK, self.total)
        before, sources, ticks = self._ticks(first, last)
        skip = first - int(before.sum())
        part = slice(skip, skip + last - first)
        return np.array(self._active)[sources[part]].tolist(), ticks[part].tolist()

    def _ticks(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ticks in order of time, among them examples `first` to `last`.

        Returns:
          How many of each active source come before them; number among the active sources, and
          tick, of each.
        """
        slack = len(self._active) + 1
        low, high = self._time(first - slack), self._time(last + slack)
        before, after = self._until(low), self._until(high)
        if before.sum() > first or after.sum() < last:
            raise AssertionError(f'examples {first} to {last} are not from {low} to {high}')
        each = after - before
        sources = np.repeat(np.arange(len(each)), each)
        ticks = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each) + before[sources]
        # Stable, as are sources and ticks in order: of equal times the first source comes first.
        times = (ticks + 1 - self._phases[sources]) / self._rates[sources]
        order = np.argsort(times, kind='stable')
        return before, sources[order], ticks[order]

    def _until(self, time: float) -> np.ndarray:
        """Ticks of each active source up to a time, that time included."""
        guess = np.minimum(np.floor(self._rates * time + self._phases), self._limits)
        count = guess.astype(np.int64)
        while True:  # the guess may be off by a rounding
            following = (count + 1 - self._phases) / self._rates
            too_few = (count < self._limits) & (following <= time)
            too_many = (count > 0) & ((count - self._phases) / self._rates > time)
            if not (too_few | too_many).any():
                return count
            count = count + too_few - too_many

    def _prepare_inverse(self) -> None:
        """Where the number of ticks, as a function of time, has kinks: a source has its last."""
        ends = self._limits / self._rates
        order = np.argsort(ends, kind='stable')
        slopes = np.cumsum(self._rates[order][::-1])[::-1]  # up to each kink
        self._kinks = np.concatenate([[0.0], ends[order]])
        self._slopes = np.concatenate([slopes, [0.0]])
        self._heights = np.concatenate([[0.0], np.cumsum(np.diff(self._kinks) * slopes)])

    def _time(self, count: int) -> float:
        """When there are `count` ticks, within one of each source; infinite: never."""
        if count <= 0:
            return 0.0
        piece = int(np.searchsorted(self._heights, count, side='right')) - 1
        if not self._slopes[piece]:
            return math.inf
        return float(self._kinks[piece] + (count - self._heights[piece]) / self._slopes[piece])


def _hash(*parts: int | str) -> int:
    """64 bits that follow from the parts."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, 'little')


def _phase(seed: int, source: int) -> float:
    """Above 0 and at most 1, in steps that float64 has."""
    return ((_hash('phase', int(seed), source) >> 12) + 1) / (1 << 52)


def shuffled(index: int, size: int, seed: int) -> int:
    """Where a permutation of `size` examples has `index`; the permutation follows from the seed."""
    if size <= SMALL:
        return _permutation(seed, size)[index]
    last = size - 1
    if last.bit_count() == 1:
        # Where the last index is a power of 4 from 2^16 on, the library gives one index twice and
        # another never. A permutation of one example more, followed until it is within, is sound.
        place = index_shuffle(index, size, seed, 4)
        return place if place < size else index_shuffle(place, size, seed, 4)
    return index_shuffle(index, last, seed, 4)


@functools.lru_cache(4096)
def _shuffle_seed(seed: int, source: int, epoch: int) -> int:
    """uint32."""
    return _hash('shuffle', int(seed), source, epoch) & 0xFFFFFFFF


@functools.lru_cache(1024)
def _permutation(seed: int, size: int) -> tuple[int, ...]:
    """Of a small source, stored after all: by random bits, which NumPy never changes."""
    return tuple(np.argsort(np.random.PCG64(seed).random_raw(size), kind='stable').tolist())
