"""How a stream of documents becomes rows of T tokens: cut anywhere, or document by document."""

import abc
import functools
from pathlib import Path

import numpy as np

from data.bins import pack
from data.plans import planned
from data.streams import Span, TokenStream


class Layout(abc.ABC):
    """Which tokens are in a row, by place: spans of the stream."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """How many rows a pass for evaluation has."""

    @property
    @abc.abstractmethod
    def drawn(self) -> int:
        """How many rows an epoch of training has."""

    @abc.abstractmethod
    def at(self, place: int) -> list[Span]:
        """A row of the pass for evaluation."""

    @abc.abstractmethod
    def draw(self, place: int, epoch: int, seed: int) -> list[Span]:
        """A row of an epoch."""

    @abc.abstractmethod
    def filled(self) -> float:
        """Share of an epoch's places that hold tokens; the rest is padding."""


class Concatenated(Layout):
    """Documents end to end, cut at multiples of T: each token once a pass.

    An epoch is cut from an offset of its own, so that no two show the same rows; its end goes on at
    the beginning of the stream. It leaves out what does not fill a row, elsewhere each time.

    Args:
      length: T.
      shifted: whether a row's targets are the tokens after its own.
    """

    def __init__(self, stream: TokenStream, length: int, shifted: bool):
        self._size, self._length = stream.size, length
        self._last = stream.size - shifted  # the last token has no target
        self._empty = stream.predicted < 1

    def __len__(self) -> int:
        return 0 if self._empty else max(1, -(-self._last // self._length))

    @property
    def drawn(self) -> int:
        return 0 if self._empty else max(1, self._size // self._length)

    def at(self, place: int) -> list[Span]:
        begin = place * self._length
        return [(begin, min(begin + self._length, self._last))]

    def draw(self, place: int, epoch: int, seed: int) -> list[Span]:
        begin = (_offset(seed, epoch, self._length) + place * self._length) % self._size
        spans, room = [], self._length
        while room:
            end = min(begin + room, self._size)
            spans.append((begin, end))
            room -= end - begin
            begin = 0
        return spans

    def filled(self) -> float:
        return 1.0


@functools.lru_cache(maxsize=64)
def _offset(seed: int, epoch: int, length: int) -> int:
    return int(np.random.default_rng([seed, epoch]).integers(length))


class Fitted(Layout):
    """Whole documents together in rows, https://arxiv.org/abs/2404.10830.

    A document of more than T tokens is cut into pieces of T and a shorter one. Which pieces share a
    row is settled once; the order of the rows is drawn each epoch.

    Args:
      length: T.
      how: 'first_fit' or 'best_fit'.
      seed: of the order in which pieces are put into rows.
      directory: where the plan is kept; None: nowhere.
    """

    def __init__(
        self, stream: TokenStream, length: int, how: str, seed: int, directory: Path | None = None
    ):
        def make() -> dict[str, np.ndarray]:
            begins, lengths = pieces(np.asarray(stream.tokens.starts), length)
            order = np.random.default_rng(seed).permutation(len(begins))
            bins = pack(lengths, length, how, order)
            return {
                'begins': begins[bins.items],
                'lengths': lengths[bins.items].astype(np.int32),
                'rows': bins.starts,
            }

        key = {'text': stream.digest(), 'length': length, 'how': how, 'seed': seed}
        self._plan = planned(directory, key, make)
        self._length, self._tokens = length, _last(stream)
        self._empty = stream.predicted < 1

    def __len__(self) -> int:
        return 0 if self._empty else len(self._plan['rows']) - 1

    @property
    def drawn(self) -> int:
        return len(self)

    def at(self, place: int) -> list[Span]:
        rows = self._plan['rows']
        part = slice(rows[place], rows[place + 1])
        begins, lengths = (self._plan[name][part].tolist() for name in ('begins', 'lengths'))
        return [(begin, begin + length) for begin, length in zip(begins, lengths)]

    def draw(self, place: int, epoch: int, seed: int) -> list[Span]:
        return self.at(place)

    def filled(self) -> float:
        return self._tokens / max(1, len(self)) / self._length


def _last(stream: TokenStream) -> int:
    """Where the last document ends: a marker may follow it."""
    return int(stream.tokens.starts[-1])


def pieces(starts: np.ndarray, most: int, skip: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Documents cut into pieces of `most` tokens and a last one of at most as many.

    Args:
      starts: int64 [N + 1], where each document begins and the last one ends.
      skip: tokens at the beginning of each document that are no part of it.

    Returns:
      Where each piece begins, and its length, int64 [P].
    """
    lengths = np.diff(starts) - skip
    counts = -(-lengths // most)
    document = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
    begins = starts[:-1][document] + skip + number * most
    return begins, np.minimum(most, starts[1:][document] - begins)


def layout_of(
    experiment, stream: TokenStream, shifted: bool, directory: Path | None = None
) -> Layout:
    """The layout that `experiment.data.packing` names, in rows of `experiment.context` tokens."""
    how, length = experiment.data.packing, experiment.context
    if how == 'concat':
        return Concatenated(stream, length, shifted)
    return Fitted(stream, length, how, experiment.seed, directory)
