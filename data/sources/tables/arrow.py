"""Parquet by row groups, Arrow files and streams by memory map."""

import abc
import functools
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from data.sources import unpack
from data.sources.origin import SourceFile
from data.sources.tables import headers
from data.sources.tables.base import Table
from data.sources.tables.kept import FILES, PARTS
from transformer.errors import UserError

ROWS = 1024  # records made at a time while reading in order
# What pyarrow raises for a file that is damaged or not what it should be.
DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError, EOFError, struct.error)
Part = pa.Table | pa.RecordBatch


def _dicts(part: Part) -> list[dict[str, Any]]:
    try:
        return part.to_pylist()
    except UnicodeDecodeError:  # such text as bytes: who wants it says what becomes of it
        columns = [
            column.cast(pa.large_binary()) if _is_text(column.type) else column
            for column in part.columns
        ]
        return pa.table(columns, names=part.schema.names).to_pylist()


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


class Columns(Table):
    """Records in parts of pyarrow. Files are opened, and parts read, as they are needed.

    Args:
      columns: what of them to read; None is all.
    """

    KIND, MAPPED = '', False

    def __init__(self, file: SourceFile, columns: Sequence[str] | None = None):
        self.name, self._file = file.name, file
        self._columns = None if columns is None else tuple(columns)
        with self._refusing():
            reader = self._reader()
            self.fields, sizes = reader.fields, reader.sizes
        self._ends = np.cumsum(sizes, dtype=np.int64)
        twice = [name for name, count in Counter(self.fields).items() if count > 1]
        if twice:
            raise UserError(f'{self.name} has several columns {twice[0]!r}')

    @abc.abstractmethod
    def _open(self, source: Any) -> '_Reader':
        """Args:

        source: what pyarrow reads from.
        """

    def _reader(self) -> '_Reader':
        return FILES.of((type(self), self._file), self._opened)

    def _opened(self) -> '_Reader':
        packed = unpack.packing(self._file)
        source = (
            pa.BufferReader(unpack.whole(self._file))
            if packed
            else _source(self._file, self.MAPPED)
        )
        reader = self._open(source)
        reader.held = source.size() if packed else 0
        return reader

    def _part(self, number: int) -> Part:
        key = (type(self), self._file, self._columns, number)
        return PARTS.of(key, lambda: self._reader().part(number, self._columns))

    def _refusing(self) -> '_Refusing':
        return _Refusing(self.name, self.KIND)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def fetch(self, index: int) -> dict[str, Any]:
        number = int(np.searchsorted(self._ends, index, 'right'))
        begin = int(self._ends[number - 1]) if number else 0
        with self._refusing():
            return _dicts(self._part(number).slice(index - begin, 1))[0]

    def raw(self) -> Iterator[dict[str, Any]]:
        with self._refusing():
            for part in self._parts():
                for begin in range(0, part.num_rows, ROWS):
                    yield from _dicts(part.slice(begin, ROWS))

    def _parts(self) -> Iterator[Part]:
        return (self._reader().part(n, self._columns) for n in range(len(self._ends)))

    def select(self, fields: Sequence[str]) -> 'Columns':
        return type(self)(self._file, [name for name in self.fields if name in set(fields)])


class _Reader:
    """An open file.

    Args:
      fields: names of all columns.
      sizes: rows of each part.
      part: from its number and the columns that are wanted, None for all, to a part.
      whole: the file as its library has it.

    Attributes:
      held: bytes in memory while it is open, where they are not on disk as they are.
    """

    held = 0

    def __init__(
        self,
        fields: Sequence[str],
        sizes: Sequence[int],
        part: Callable[[int, Sequence[str] | None], Part],
        whole: Any = None,
    ):
        self.fields, self.sizes, self.part, self.whole = tuple(fields), sizes, part, whole


class _Refusing:
    """Makes an error of pyarrow one that names the file."""

    def __init__(self, name: str, kind: str):
        self._name, self._kind = name, kind

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, DAMAGED):
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f'{self._name} is not a whole {self._kind} file: {first}') from None


def _source(file: SourceFile, mapped: bool) -> Any:
    """What pyarrow reads from, of a file that is not packed."""
    if file.remote:
        return pa.PythonFile(file.open(), mode='r')
    if not Path(file.name).stat().st_size:
        return pa.BufferReader(b'')
    return pa.memory_map(file.name) if mapped else pa.OSFile(file.name)


class Parquet(Columns):
    """A Parquet file."""

    KIND = 'Parquet'

    def _open(self, source: Any) -> _Reader:
        reader = pq.ParquetFile(source)
        meta = reader.metadata
        sizes = [meta.row_group(n).num_rows for n in range(meta.num_row_groups)]
        return _Reader(reader.schema_arrow.names, sizes, reader.read_row_group, reader)

    def _parts(self) -> Iterator[Part]:
        # A little at a time: a row group may be large.
        return self._reader().whole.iter_batches(ROWS, columns=self._columns)


class Arrow(Columns):
    """An Arrow file (also Feather) or stream; nothing but what is asked for is unpacked."""

    KIND, MAPPED = 'Arrow', True

    def _open(self, source: Any) -> _Reader:
        try:
            return self._file_of(source)
        except pa.ArrowInvalid:
            source.seek(0)
            return self._stream_of(source)

    def _file_of(self, source: Any) -> _Reader:
        schema = ipc.open_file(source).schema

        # Other columns are not even unpacked; what is asked for is mostly asked for again.
        @functools.lru_cache(4)
        def reader(columns: tuple[str, ...] | None) -> ipc.RecordBatchFileReader:
            return ipc.open_file(source, options=_only(schema, columns))

        def part(number: int, columns: tuple[str, ...] | None) -> Part:
            return _select(reader(columns).get_batch(number), columns)

        return _Reader(schema.names, headers.rows_of_file(source), part)

    def _stream_of(self, source: Any) -> _Reader:
        """Messages of what is mapped take no memory, unless there are dictionaries."""
        schema = ipc.open_stream(source).schema
        source.seek(0)
        _, *messages = ipc.MessageReader.open_stream(source)
        if all(message.type == 'record batch' for message in messages):
            sizes = [headers.rows_of_message(m.metadata.to_pybytes()) for m in messages]
            made = functools.partial(ipc.read_record_batch, schema=schema)
            batch = lambda number: made(messages[number])  # noqa: E731
        else:
            source.seek(0)
            batches = list(ipc.open_stream(source))
            sizes, batch = [len(one) for one in batches], batches.__getitem__
        return _Reader(schema.names, sizes, lambda n, columns: _select(batch(n), columns))


def _only(schema: pa.Schema, columns: Sequence[str] | None) -> ipc.IpcReadOptions:
    names = schema.names
    wanted = [] if columns is None else [names.index(name) for name in columns]
    return ipc.IpcReadOptions(included_fields=wanted)


def _select(batch: pa.RecordBatch, columns: Sequence[str] | None) -> pa.RecordBatch:
    return batch if columns is None else batch.select(list(columns))
