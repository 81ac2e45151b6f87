"""One text from another, teacher forced, https://arxiv.org/abs/1409.3215.

Each side of a pair ends with the end marker; a pretrained tokenizer may begin it with another.
Several pairs share a row; which ones is settled once.
"""

from pathlib import Path
from typing import Any

import numpy as np

from data.columns import Examples
from data.objectives.pairs import PackedPairs, end_marker, plan_pairs
from data.plans import planned
from data.rows import Split
from transformer.errors import ConfigError


class Seq2SeqRows(PackedPairs):
    """Rows as of `pairs.assemble`.

    Args:
      examples: with the columns `source` and `target`.
      plan: as of `PackedPairs`, with `cut`, how many pairs are cut to fit.
      lengths: S and T.
      tokenizer: puts the end markers.
    """

    def __init__(self, examples: Examples, plan, lengths: tuple[int, int], tokenizer):
        super().__init__(plan, *lengths, tokenizer.start)
        self._examples, self._lengths = examples, lengths
        self._tokenizer = tokenizer

    def pair(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        sides = (self._examples[name][index] for name in ('source', 'target'))
        return tuple(self._tokenizer.side(ids, n) for ids, n in zip(sides, self._lengths))

    def content(self) -> str:
        return self._examples.digest()

    def size(self) -> str:
        cut = int(self._plan['cut'][0])
        return super().size() + (f', {cut:,} pairs cut' if cut else '')


def split(experiment: Any, examples: Examples, tokenizer: Any, plans: Path | None) -> Split:
    """Pairs in rows of `experiment.context` and `experiment.target_context` (0: as many) tokens."""
    end_marker(experiment, tokenizer)
    lengths = experiment.context, experiment.target_context or experiment.context
    around = len(tokenizer.side(()))
    for name, length in zip(('context', 'target_context'), lengths):
        if length <= around:
            what = 'the end marker' if around == 1 else 'special tokens'
            raise ConfigError(name, length, f'at least {around + 1}: a token and {what}')

    def make() -> dict[str, np.ndarray]:
        sides = [examples[name].lengths for name in ('source', 'target')]
        whole = np.stack(sides, axis=1) + around
        sizes = np.minimum(whole, lengths)
        cut = (whole > sizes).any(axis=1).sum()
        return plan_pairs(experiment, sizes, lengths) | {'cut': np.array([cut])}

    key = {'pairs': examples.digest(), 'lengths': list(lengths), 'around': around}
    key |= {'how': experiment.data.packing, 'seed': experiment.seed}
    plan = planned(plans, key, make)
    rows = Seq2SeqRows(examples, plan, lengths, tokenizer)
    return Split(rows, 0, rows.targets)
