"""Texts with a class: columns `tokens`, of the text alone, and `label`, one number each."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from data.columns import Piece
from data.encoders.base import Encoder, token_type


class ClassEncoder(Encoder):
    """Its stream gives (text, class index)."""

    def __init__(self, tokenizer: Any):
        super().__init__()
        self._tokenizer = tokenizer
        self.dtypes = {'tokens': token_type(tokenizer), 'label': np.dtype(np.int32)}

    def stream(self, records: Sequence[tuple[str, int]], skip: int = 0) -> Iterator:
        return itertools.islice(records, skip, None)

    def encode(self, items: Iterable[tuple[str, int]]) -> Iterator[Piece]:
        labels = deque()

        def texts() -> Iterator[str]:
            for text, label in items:
                labels.append(label)
                yield text

        for ids in self._tokenizer.encode_all(texts()):
            yield Piece({'tokens': ids, 'label': np.array([labels.popleft()])}, 0)
