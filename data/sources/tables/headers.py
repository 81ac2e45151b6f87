"""How many rows the batches of an Arrow file or stream have, from their headers alone.

pyarrow tells the number of rows of a batch that it has read, and unpacked, whole. Headers are
FlatBuffers, https://flatbuffers.dev/internals: a table begins with the distance back to a list of
where its fields are; https://arrow.apache.org/docs/format/Columnar.html has the fields.
"""

import struct
from collections.abc import Iterator
from typing import Any

END = b'ARROW1'
CONTINUED = b'\xff\xff\xff\xff'  # before the size of a header, since Arrow 0.15
BLOCK = struct.Struct('<qi4xq')  # of a footer: offset, size of the header, size of the body


def rows_of_message(header: bytes) -> int:
    """Of a batch.

    Args:
      header: the FlatBuffer that pyarrow calls a message's metadata.
    """
    batch = _field(header, _root(header), 2)  # Message.header
    length = _field(header, _at(header, batch), 0)  # RecordBatch.length
    return struct.unpack_from('<q', header, length)[0] if length else 0


def rows_of_file(file: Any) -> list[int]:
    """Of each batch of an Arrow file.

    Args:
      file: of pyarrow, to be read anywhere; known to be an Arrow file.
    """
    size = file.size()
    file.seek(size - len(END) - 4)
    (length,) = struct.unpack('<i', file.read(4))
    file.seek(size - len(END) - 4 - length)
    footer = file.read(length)
    found = []
    for offset, header_size, _ in _blocks(footer):
        file.seek(offset)
        header = file.read(header_size)
        found.append(rows_of_message(header[8 if header.startswith(CONTINUED) else 4 :]))
    return found


def _blocks(footer: bytes) -> Iterator[tuple[int, int, int]]:
    place = _field(footer, _root(footer), 3)  # Footer.recordBatches
    if place:
        begin = _at(footer, place)
        (count,) = struct.unpack_from('<I', footer, begin)
        yield from BLOCK.iter_unpack(footer[begin + 4 : begin + 4 + count * BLOCK.size])


def _root(buffer: bytes) -> int:
    return _at(buffer, 0)


def _at(buffer: bytes, place: int) -> int:
    """What the offset at a place points to."""
    return place + struct.unpack_from('<I', buffer, place)[0]


def _field(buffer: bytes, table: int, number: int) -> int:
    """Where a field of a table is; 0 if it has its default."""
    known = table - struct.unpack_from('<i', buffer, table)[0]
    (size,) = struct.unpack_from('<H', buffer, known)
    slot = 4 + 2 * number
    offset = struct.unpack_from('<H', buffer, known + slot)[0] if slot < size else 0
    return table + offset if offset else 0
