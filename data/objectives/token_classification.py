"""The tag of each word, at its first token, https://arxiv.org/abs/1810.04805, section 5.3.

The words of a sentence are joined by blanks; a blank that is a token of its own has no tag.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data.bins import Ragged
from data.objectives.texts import TextRows
from data.rows import Row, Split
from transformer.errors import ConfigError

NO_TAG = -1


class TagRows(TextRows):
    """`inputs`, `targets`, `weights`, `positions`, `segment_ids`, [T]."""

    def __init__(self, texts: Ragged, length: int, cut: int, tags: Ragged):
        super().__init__(texts, length, cut)
        self._tags = tags

    def labels(self, place: int) -> Row:
        tags = self._tags[place]
        tags = np.pad(tags, (0, self._length - len(tags)), constant_values=NO_TAG)
        return {
            'targets': np.maximum(tags, 0).astype(np.int32),
            'weights': (tags != NO_TAG).astype(np.float32),
        }

    def label_digest(self) -> str:
        return self._tags.digest()


def split(experiment: Any, records: Sequence[tuple[tuple, tuple]], tokenizer: Any) -> Split:
    """Sentences cut to `experiment.context` tokens, the tokenizer's own frame included."""
    before, after = map(list, tokenizer.frame)
    length, room = experiment.context, experiment.context - len(before) - len(after)
    if room < 1:
        least = len(before) + len(after) + 1
        raise ConfigError('context', length, f'at least {least}: special tokens and a token')
    written = (f' {w}' if i else w for words, _ in records for i, w in enumerate(words))
    encoded = tokenizer.encode_all(written)
    texts, tags, cut = [], [], 0
    for _, numbers in records:
        ids, labels = [], []
        for number in numbers:
            word = next(encoded).tolist()
            first = next((i for i, t in enumerate(word) if tokenizer.pieces[t].strip()), 0)
            ids += word
            labels += [number if i == first else NO_TAG for i in range(len(word))]
        cut += len(ids) > room
        texts.append([*before, *ids[:room], *after])
        tags.append([*(NO_TAG for _ in before), *labels[:room], *(NO_TAG for _ in after)])
    tags = Ragged(tags, np.int32)
    words = int(sum((tags[i] != NO_TAG).sum() for i in range(len(tags))))
    dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    rows = TagRows(Ragged(texts, dtype), length, cut, tags)
    return Split(rows, 0, words, records)
