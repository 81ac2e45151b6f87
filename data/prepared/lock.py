"""One process at a time prepares a directory."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from data.prepared import layout


@contextlib.contextmanager
def locked(root: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Waits for another process that has the directory, and says so.

    A process that ends, however it ends, lets it go.

    Raises:
      UserError: the directory cannot be written to.
    """
    path = root / layout.LOCK
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = path.open('a+')
    except OSError as error:
        raise layout.unwritable(path, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                file.seek(0)
                owner = file.read().strip() or 'unknown'
                report(f'{root} is being prepared by process {owner}; waiting for it to end')
                fcntl.flock(file, fcntl.LOCK_EX)
            else:  # some file systems of networks have no locks
                report(f'{path} cannot be locked ({error.strerror}): prepare it once at a time')
        with contextlib.suppress(OSError):  # a full disk: only the message to others needs it
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
        yield
