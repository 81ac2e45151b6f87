"""Documents of any length, in pieces that fit in memory.

A long document is tokenised in pieces, cut after a line end that no white space follows: there our
tokenizers, and most others, would cut anyway. A piece has at most `LONGEST` characters; where it
has no such place it is cut before a blank, or else anywhere.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence

LONGEST = 1 << 20


def pieces_of(records: Sequence[str], skip: int = 0) -> Iterator[tuple[str, bool]]:
    """(text, whether a document begins) of all documents in order, without the first `skip`.

    Records that can be read a part at a time have a method `blocks`: an iterator over documents,
    each an iterator over strings.
    """
    documents = records.blocks() if hasattr(records, 'blocks') else ((text,) for text in records)
    found = ((text, n == 0) for blocks in documents for n, text in enumerate(cut(blocks)))
    return itertools.islice(found, skip, None)


def cut(blocks: Iterable[str], longest: int = LONGEST) -> Iterator[str]:
    """The pieces of a text that comes in blocks; which blocks makes no difference."""
    held, size = [], 0
    for block in blocks:
        held.append(block)
        size += len(block)
        if size <= longest:
            continue
        text, begin = ''.join(held), 0
        while len(text) - begin > longest:
            end = _break(text, begin, begin + longest)
            yield text[begin:end]
            begin = end
        held, size = [text[begin:]], len(text) - begin
    yield ''.join(held)


def _break(text: str, begin: int, limit: int) -> int:
    """Where to cut a text that goes on after `limit`."""
    end = limit
    while (at := text.rfind('\n', begin, end)) >= 0:
        if not text[at + 1].isspace():
            return at + 1
        end = at
    at = text.rfind(' ', begin + 1, limit)
    return at if at > 0 else limit
