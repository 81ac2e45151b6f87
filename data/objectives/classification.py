"""The class of a text, read after [CLS], https://arxiv.org/abs/1810.04805."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from data.bins import Ragged
from data.objectives.texts import TextRows
from data.rows import Row, Split
from transformer.errors import ConfigError
from transformer.objectives import START


class ClassRows(TextRows):
    """`inputs`, `positions`, `segment_ids` [T]; `targets` (int32) and `weights` scalars."""

    def __init__(self, texts: Ragged, length: int, cut: int, classes: Sequence[int]):
        super().__init__(texts, length, cut)
        self._classes = np.array(classes, np.int32)

    def labels(self, place: int) -> Row:
        return {'targets': self._classes[place], 'weights': np.float32(1)}

    def label_digest(self) -> str:
        return hashlib.blake2b(self._classes.tobytes(), digest_size=16).hexdigest()


def split(experiment: Any, records: Sequence[tuple[str, int]], tokenizer: Any) -> Split:
    """Texts cut to `experiment.context` tokens, [CLS] or the tokenizer's own frame included."""
    length, around = experiment.context, len(tokenizer.wrap(()))
    if length <= around:
        what = START if around == 1 else 'special tokens'
        raise ConfigError('context', length, f'at least {around + 1}: {what} and a token')
    encoded = list(tokenizer.encode_all(text for text, _ in records))
    dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    texts = Ragged([tokenizer.wrap(ids, length) for ids in encoded], dtype)
    cut = sum(len(ids) > length - around for ids in encoded)
    rows = ClassRows(texts, length, cut, [label for _, label in records])
    return Split(rows, 0, len(records), records)
