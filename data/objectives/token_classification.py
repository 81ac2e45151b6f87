"""The tag of each word, at its first token, https://arxiv.org/abs/1810.04805, section 5.3.

The words of a sentence are joined by blanks; a blank that is a token of its own has no tag.
"""

from pathlib import Path
from typing import Any

import numpy as np

from data.columns import Column, Examples
from data.encoders.tags import NO_TAG
from data.objectives.texts import TextRows
from data.plans import planned
from data.rows import Row, Split
from data.tokenizer_base import framed
from transformer.errors import ConfigError

SENTENCES = 1 << 14  # counted at a time


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
    key = {'words': examples.digest(), 'room': length - around}
    kept = planned(plans, key, lambda: {'words': _words(examples['tags'], length - around)})
    return Split(rows, 0, int(kept['words'][0]))


def _words(tags: Column, room: int) -> np.ndarray:
    """How many words have their first token among the first `room` of their sentence, int64 [1]."""
    total = 0
    for first in range(0, len(tags), SENTENCES):
        starts = np.asarray(tags.starts[first : first + SENTENCES + 1])
        flags = tags.read(int(starts[0]), int(starts[-1])) != NO_TAG
        places = np.arange(len(flags)) - np.repeat(starts[:-1] - starts[0], np.diff(starts))
        total += int((flags & (places < room)).sum())
    return np.array([total])
