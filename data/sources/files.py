"""Text out of files, plain or gzipped; what is not text is refused with the place of the fault."""

import codecs
import gzip
import zlib
from pathlib import Path

from transformer.errors import ConfigError, UserError
from transformer.experiment import DataConfig


def read_text(path: Path, errors: str = 'strict', encoding: str = 'utf-8') -> str:
    """A text file; `.gz` is unpacked.

    Args:
      errors: 'strict', or 'replace' to put U+FFFD for bytes that are not of the encoding.

    Raises:
      UserError: the file is missing, unreadable, empty, binary or not of the encoding; the message
        has the offset of the first bad byte.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f'cannot read text file {path}: {error.strerror or error}') from None
    if path.suffix == '.gz':
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f'{path} is not a whole gzip file: {error}') from None
    return decode(raw, str(path), errors, encoding)


def decode(raw: bytes, name: str, errors: str = 'strict', encoding: str = 'utf-8') -> str:
    """Bytes as text. Errors as of `read_text`; `name` is what they call the file."""
    if not raw.strip():
        raise UserError(f'text file {name} is empty ({len(raw)} bytes, all white space)')
    try:
        codec = codecs.lookup(encoding).name
    except LookupError:
        raise ConfigError('data.encoding', encoding, "one of Python's, such as 'utf-8'") from None
    nul = raw.find(b'\0')
    if nul >= 0 and not codec.startswith(('utf-16', 'utf-32')):
        raise UserError(f'{name} is binary, not text: NUL byte at offset {nul}')
    try:
        # A file may begin with a mark that tells UTF-8; it is no part of the text.
        return raw.decode('utf-8-sig' if codec == 'utf-8' else codec, errors)
    except UnicodeDecodeError as error:
        bad = raw[error.start]
        raise UserError(
            f'{name} is not {codec.upper()}: byte 0x{bad:02x} at offset {error.start}; '
            'config.data.encoding_errors=replace puts U+FFFD for each bad byte'
        ) from None


def lines(text: str) -> list[str]:
    """The lines of a text, without their ends.

    `str.splitlines` would also cut at characters that occur within lines, such as 0x85 of latin-1.
    """
    found = text.split('\n')
    if not found[-1]:
        found.pop()
    return [line.removesuffix('\r') for line in found]


def read_lines(path: Path, config: DataConfig) -> list[str]:
    """The lines of a file in the config's encoding."""
    return lines(read_text(path, config.encoding_errors, config.encoding))


def existing(config: DataConfig, wanted: str) -> Path:
    """`config.path`, which must be there.

    Args:
      wanted: what the path should be, for the message.
    """
    path = Path(config.path)
    if not config.path or not path.exists():
        raise ConfigError('data.path', config.path, wanted)
    return path


def no_test_split(config: DataConfig, why: str) -> None:
    """Refuses `config.test_split` where the source cannot give one."""
    if config.test_split:
        raise ConfigError('data.test_split', config.test_split, f"'': {why}")
