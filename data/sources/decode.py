"""Bytes as text, whole or a block at a time; what is not text is refused with the place."""

import codecs
from collections.abc import Iterable, Iterator

from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError

MARK = '\ufeff'  # a file may begin with it to tell its encoding; it is no part of the text


def codec_of(encoding: str) -> str:
    """Its usual name.

    Raises:
      ConfigError: there is no such encoding.
    """
    try:
        name = codecs.lookup(encoding).name
        ''.encode(name)
    except (LookupError, ValueError):  # 'undefined' encodes nothing; a NUL is no name
        raise ConfigError('data.encoding', encoding, "one of Python's, such as 'utf-8'") from None
    return 'utf-8' if name == 'utf-8-sig' else name


def wide(codec: str) -> bool:
    """Whether a line end is not one byte: such a text cannot be cut into lines as it is."""
    return '\n'.encode(codec) != b'\n'


def stream(
    blocks: Iterable[bytes], name: str, errors: str = 'strict', encoding: str = 'utf-8'
) -> Iterator[str]:
    """Text a block at a time.

    Args:
      name: what errors call the file.
      errors: 'strict', or 'replace' to put U+FFFD for bytes that are not of the encoding.

    Raises:
      UserError: a byte that is not of the encoding, or NUL; with its offset.
    """
    codec = codec_of(encoding)
    decoder = codecs.getincrementaldecoder(codec)(errors)
    offset, first = 0, True
    for block in _and_end(blocks):
        if (nul := block.find(b'\0')) >= 0 and not wide(codec):
            raise UserError(f'{name} is binary, not text: NUL byte at offset {offset + nul}')
        held = decoder.getstate()[0]
        try:
            text = decoder.decode(block, not block)
        except UnicodeDecodeError as error:
            raise not_of(codec, name, error, offset - len(held)) from None
        offset += len(block)
        if text and first:
            first = False
            text = text.removeprefix(MARK)
        if text:
            yield text


def _and_end(blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield from blocks
    yield b''


def not_of(codec: str, name: str, error: UnicodeDecodeError, offset: int) -> UserError:
    """Args:

    offset: of what could not be decoded.
    """
    bad = error.object[error.start]
    return UserError(
        f'{name} is not {codec.upper()}: byte 0x{bad:02x} at offset {offset + error.start}; '
        'config.data.encoding_errors=replace puts U+FFFD for each bad byte'
    )


def decode(raw: bytes, name: str, errors: str = 'strict', encoding: str = 'utf-8') -> str:
    """All of a file at once. Errors as of `stream`, and that it is empty."""
    text = ''.join(stream([raw] if raw else [], name, errors, encoding))
    if not text.strip():
        raise UserError(f'text file {name} is empty ({len(raw)} bytes, all white space)')
    return text


def options(config: SourceConfig) -> tuple[str, str]:
    """The last two arguments of `stream`."""
    return config.encoding_errors, config.encoding
