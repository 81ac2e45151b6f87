"""Parquet by row groups, Arrow files and streams by memory map."""

import collections
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from data.sources import unpack
from data.sources.origin import SourceFile
from data.sources.tables.base import Table
from transformer.errors import UserError

GROUPS = 4  # row groups kept in memory
ROWS = 1024  # records made at a time while reading in order
# What pyarrow raises for a file that is damaged or not what it should be.
DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError, EOFError)


def _dicts(batch: pa.RecordBatch | pa.Table) -> list[dict[str, Any]]:
    return batch.to_pylist()


class Columns(Table):
    """Records in parts of pyarrow.

    Args:
      columns: what of them to read; None is all.
    """

    KIND = ''

    def __init__(self, file: SourceFile, columns: Sequence[str] | None = None):
        self.name, self._file, self._columns = file.name, file, columns
        with self._refusing():
            self._open()

    def _open(self) -> None:
        """Sets `fields` and `_ends`, where each part ends."""
        raise NotImplementedError

    def _part(self, number: int) -> pa.Table | pa.RecordBatch:
        raise NotImplementedError

    def _refusing(self) -> '_Refusing':
        return _Refusing(self.name, self.KIND)

    def __reduce__(self) -> tuple:
        return type(self), (self._file, self._columns)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def fetch(self, index: int) -> dict[str, Any]:
        number = int(np.searchsorted(self._ends, index, 'right'))
        begin = int(self._ends[number - 1]) if number else 0
        with self._refusing():
            part = self._part(number)
            return {name: part[name][index - begin].as_py() for name in part.schema.names}

    def select(self, fields: Sequence[str]) -> 'Columns':
        return type(self)(self._file, [name for name in self.fields if name in set(fields)])

    def source(self) -> Any:
        """What pyarrow reads from: a memory map where the bytes are on disk as they are."""
        if unpack.packing(self._file):
            return pa.BufferReader(unpack.whole(self._file))
        if self._file.remote:
            return pa.PythonFile(self._file.open(), mode='r')
        return pa.memory_map(self.name) if Path(self.name).stat().st_size else pa.BufferReader(b'')


class _Refusing:
    """Makes an error of pyarrow one that names the file."""

    def __init__(self, name: str, kind: str):
        self._name, self._kind = name, kind

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, DAMAGED):
            first = str(error).strip().splitlines()[0]
            raise UserError(f'{self._name} is not a whole {self._kind} file: {first}') from None


class Parquet(Columns):
    """A Parquet file; the row groups that were last used stay in memory."""

    KIND = 'Parquet'

    def _open(self) -> None:
        self._reader = pq.ParquetFile(self.source())
        self.fields = tuple(self._reader.schema_arrow.names)
        meta = self._reader.metadata
        sizes = [meta.row_group(n).num_rows for n in range(meta.num_row_groups)]
        self._ends = np.cumsum(sizes, dtype=np.int64)
        self._kept: collections.OrderedDict[int, pa.Table] = collections.OrderedDict()

    def _part(self, number: int) -> pa.Table:
        if number not in self._kept:
            self._kept[number] = self._reader.read_row_group(number, columns=self._columns)
            while len(self._kept) > GROUPS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]

    def raw(self) -> Iterator[dict[str, Any]]:
        with self._refusing():
            for batch in self._reader.iter_batches(ROWS, columns=self._columns):
                yield from _dicts(batch)


class Arrow(Columns):
    """An Arrow file (also Feather) or stream; nothing but what is asked for is read."""

    KIND = 'Arrow'

    def _open(self) -> None:
        source = self.source()
        try:
            reader = ipc.open_file(source)
            self._batch = reader.get_batch
            sizes = [reader.get_batch(n).num_rows for n in range(reader.num_record_batches)]
        except pa.ArrowInvalid:
            source.seek(0)
            reader = ipc.open_stream(source)
            batches = list(reader)
            self._batch = batches.__getitem__
            sizes = [batch.num_rows for batch in batches]
        self.fields = tuple(reader.schema.names)
        self._ends = np.cumsum(sizes, dtype=np.int64)

    def _part(self, number: int) -> pa.RecordBatch:
        batch = self._batch(number)
        return batch if self._columns is None else batch.select(self._columns)

    def raw(self) -> Iterator[dict[str, Any]]:
        with self._refusing():
            for number in range(len(self._ends)):
                part = self._part(number)
                for begin in range(0, part.num_rows, ROWS):
                    yield from _dicts(part.slice(begin, ROWS))
