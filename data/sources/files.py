"""Whole text files in memory, plain or packed, and their lines."""

from pathlib import Path

from data.sources import unpack
from data.sources.decode import decode, options
from data.sources.origin import SourceFile, local_file
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError

LARGEST = 1 << 30  # bytes, unpacked: what is larger is read a part at a time elsewhere


def read_text(path: Path | SourceFile, errors: str = 'strict', encoding: str = 'utf-8') -> str:
    """A text file; gzip and zstd are unpacked.

    Args:
      errors: 'strict', or 'replace' to put U+FFFD for bytes that are not of the encoding.

    Raises:
      UserError: the file is missing, unreadable, empty, binary, not of the encoding (with the
        offset of the first bad byte), or larger than 1 GiB.
    """
    file = path if isinstance(path, SourceFile) else local_file(path)
    held, size = [], 0
    for block in unpack.blocks(file):
        held.append(block)
        size += len(block)
        if size > LARGEST:
            raise UserError(f'{file.name} has more than {LARGEST:,} bytes of text; split it')
    return decode(b''.join(held), file.name, errors, encoding)


def lines(text: str) -> list[str]:
    """The lines of a text, without their ends.

    `str.splitlines` would also cut at characters that occur within lines, such as 0x85 of latin-1.
    """
    found = text.split('\n')
    if not found[-1]:
        found.pop()
    return [line.removesuffix('\r') for line in found]


def read_lines(file: Path | SourceFile, config: SourceConfig) -> list[str]:
    """The lines of a file in the config's encoding."""
    return lines(read_text(file, *options(config)))


def existing(config: SourceConfig, wanted: str) -> Path:
    """`config.path`, which must be there.

    Args:
      wanted: what the path should be, for the message.
    """
    path = Path(config.path).expanduser()
    if not config.path or not path.exists():
        raise ConfigError('data.path', config.path, wanted)
    return path
