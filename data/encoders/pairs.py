"""Pairs of texts: columns `source` and `target`, tokens of the texts alone."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from data.columns import Piece
from data.encoders.base import Encoder, token_type


class PairEncoder(Encoder):
    """Its stream gives (source, target) strings."""

    def __init__(self, tokenizer: Any):
        super().__init__()
        self._tokenizer = tokenizer
        self.dtypes = dict.fromkeys(('source', 'target'), token_type(tokenizer))

    def stream(self, records: Sequence[tuple[str, str]], skip: int = 0) -> Iterator:
        return itertools.islice(records, skip, None)

    def encode(self, items: Iterable[tuple[str, str]]) -> Iterator[Piece]:
        encoded = self._tokenizer.encode_all(side for pair in items for side in pair)
        for source in encoded:
            yield Piece({'source': source, 'target': next(encoded)}, 0)
