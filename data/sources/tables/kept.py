"""What tables of all files keep open or in memory: what was used last, of bounded size."""

import os
import resource
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class Kept:
    """Values by key. Threads may share it; a value is made by one of them.

    Args:
      limit: of the sum of all sizes; the value used last stays in any case.
      size: of a value; None: each counts as one.
    """

    def __init__(self, limit: int, size: Callable[[Any], int] | None = None):
        self._limit, self._size = limit, size or (lambda value: 1)
        self.clear()

    def of(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value of a key; errors as of `make`."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key][0]
            value = make()
            size = self._size(value)
            self._values[key] = (value, size)
            self.held += size
            while self.held > self._limit and len(self._values) > 1:
                # Closed when the last thread that reads it lets it go.
                self.held -= self._values.popitem(last=False)[1][1]
            return value

    def __len__(self) -> int:
        return len(self._values)

    def clear(self) -> None:
        """Forgets all; also in a forked process, where the lock may be held by nobody."""
        self._lock, self._values, self.held = threading.RLock(), OrderedDict(), 0


def _most_files() -> int:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 256 if allowed == resource.RLIM_INFINITY else max(8, min(256, allowed // 4))


MEMORY, MOST = 256 << 20, _most_files()
# Open files; one that is unpacked in memory, as its attribute `held` says, counts as several.
FILES = Kept(MOST, lambda file: 1 + MOST * getattr(file, 'held', 0) // MEMORY)
# Row groups of Parquet, batches of Arrow.
PARTS = Kept(MEMORY, lambda part: part.get_total_buffer_size())
for _each in (FILES, PARTS):
    os.register_at_fork(after_in_child=_each.clear)
