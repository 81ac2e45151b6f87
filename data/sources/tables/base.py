"""Tables of records: a length, and from index to record."""

import abc
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


class Bad(Exception):
    """A record that cannot be read.

    Args:
      reason: by which such records are counted.
      detail: for a message that begins with where it is.
      offset: of the fault in the bytes of the record, where this is known.
    """

    def __init__(self, reason: str, detail: str, offset: int | None = None):
        super().__init__(reason, detail, offset)
        self.reason, self.detail, self.offset = reason, detail, offset


class Table(abc.ABC):
    """Attributes:

    name: what messages call it.
    fields: names of the fields of all records; None where each record has its own.

    Records are read in two steps, so that those that nobody wants cost little: what `fetch` and
    `raw` give is turned into a record by `parse`.
    """

    name: str
    fields: tuple[str, ...] | None = None

    @abc.abstractmethod
    def __len__(self) -> int:
        """How many records, those that cannot be parsed included."""

    @abc.abstractmethod
    def fetch(self, index: int) -> Any:
        """The record at 0 <= index < len, unparsed."""

    def raw(self) -> Iterator[Any]:
        """All records in order, unparsed, without holding more than a few."""
        return map(self.fetch, range(len(self)))

    def parse(self, raw: Any) -> Any:
        """A record: a dict by field, or a string where records have no fields.

        Raises:
          Bad: it cannot be read.
        """
        return raw

    def where(self, index: int, offset: int | None = None) -> str:
        """A phrase that says where a record is, and where in its bytes."""
        del offset
        return f'{self.name}, record {index}'

    def select(self, fields: Sequence[str]) -> 'Table':
        """The table with no more than these fields, where that saves reading."""
        del fields
        return self


class Together(Table):
    """Tables one after the other, all of one kind."""

    def __init__(self, tables: Sequence[Table]):
        self._tables = tuple(tables)
        self.name = self._tables[0].name
        self._ends: np.ndarray | None = None

    @property
    def fields(self) -> tuple[str, ...] | None:
        """Those that all tables have."""
        each = [table.fields for table in self._tables]
        if None in each:
            return None
        return tuple(name for name in each[0] if all(name in fields for fields in each))

    @property
    def ends(self) -> np.ndarray:
        if self._ends is None:
            self._ends = np.cumsum([len(table) for table in self._tables])
        return self._ends

    def __len__(self) -> int:
        return int(self.ends[-1])

    def _at(self, index: int) -> tuple[Table, int]:
        n = int(np.searchsorted(self.ends, index, 'right'))
        return self._tables[n], index - (int(self.ends[n - 1]) if n else 0)

    def fetch(self, index: int) -> Any:
        table, inner = self._at(index)
        return table.fetch(inner)

    def raw(self) -> Iterator[Any]:
        for table in self._tables:
            yield from table.raw()

    def parse(self, raw: Any) -> Any:
        return self._tables[0].parse(raw)

    def where(self, index: int, offset: int | None = None) -> str:
        table, inner = self._at(index)
        return table.where(inner, offset)

    def select(self, fields: Sequence[str]) -> 'Together':
        return Together([table.select(fields) for table in self._tables])
