"""Integers of many records end to end: in memory here, on disk in `data.prepared`.

A record is one or several arrays, by name: `tokens` of a text; `source` and `target` of a pair. A
column holds the arrays of one name.
"""

import abc
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

BLOCK = 1 << 22  # integers hashed at a time


class Column(abc.ABC):
    """Arrays of different lengths, end to end.

    Attributes:
      dtype: of what `read` gives.
      starts: int64 [N + 1], where each array begins, and where the last one ends; ascending from 0.
      size: how many integers there are: what follows the last array, such as the marker that closes
        a stream of documents, counts.
    """

    dtype: np.dtype
    starts: np.ndarray
    size: int

    @abc.abstractmethod
    def read(self, begin: int, end: int) -> np.ndarray:
        """Integers `begin` to `end`, not to be written to; 0 <= begin <= end <= size."""

    @abc.abstractmethod
    def digest(self) -> str:
        """Of all integers and of where arrays begin: see `digest_of`."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        return self.read(int(self.starts[index]), int(self.starts[index + 1]))

    @property
    def lengths(self) -> np.ndarray:
        """int64 [N]."""
        return np.diff(self.starts)


class MemoryColumn(Column):
    """A column in memory.

    Args:
      flat: all integers.
      starts: as of `Column`.
    """

    def __init__(self, flat: np.ndarray, starts: np.ndarray):
        self._flat, self.starts = flat, starts
        self.dtype, self.size = flat.dtype, len(flat)

    def read(self, begin: int, end: int) -> np.ndarray:
        return self._flat[begin:end]

    def digest(self) -> str:
        return digest_of(self)


def digest_of(column: Column) -> str:
    """BLAKE2b of the integers and the starts: the same in memory and on disk."""
    made = hashlib.blake2b(np.dtype(column.dtype).str.encode(), digest_size=16)
    for begin in range(0, column.size, BLOCK):
        made.update(np.ascontiguousarray(column.read(begin, min(begin + BLOCK, column.size))))
    for begin in range(0, len(column.starts), BLOCK):
        made.update(np.ascontiguousarray(column.starts[begin : begin + BLOCK]))
    return made.hexdigest()


class Piece(NamedTuple):
    """What an encoder makes at a time: a record, or a part of a long one.

    Attributes:
      arrays: integers by column.
      text_bytes: UTF-8 length of the text that they stand for.
      begins: whether a record begins here; otherwise the last one goes on.
    """

    arrays: Mapping[str, np.ndarray]
    text_bytes: int
    begins: bool = True


@dataclasses.dataclass(frozen=True)
class Examples:
    """The encoded records of a split.

    Attributes:
      columns: by name; all have the same number of arrays.
      text_bytes: UTF-8 length of the text.
      marked: whether each document of `tokens` begins with the end marker, and one closes them.
      skipped: how many records were left out, by reason.
    """

    columns: Mapping[str, Column]
    text_bytes: int = 0
    marked: bool = False
    skipped: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def digest(self) -> str:
        """Of all columns."""
        both = '\0'.join(f'{name}\0{self.columns[name].digest()}' for name in sorted(self.columns))
        return hashlib.blake2b(both.encode(), digest_size=16).hexdigest()


class Gathered:
    """Pieces put together in memory.

    Args:
      dtypes: of each column.
    """

    def __init__(self, dtypes: Mapping[str, np.dtype]):
        self._dtypes = dtypes
        self._parts = {name: [] for name in dtypes}
        self._starts = {name: [] for name in dtypes}
        self._sizes = dict.fromkeys(dtypes, 0)
        self.text_bytes = 0

    def add(self, pieces: Iterable[Piece]) -> 'Gathered':
        for piece in pieces:
            self.text_bytes += piece.text_bytes
            for name, array in piece.arrays.items():
                if piece.begins:
                    self._starts[name].append(self._sizes[name])
                self._parts[name].append(np.asarray(array, self._dtypes[name]))
                self._sizes[name] += len(array)
        return self

    def close(self, ending: Mapping[str, np.ndarray]) -> Iterator[tuple[str, MemoryColumn]]:
        """The columns by name; `ending` follows the last array of a column."""
        for name, dtype in self._dtypes.items():
            starts = np.array([*self._starts[name], self._sizes[name]], np.int64)
            last = np.asarray(ending.get(name, ()), dtype)
            yield name, MemoryColumn(np.concatenate([*self._parts[name], last]), starts)
