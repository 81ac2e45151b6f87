"""A column on disk: parts, each a file of chunks."""

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.columns import Column
from data.prepared import layout
from data.prepared.layout import CHUNK
from data.prepared.readers import READERS, Shard


class StoredColumn(Column):
    """Reads as it is asked; pickled, it is but its arguments. Threads may share it.

    Args:
      directory: of the split.
      name: of the column.
      dtype: of the integers.
      sizes: how many each part holds.
      digest: as of `Column.digest`.

    Raises:
      UserError: the starts are missing or damaged; on reading, a damaged file, by name.
    """

    def __init__(
        self, directory: Path, name: str, dtype: np.dtype, sizes: Sequence[int], digest: str
    ):
        self._made_of = directory, name, dtype, sizes, digest
        self.dtype, self._digest = np.dtype(dtype), digest
        self._stored = self.dtype.newbyteorder('<')
        ends = np.cumsum([0, *sizes]).tolist()
        self._begins, self._ends, self.size = ends[:-1], ends[1:], ends[-1]
        files = [directory / layout.shard(name, part) for part in range(len(sizes))]
        self._shards = [Shard(str(path), _modified(path)) for path in files]
        self.starts = _starts(directory / layout.starts(name), self.size)
        self._last = (-1, -1, np.zeros(0, self.dtype))

    def __reduce__(self):
        return StoredColumn, self._made_of

    def digest(self) -> str:
        return self._digest

    def read(self, begin: int, end: int) -> np.ndarray:
        found, wanted = [], end - begin
        while True:
            part = bisect_right(self._ends, begin)
            if wanted <= 0 or part == len(self._ends):
                break
            chunk, inside = divmod(begin - self._begins[part], CHUNK)
            array = self._chunk(part, chunk)[inside : inside + wanted]
            if not found and len(array) == wanted:
                return array
            found.append(array)
            begin, wanted = begin + len(array), wanted - len(array)
        return np.concatenate(found) if found else np.zeros(0, self.dtype)

    def _chunk(self, part: int, chunk: int) -> np.ndarray:
        last = self._last  # taken at once: another thread may replace it
        if last[0] == part and last[1] == chunk:
            return last[2]
        shard = self._shards[part]
        try:
            (raw,) = READERS.of(shard).read(chunk, chunk + 1)
        except (RuntimeError, ValueError, IndexError) as error:  # its checksum, or its end
            raise layout.damaged(shard.path, error) from None
        wanted = min(CHUNK, self._ends[part] - self._begins[part] - chunk * CHUNK)
        if len(raw) != wanted * self.dtype.itemsize:
            why = f'record {chunk} has {len(raw)} bytes, not {wanted * self.dtype.itemsize}'
            raise layout.damaged(shard.path, why)
        array = np.frombuffer(raw, self._stored).astype(self.dtype, copy=False)
        array.flags.writeable = False
        self._last = (part, chunk, array)
        return array


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        raise layout.damaged(path, 'it is missing') from None


def _starts(path: Path, size: int) -> np.ndarray:
    try:
        starts = np.asarray(np.load(path, mmap_mode='r'))
    except FileNotFoundError:
        raise layout.damaged(path, 'it is missing') from None
    except (OSError, ValueError, EOFError) as error:
        raise layout.damaged(path, error) from None
    if not len(starts) or starts[0] != 0 or not 0 <= starts[-1] <= size:
        raise layout.damaged(path, f'it does not go from 0 to at most {size}')
    return starts
