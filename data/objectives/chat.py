"""What the assistant says in conversations, from all that was said before.

With `config.data.packing` of 'first_fit' or 'best_fit', rows are made of whole conversations; those
that are longer than a row are cut at its end. With 'concat' conversations are end to end and cut
anywhere: a row may begin within one. Conversations never see one another.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data.bins import pack
from data.columns import Column, Examples
from data.layouts import Concatenated, Layout
from data.plans import planned
from data.rows import Row, Split, StreamRows, left_out
from data.streams import Span, TokenStream

BLOCK = 1 << 22  # flags read at a time


class Conversations(Layout):
    """Whole conversations together in rows, each but its last token, which is but a target.

    Which share a row is settled once; the order of the rows is drawn each epoch.

    Args:
      examples: `tokens` and `trained`.
      length: T.
      how: 'first_fit' or 'best_fit'.
      seed: of the order in which conversations are put into rows.
      directory: where the plan is kept; None: nowhere.

    Attributes:
      cut: how many conversations are cut, those that are left out not counted.
      empty: how many are left out, as all that is learnt of them is cut off.
    """

    def __init__(
        self, examples: Examples, length: int, how: str, seed: int, directory: Path | None = None
    ):
        starts = np.asarray(examples['tokens'].starts)

        def make() -> dict[str, np.ndarray]:
            sizes = np.diff(starts) - 1
            long = np.flatnonzero(sizes > length)
            kept = np.ones(len(sizes), bool)
            kept[long] = [_learns(examples['trained'], starts[i], length) for i in long]
            order = np.random.default_rng(seed).permutation(np.flatnonzero(kept))
            bins = pack(np.minimum(sizes, length)[order], length, how)
            counts = np.array([kept[long].sum(), (~kept).sum()], np.int64)
            return bins.arrays() | {'items': order[bins.items], 'counts': counts}

        key = {'chat': examples.digest(), 'length': length, 'how': how, 'seed': seed}
        self._plan = planned(directory, key, make)
        self.cut, self.empty = map(int, self._plan['counts'])
        self._tokens, self._length = examples['tokens'], length

    def __len__(self) -> int:
        return len(self._plan['starts']) - 1

    @property
    def drawn(self) -> int:
        return len(self)

    def at(self, place: int) -> list[Span]:
        rows, starts = self._plan['starts'], self._tokens.starts
        items = self._plan['items'][rows[place] : rows[place + 1]]
        begins, ends = starts[items], starts[items + 1] - 1
        ends = np.minimum(ends, begins + self._length)
        return list(zip(begins.tolist(), ends.tolist()))

    def draw(self, place: int, epoch: int, seed: int) -> list[Span]:
        return self.at(place)

    def filled(self) -> float:
        return int(self._plan['used'][0]) / max(1, len(self)) / self._length

    def learnt(self, trained: Column) -> int:
        """How many targets a pass has."""
        lost = 0
        starts = self._tokens.starts
        for i in np.flatnonzero(self._tokens.lengths > self._length + 1).tolist():
            begin, end = int(starts[i]) + self._length + 1, int(starts[i + 1])
            lost += sum(int(flags.sum()) for flags in _blocks(trained, begin, end))
        return _learnt(trained) - lost


class ChatRows(StreamRows):
    """`inputs`, `targets`, `weights`, `positions`, `segment_ids`, [T]."""

    NEEDS = 'one conversation of which something is learnt'

    def __init__(self, examples: Examples, layout: Layout, length: int):
        super().__init__(TokenStream(examples), layout, length)
        self._examples, self._trained = examples, examples['trained']

    def make(self, spans: list[Span], key: tuple[int, ...]) -> Row:
        row = self._stream.row(spans, self._length)
        filled = 0
        for begin, end in spans:
            # A target is the token after its place; of the stream's last token there is none.
            flags = self._trained.read(begin + 1, min(end + 1, self._trained.size))
            row['weights'][filled : filled + len(flags)] *= flags
            filled += end - begin
        return row

    def digest(self) -> str:
        return self._examples.digest()

    def size(self) -> str:
        layout, examples = self._layout, self._examples
        said = (
            f'{len(examples):,} conversations, {self._stream.size:,} tokens in {self.drawn:,} rows,'
            f' filled {layout.filled():.1%}'
        )
        if isinstance(layout, Conversations) and layout.cut:
            said += f', {layout.cut:,} cut to {self._length}'
        skipped = dict(examples.skipped)
        if isinstance(layout, Conversations) and layout.empty:
            skipped[f'nothing to learn in {self._length} tokens'] = layout.empty
        return said + left_out(skipped)


def _learns(trained: Column, begin: int, length: int) -> bool:
    """Whether one of the first `length` targets of a conversation is learnt."""
    return bool(trained.read(int(begin) + 1, int(begin) + length + 1).any())


def _blocks(column: Column, begin: int, end: int) -> Iterator[np.ndarray]:
    for first in range(begin, end, BLOCK):
        yield column.read(first, min(first + BLOCK, end))


def _learnt(trained: Column) -> int:
    """How many tokens are learnt."""
    return sum(int(flags.sum()) for flags in _blocks(trained, 0, trained.size))


def split(experiment: Any, examples: Examples, tokenizer: Any, plans: Path | None) -> Split:
    """Conversations as rows of `experiment.context` tokens."""
    length, how = experiment.context, experiment.data.packing
    if how == 'concat':
        layout = Concatenated(TokenStream(examples), length, shifted=True)
        count = _learnt
    else:
        layout = Conversations(examples, length, how, experiment.seed, plans)
        count = layout.learnt
    key = {'learnt': examples.digest(), 'length': length, 'how': how}
    kept = planned(plans, key, lambda: {'targets': np.array([count(examples['trained'])])})
    return Split(ChatRows(examples, layout, length), 0, int(kept['targets'][0]))
