"""One text from another, teacher forced, https://arxiv.org/abs/1409.3215.

Each side of a pair ends with the end marker; a pretrained tokenizer may begin it with another.
Several pairs share a row; which ones is settled once.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data.bins import Ragged
from data.objectives.pairs import PackedPairs, end_marker
from data.rows import Split
from transformer.errors import ConfigError


def encode_source(tokenizer: Any, text: str) -> list[int]:
    """What the encoder reads of a source text: its tokens and the end marker."""
    return tokenizer.side(tokenizer.encode(text)).tolist()


class Seq2SeqRows(PackedPairs):
    """Rows as of `pairs.assemble`.

    Args:
      sources, targets: both sides, end markers included.
      cut: how many pairs were cut to fit.
      lengths: S and T.
      start, seed: as of `PackedPairs`.
    """

    def __init__(self, sources: Ragged, targets: Ragged, cut: int, lengths, start: int, seed: int):
        sizes = np.stack([sources.lengths, targets.lengths], axis=1)
        super().__init__(sizes, *lengths, start, seed)
        self._sources, self._targets, self._cut = sources, targets, cut

    def pair(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return self._sources[index], self._targets[index]

    def content(self) -> str:
        return self._sources.digest() + self._targets.digest()

    def size(self) -> str:
        return super().size() + (f', {self._cut:,} pairs cut' if self._cut else '')


def split(experiment: Any, records: Sequence[tuple[str, str]], tokenizer: Any) -> Split:
    """Pairs in rows of `experiment.context` and `experiment.target_context` (0: as many) tokens."""
    end_marker(experiment, tokenizer)
    lengths = experiment.context, experiment.target_context or experiment.context
    around = len(tokenizer.side(()))
    for name, length in zip(('context', 'target_context'), lengths):
        if length <= around:
            what = 'the end marker' if around == 1 else 'special tokens'
            raise ConfigError(name, length, f'at least {around + 1}: a token and {what}')
    dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    cut = np.zeros(len(records), bool)

    def side(number: int) -> Ragged:
        room = lengths[number] - around
        kept = []
        encoded = tokenizer.encode_all(record[number] for record in records)
        for i, ids in enumerate(encoded):
            cut[i] |= len(ids) > room
            kept.append(tokenizer.side(ids, lengths[number]))
        return Ragged(kept, dtype)

    sources, targets = side(0), side(1)
    rows = Seq2SeqRows(sources, targets, int(cut.sum()), lengths, tokenizer.start, experiment.seed)
    return Split(rows, 0, rows.targets, records)
