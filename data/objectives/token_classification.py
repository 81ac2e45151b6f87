"""The tag of each word, at its first token, https://arxiv.org/abs/1810.04805, section 5.3.

The words of a sentence are joined by blanks; a blank that is a token of its own has no tag.
"""

from pathlib import Path
from typing import Any

import numpy as np

from data.columns import Examples
from data.encoders.tags import NO_TAG
from data.objectives.texts import TextRows
from data.rows import Row, Split
from data.tokenizer_base import framed
from transformer.errors import ConfigError


class TagRows(TextRows):
    """`inputs`, `targets`, `weights`, `positions`, `segment_ids`, [T]."""

    def __init__(self, examples: Examples, length: int, frame: tuple[tuple[int, ...], ...]):
        super().__init__(examples, length, sum(map(len, frame)))
        self._tags, self._frame = examples['tags'], frame

    def frame(self, ids: np.ndarray) -> np.ndarray:
        return framed(self._frame[0], ids, self._frame[1], self._length)

    def labels(self, place: int) -> Row:
        before, after = ([NO_TAG] * len(part) for part in self._frame)
        tags = framed(before, self._tags[place], after, self._length)
        tags = np.pad(tags, (0, self._length - len(tags)), constant_values=NO_TAG)
        return {
            'targets': np.maximum(tags, 0).astype(np.int32),
            'weights': (tags != NO_TAG).astype(np.float32),
        }


def split(experiment: Any, examples: Examples, tokenizer: Any, plans: Path | None) -> Split:
    """Sentences cut to `experiment.context` tokens, the tokenizer's own frame included."""
    frame, length = tokenizer.frame, experiment.context
    around = sum(map(len, frame))
    if length <= around:
        raise ConfigError('context', length, f'at least {around + 1}: special tokens and a token')
    rows = TagRows(examples, length, frame)
    words = sum(int(rows.labels(place)['weights'].sum()) for place in range(len(rows)))
    return Split(rows, 0, words)
