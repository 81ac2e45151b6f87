"""Writing one part: the files of all columns under temporary names, then their real ones."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from data.columns import Piece
from data.prepared import layout
from data.prepared.layout import CHUNK

# A chunk alone with its checksum: what is read at random is not unpacked.
OPTIONS = 'group_size:1,uncompressed'
HELD = 1 << 18  # integers gathered in memory before they are written
BLOCK = 1 << 22


class ColumnWriter:
    """One column of one part.

    Attributes:
      size: how many integers there are.
      arrays: how many arrays begin here.
    """

    def __init__(self, directory: Path, name: str, part: int, dtype: np.dtype):
        self._shard = directory / layout.shard(name, part)
        self._starts_file = directory / layout.shard_starts(name, part)
        self._dtype = np.dtype(dtype).newbyteorder('<')
        self._pieces, self._lengths, self._begins, self._held = [], [], [], 0
        self._starts = []
        self._rest = np.zeros(0, self._dtype)
        self._chunks = self._written = self.arrays = 0
        try:
            self._writer = ArrayRecordWriter(str(_new(self._shard)), OPTIONS)
        except (RuntimeError, OSError) as error:
            raise layout.unwritable(self._shard, error) from None

    @property
    def size(self) -> int:
        return self._written + self._held

    def add(self, array: np.ndarray, begins: bool) -> None:
        self._pieces.append(array)
        self._lengths.append(len(array))
        self._begins.append(begins)
        self.arrays += begins
        self._held += len(array)
        if self._held >= HELD or len(self._pieces) >= HELD:
            self._flush()

    def _flush(self) -> None:
        begins = np.array(self._begins, bool)
        ends = np.cumsum(np.array([0, *self._lengths], np.int64))
        self._starts.append((self._written + ends[:-1])[begins])
        integers = (piece.astype(self._dtype, copy=False) for piece in self._pieces)
        flat = np.concatenate([self._rest, *integers])
        whole = len(flat) // CHUNK * CHUNK
        for at in range(0, whole, CHUNK):
            self._write(flat[at : at + CHUNK])
        self._rest = flat[whole:].copy()
        self._written += self._held
        self._pieces, self._lengths, self._begins, self._held = [], [], [], 0

    def _write(self, chunk: np.ndarray) -> None:
        try:
            self._writer.write(chunk.tobytes())
        except (RuntimeError, OSError) as error:
            raise layout.unwritable(self._shard, error) from None
        self._chunks += 1

    def close(self, ending: np.ndarray) -> dict[str, dict[str, Any]]:
        """Writes what is left, and `ending` after the last array; sizes and checksums by file."""
        self.add(np.asarray(ending), False)
        self._flush()
        if len(self._rest):
            self._write(self._rest)
        try:
            self._writer.close()
            np.concatenate(self._starts).astype('<i8').tofile(_new(self._starts_file))
            # The library reads a file without its end as one with no records.
            records = ArrayRecordReader(str(_new(self._shard))).num_records()
            if records != self._chunks:
                raise OSError(f'{records} of {self._chunks} records were written')
            files = {path.name: _settled(path) for path in (self._shard, self._starts_file)}
        except (RuntimeError, OSError) as error:
            raise layout.unwritable(self._shard, error) from None
        return files

    def abandon(self) -> None:
        """Closes the file as it is: it has its temporary name still, and counts for nothing."""
        try:
            self._writer.close()
        except RuntimeError:  # the disk is as full as before
            return


class PartWriter:
    """All columns of one part.

    Args:
      directory: of the split.
      part: its number.
      dtypes: of each column.
    """

    def __init__(self, directory: Path, part: int, dtypes: Mapping[str, np.dtype]):
        self._directory, self._part = directory, part
        self._columns = {}
        try:
            for name, dtype in dtypes.items():
                self._columns[name] = ColumnWriter(directory, name, part, dtype)
        except BaseException:
            self.abandon()
            raise
        self._text_bytes = self._items = 0

    def add(self, piece: Piece | None) -> None:
        self._items += 1
        if piece is None:
            return
        self._text_bytes += piece.text_bytes
        for name, array in piece.arrays.items():
            self._columns[name].add(array, piece.begins)

    @property
    def full(self) -> bool:
        return sum(c.size + c.arrays for c in self._columns.values()) >= layout.PART

    def counts(self) -> dict[str, int]:
        """`items` of the stream, `records`, `text_bytes` and `tokens`, so far."""
        columns = self._columns
        return {
            'items': self._items,
            'records': max(column.arrays for column in columns.values()),
            'text_bytes': self._text_bytes,
            'tokens': sum(columns[name].size for name in layout.TEXTS if name in columns),
        }

    def close(
        self, ending: Mapping[str, np.ndarray], skipped: Mapping[str, int], last: bool
    ) -> dict[str, Any]:
        """Makes the part whole; what its sidecar holds."""
        files = {}
        for name, column in self._columns.items():
            files |= column.close(ending.get(name, np.zeros(0, np.uint16)))
        values = {
            **self.counts(),
            'sizes': {name: column.size for name, column in self._columns.items()},
            'skipped': dict(skipped),
            'files': files,
            'last': last,
        }
        layout.write_json(self._directory / layout.sidecar(self._part), values)
        return values

    def abandon(self) -> None:
        for column in self._columns.values():
            column.abandon()


def checksum(path: Path) -> str:
    """BLAKE2b of a file."""
    made = hashlib.blake2b(digest_size=16)
    with path.open('rb') as file:
        while block := file.read(BLOCK):
            made.update(block)
    return made.hexdigest()


def _new(path: Path) -> Path:
    return path.with_name(f'{path.name}.new')


def _settled(path: Path) -> dict[str, Any]:
    """Gives a file that is whole its name."""
    new = _new(path)
    layout.synced(new)
    found = {'bytes': new.stat().st_size, 'blake2b': checksum(new)}
    new.replace(path)
    return found
