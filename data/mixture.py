"""Several sources as one: for evaluation end to end, for training as their order has it."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from data.order import Order
from data.rows import Row, Rows, Split

SOURCE = 'source'


class Joined(Rows):
    """The rows of several sources, one source after the other; each says its number as `source`.

    Args:
      rows: of the sources by name.
      names: of all sources of the mixture, by number: one may have no such split.
    """

    NEEDS = 'one row in each source'

    def __init__(self, rows: Mapping[str, Rows], names: Sequence[str]):
        self._names, self._rows = tuple(rows), tuple(rows.values())
        self._numbers = [np.int32(names.index(name)) for name in rows]
        self._ends = np.cumsum([len(each) for each in self._rows])
        self._drawn_ends = np.cumsum([each.drawn for each in self._rows])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @property
    def drawn(self) -> int:
        return int(self._drawn_ends[-1])

    def at(self, place: int) -> Row:
        i, within = _find(self._ends, place)
        return self._rows[i].at(within) | {SOURCE: self._numbers[i]}

    def draw(self, place: int, epoch: int, seed: int) -> Row:
        i, within = _find(self._drawn_ends, place)
        return self._rows[i].draw(within, epoch, seed) | {SOURCE: self._numbers[i]}

    def digest(self) -> str:
        parts = (f'{name}\0{rows.digest()}' for name, rows in zip(self._names, self._rows))
        return hashlib.blake2b('\0'.join(parts).encode(), digest_size=16).hexdigest()

    def size(self) -> str:
        return '; '.join(f'{name} {rows.size()}' for name, rows in zip(self._names, self._rows))


def _find(ends: np.ndarray, place: int) -> tuple[int, int]:
    i = int(np.searchsorted(ends, place, side='right'))
    return i, place - int(ends[i - 1] if i else 0)


def join(splits: Mapping[str, Split], names: Sequence[str]) -> Split:
    """The splits of several sources as one; that of a single source stays as it is.

    Bits per byte need that all sources have them.

    Args:
      splits: by the names of their sources.
      names: of all sources, by number.
    """
    parts = splits.values()
    if len(names) == 1:
        return next(iter(parts))
    whole = all(part.text_bytes for part in parts)
    counted = all(part.predicted for part in parts)
    return Split(
        Joined({name: part.rows for name, part in splits.items()}, names),
        sum(part.text_bytes for part in parts) if whole else 0,
        sum(part.predicted for part in parts) if counted else 0,
    )


class Stream:
    """Example i of training, for any i, a row at a time.

    Args:
      rows: of each source.
      order: of their examples.
      seed: of what is drawn.
    """

    def __init__(self, rows: tuple[Rows, ...], order: Order, seed: int):
        self._rows, self._order, self._seed = rows, order, seed

    def __call__(self, index: int) -> Row:
        drawn = self._order.at(index)
        row = self._rows[drawn.source].draw(drawn.place, drawn.epoch, self._seed)
        return row if len(self._rows) == 1 else row | {SOURCE: np.int32(drawn.source)}
