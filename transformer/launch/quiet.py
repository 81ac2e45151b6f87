"""Process 0 prints; what any process says on its error stream says whose it is."""

import os
import sys
import threading
from typing import Any, TextIO


class Prefixed:
    """A text stream that begins every line with a prefix and writes whole lines only."""

    def __init__(self, stream: TextIO, prefix: str):
        self._stream, self._prefix = stream, prefix
        self._begun, self._lock = '', threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._begun = (self._begun + text).split('\n')
            whole = ''.join(f'{self._prefix}{line}\n' if line else '\n' for line in lines)
            if whole:
                self._stream.write(whole)
                self._stream.flush()
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def begin(prefix: str, prints: bool) -> None:
    """Prefixes the lines of the error stream; without `prints`, drops the standard output.

    What libraries write there past Python, as those of collectives do, is dropped in any case.
    """
    sys.stderr = Prefixed(sys.stderr, prefix)
    sys.stdout.flush()
    kept, encoding = os.dup(1), sys.stdout.encoding
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    # Line by line, as a process may end at once.
    sys.stdout = os.fdopen(kept if prints else 1, 'w', buffering=1, encoding=encoding)
