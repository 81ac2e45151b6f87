"""The files that records come from: here, or where fsspec reaches."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from transformer.errors import UserError

BLOCK = 1 << 20  # bytes read at a time
# What fsspec's file systems call the state of a file, best first.
STATES = ('ETag', 'etag', 'md5Hash', 'generation', 'LastModified', 'mtime', 'created')


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file, and what tells whether it changed.

    Attributes:
      name: its path, or its address such as 'gs://bucket/file'.
      size: in bytes.
      modified: time of the last change in nanoseconds, or a state that its store keeps.
    """

    name: str
    size: int
    modified: str

    @property
    def remote(self) -> bool:
        return '://' in self.name

    def again(self) -> 'SourceFile':
        """The file as it is now.

        Raises:
          UserError: it is gone.
        """
        if self.remote:
            system, path = filesystem(self.name)
            with refusing(self.name):
                return remote_file(self.name, system.info(path))
        return local_file(Path(self.name))

    def open(self) -> BinaryIO:
        """The bytes as they are; errors as of `again`."""
        with refusing(self.name):
            if self.remote:
                system, path = filesystem(self.name)
                return system.open(path, 'rb')
            return Path(self.name).open('rb')

    def digest(self) -> str:
        """BLAKE2b of the bytes."""
        made = hashlib.blake2b(digest_size=16)
        with refusing(self.name), self.open() as file:
            while block := file.read(BLOCK):
                made.update(block)
        return made.hexdigest()


@dataclasses.dataclass(frozen=True)
class Fingerprint(SourceFile):
    """A data set that is no file: `modified` is what its library calls its state."""

    def again(self) -> 'Fingerprint':
        return self

    def digest(self) -> str:
        return hashlib.blake2b(self.modified.encode(), digest_size=16).hexdigest()


def local_file(path: Path) -> SourceFile:
    with refusing(str(path)):
        found = path.stat()
    return SourceFile(str(path), found.st_size, str(found.st_mtime_ns))


def remote_file(name: str, info: dict[str, Any]) -> SourceFile:
    """Args:

    info: what its file system says of it.
    """
    state = next((info[key] for key in STATES if info.get(key)), '')
    if hasattr(state, 'timestamp'):  # a list of files may have a number where a file has a date
        state = state.timestamp()
    return SourceFile(name, int(info.get('size') or 0), str(state))


def filesystem(address: str) -> tuple[Any, str]:
    """The file system of an address, and the path there.

    Raises:
      UserError: fsspec, or what it needs for this kind of address, is missing.
    """
    try:
        import fsspec
    except ImportError:
        raise UserError(f"{address} needs fsspec: pip install -e '.[remote]'") from None
    try:
        return fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise UserError(f"{address}: {error}; pip install -e '.[remote]'") from None
    except Exception as error:  # each file system has its own types
        raise UserError(f'cannot reach {address}: {error}') from None


@contextlib.contextmanager
def refusing(name: str) -> Iterator[None]:
    """Makes an error while reading a file one that names it."""
    try:
        yield
    except OSError as error:
        raise UserError(f'cannot read {name}: {error.strerror or error}') from None
