"""Documents: one column, `tokens`, each document after the end marker, and a marker at the end.

Where the tokenizer has no end marker, documents follow one another without.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from data.columns import Piece
from data.encoders.base import Encoder, token_type
from data.sources.documents import pieces_of


class TextEncoder(Encoder):
    """Its stream gives (text, whether a document begins), as of `data.sources.documents`."""

    def __init__(self, tokenizer: Any):
        super().__init__()
        self._tokenizer = tokenizer
        dtype = token_type(tokenizer)
        self.dtypes = {'tokens': dtype}
        self.marked = tokenizer.end is not None
        self._marker = np.array([tokenizer.end] if self.marked else [], dtype)
        self.ending = {'tokens': self._marker}

    def stream(self, records: Sequence[str], skip: int = 0) -> Iterator[tuple[str, bool]]:
        return pieces_of(records, skip)

    def encode(self, items: Iterable[tuple[str, bool]]) -> Iterator[Piece | None]:
        waiting = deque()

        def texts() -> Iterator[str]:
            for text, first in items:
                waiting.append((first, len(text.encode('utf-8', 'surrogatepass'))))
                yield text

        for ids in self._tokenizer.encode_all(texts()):
            first, size = waiting.popleft()
            if not size:
                self.skip('empty document')
                yield None
                continue
            if first:
                ids = np.concatenate([self._marker, ids.astype(self._marker.dtype)])
            yield Piece({'tokens': ids}, size, first)
