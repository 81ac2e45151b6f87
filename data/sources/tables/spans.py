"""Where lines and paragraphs begin and end, found a block of bytes at a time."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

Spans = tuple[np.ndarray, np.ndarray]  # int64 offsets: begins, ends
MARK = b'\xef\xbb\xbf'  # of UTF-8, at the beginning of a file
STEP = 64  # spans of which the index holds the first one's place
_SPACE = np.isin(np.arange(256), list(b' \t\r\n\v\f'))


def lines(
    blocks: Iterable[bytes], begin: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Begins and ends of lines, line ends not included, and which of them are blank.

    Args:
      begin: offset of the first byte.
    """
    offset, open_at, filled = begin, begin, False  # of the line that the last block left open
    for block in blocks if begin else _begun(blocks):
        array = np.frombuffer(block, np.uint8)
        if not offset and block[: len(MARK)] == MARK:
            open_at = len(MARK)
            array = np.concatenate([np.full(len(MARK), ord(' '), np.uint8), array[len(MARK) :]])
        after = np.flatnonzero(array == ord('\n')) + 1
        edges = np.concatenate([[0], after])
        # What follows the last line end stays open; there may be nothing.
        shown = np.logical_or.reduceat(~_SPACE[array], edges[edges < len(array)])
        shown = np.concatenate([shown, np.zeros(len(edges) - len(shown), bool)])
        shown[0] |= filled
        if len(after):
            yield np.concatenate([[open_at], offset + after[:-1]]), offset + after - 1, ~shown[:-1]
            open_at = offset + int(after[-1])
        filled = bool(shown[-1])
        offset += len(array)
    if open_at < offset:
        yield np.array([open_at]), np.array([offset]), np.array([not filled])


def _begun(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks, the first of them long enough to tell whether there is a `MARK`."""
    blocks, first = iter(blocks), b''
    for block in blocks:
        first += block
        if len(first) >= len(MARK):
            break
    if first:
        yield first
    yield from blocks


def all_lines(blocks: Iterable[bytes], begin: int = 0) -> Iterator[Spans]:
    return ((begins, ends) for begins, ends, _ in lines(blocks, begin))


def filled_lines(blocks: Iterable[bytes], begin: int = 0) -> Iterator[Spans]:
    """Lines that are not blank."""
    return ((begins[~blank], ends[~blank]) for begins, ends, blank in lines(blocks, begin))


def paragraphs(blocks: Iterable[bytes], begin: int = 0) -> Iterator[Spans]:
    """Runs of lines that are not blank."""
    opened, was_blank, last = np.zeros(0, np.int64), True, begin
    for begins, ends, blank in lines(blocks, begin):
        before = np.concatenate([[was_blank], blank[:-1]])
        opened = np.concatenate([opened, begins[~blank & before]])
        closed = np.concatenate([[last], ends[:-1]])[blank & ~before]
        yield opened[: len(closed)], closed
        opened, was_blank, last = opened[len(closed) :], bool(blank[-1]), int(ends[-1])
    yield opened, np.full(len(opened), last)


class Index(NamedTuple):
    """Attributes:

    begins: int64, where each `STEP`-th span begins; and at last, the size of all bytes.
    count: of spans.
    """

    begins: np.ndarray
    count: int


def index(found: Iterable[Spans], size: int) -> Index:
    """Args:

    size: of all bytes.
    """
    kept, count = [], 0
    for begins, _ in found:
        kept.append(begins[-count % STEP :: STEP])
        count += len(begins)
    return Index(np.concatenate([*kept, [size]]).astype(np.int64), count)


def read(blocks: Iterable[bytes], begins: np.ndarray, size: int) -> Iterator[tuple[int, bytes]]:
    """(begin, bytes) of what lies between each two of `begins`, ascending.

    A little more than `size` bytes at a time are held.

    Raises:
      EOFError: there are fewer bytes than that.
    """
    blocks, held, offset, n = iter(blocks), b'', 0, 0
    while n < len(begins) - 1:
        stop = max(n + 1, int(np.searchsorted(begins, offset + size, 'right')) - 1)
        last, parts, reach = int(begins[stop]), [held], offset + len(held)
        while reach < last:
            block = next(blocks, b'')
            if not block:
                raise EOFError
            parts.append(block)
            reach += len(block)
        held = b''.join(parts)
        for begin, end in zip(begins[n:stop].tolist(), begins[n + 1 : stop + 1].tolist()):
            yield begin, held[begin - offset : end - offset]
        held, offset, n = held[last - offset :], last, stop
