"""Open `array_record` files: one set for the process, of bounded size."""

import os
import resource
import threading
from collections import OrderedDict
from typing import NamedTuple

from array_record.python.array_record_module import ArrayRecordReader

# No thread, no buffer of its own: a read is one system call.
OPTIONS = 'readahead_buffer_size:0,max_parallelism:0'


class Shard(NamedTuple):
    """A file as it was when it was found; one that replaces it is another."""

    path: str
    modified: int


class Readers:
    """The readers used last; threads may share them.

    Args:
      limit: how many files are open at a time.
    """

    def __init__(self, limit: int):
        self._limit, self._open = limit, OrderedDict()
        self._lock = threading.Lock()

    def of(self, shard: Shard) -> ArrayRecordReader:
        with self._lock:
            found = self._open.get(shard)
            if found is not None:
                self._open.move_to_end(shard)
                return found
            while len(self._open) >= self._limit:
                # Closed when the last thread that reads it lets it go.
                self._open.popitem(last=False)
            found = self._open[shard] = ArrayRecordReader(shard.path, OPTIONS)
            return found

    def __len__(self) -> int:
        return len(self._open)

    def clear(self) -> None:
        """Forgets all; also in a forked process, where the lock may be held by nobody."""
        self._lock = threading.Lock()
        self._open = OrderedDict()


def _limit() -> int:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 256 if allowed == resource.RLIM_INFINITY else max(8, min(256, allowed // 4))


READERS = Readers(_limit())
os.register_at_fork(after_in_child=READERS.clear)
