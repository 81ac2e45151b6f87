"""Bytes of files, plain or packed by gzip or zstd. Which, their first bytes say."""

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from data.sources.origin import BLOCK, SourceFile, refusing
from transformer.errors import UserError

MAGIC = {'gzip': b'\x1f\x8b', 'zstd': b'\x28\xb5\x2f\xfd'}
SUFFIXES = {'.gz': 'gzip', '.gzip': 'gzip', '.zst': 'zstd', '.zstd': 'zstd'}


def bare(name: str) -> str:
    """A file's name without the suffix of its packing."""
    stem, dot, end = name.rpartition('.')
    return stem if dot + end.lower() in SUFFIXES else name


def packing(file: SourceFile) -> str:
    """'gzip', 'zstd', or '' of a plain file.

    Raises:
      UserError: the file's name says that it is packed, and it is not.
    """
    with file.open() as raw, refusing(file.name):
        start = raw.read(4)
    found = next((name for name, magic in MAGIC.items() if start.startswith(magic)), '')
    dot, end = file.name.rpartition('.')[1:]
    named = SUFFIXES.get(dot + end.lower(), '')
    if named and named != found:
        raise UserError(f'{file.name} is not a whole {named} file: it begins with {start!r}')
    return found


@contextlib.contextmanager
def opened(file: SourceFile) -> Iterator[BinaryIO]:
    """The unpacked bytes, to be read from the beginning.

    Raises:
      UserError: the file cannot be read, or is not whole.
    """
    kind = packing(file)
    with file.open() as raw:
        if not kind:
            with refusing(file.name):
                yield raw
            return
        try:
            if kind == 'gzip':
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield unpacked
            else:
                yield pa.CompressedInputStream(pa.PythonFile(raw), kind)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f'{file.name} is not a whole {kind} file: {error}') from None


def blocks(file: SourceFile) -> Iterator[bytes]:
    """The unpacked bytes, a block at a time; errors as of `opened`."""
    with opened(file) as unpacked:
        while block := unpacked.read(BLOCK):
            yield block


def whole(file: SourceFile) -> bytes:
    """All unpacked bytes; errors as of `opened`."""
    return b''.join(blocks(file))
