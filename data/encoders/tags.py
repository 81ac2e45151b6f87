"""Words with a tag each: columns `tokens` and `tags`, the tag of a word at its first token.

The words of a sentence are joined by blanks; a blank that is a token of its own has no tag.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from data.columns import Piece
from data.encoders.base import Encoder, token_type

NO_TAG = -1


class TagEncoder(Encoder):
    """Its stream gives (words, tag indices)."""

    def __init__(self, tokenizer: Any):
        super().__init__()
        self._tokenizer = tokenizer
        self.dtypes = {'tokens': token_type(tokenizer), 'tags': np.dtype(np.int32)}

    def stream(self, records: Sequence[tuple[tuple, tuple]], skip: int = 0) -> Iterator:
        return itertools.islice(records, skip, None)

    def encode(self, items: Iterable[tuple[tuple, tuple]]) -> Iterator[Piece | None]:
        sentences = deque()
        pieces = self._tokenizer.pieces

        def words() -> Iterator[str]:
            for words, tags in items:
                sentences.append(tags)
                yield from (f' {word}' if i else word for i, word in enumerate(words))

        encoded, left = self._tokenizer.encode_all(words()), deque()
        ids, tags = [], []
        for word in encoded:
            while not left:
                left = deque(sentences.popleft())
                if not left:
                    yield self._empty()
            first = next((i for i, t in enumerate(word) if pieces[t].strip()), 0)
            ids.append(word)
            tag = np.full(len(word), NO_TAG)
            tag[first : first + 1] = left.popleft()
            tags.append(tag)
            if not left:
                yield Piece({'tokens': np.concatenate(ids), 'tags': np.concatenate(tags)}, 0)
                ids, tags = [], []
        for _ in sentences:  # nothing but empty ones is left
            yield self._empty()

    def _empty(self) -> None:
        self.skip('sentence without words')
