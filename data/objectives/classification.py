"""The class of a text, read after [CLS], https://arxiv.org/abs/1810.04805."""

from pathlib import Path
from typing import Any

import numpy as np

from data.columns import Examples
from data.objectives.texts import TextRows
from data.rows import Row, Split
from transformer.errors import ConfigError
from transformer.objectives import START


class ClassRows(TextRows):
    """`inputs`, `positions`, `segment_ids` [T]; `targets` (int32) and `weights` scalars."""

    def __init__(self, examples: Examples, length: int, around: int, tokenizer: Any):
        super().__init__(examples, length, around)
        self._classes, self._tokenizer = examples['label'], tokenizer

    def frame(self, ids: np.ndarray) -> np.ndarray:
        return self._tokenizer.wrap(ids, self._length)

    def labels(self, place: int) -> Row:
        return {'targets': np.int32(self._classes[place][0]), 'weights': np.float32(1)}


def split(experiment: Any, examples: Examples, tokenizer: Any, plans: Path | None) -> Split:
    """Texts cut to `experiment.context` tokens, [CLS] or the tokenizer's own frame included."""
    length, around = experiment.context, len(tokenizer.wrap(()))
    if length <= around:
        what = START if around == 1 else 'special tokens'
        raise ConfigError('context', length, f'at least {around + 1}: {what} and a token')
    return Split(ClassRows(examples, length, around, tokenizer), 0, len(examples))
