"""Rows of one text each, padded to T: what classifiers read. The same for every epoch."""

import abc

import numpy as np

from data.columns import Examples
from data.rows import Row, Rows


class TextRows(Rows):
    """One text a row.

    Args:
      examples: with the column `tokens`.
      length: T.
      around: how many tokens `frame` adds.
    """

    def __init__(self, examples: Examples, length: int, around: int):
        self._examples, self._tokens, self._length = examples, examples['tokens'], length
        lengths = self._tokens.lengths + around
        self._cut = int((lengths > length).sum())
        self._kept = int(np.minimum(lengths, length).sum())

    @abc.abstractmethod
    def frame(self, ids: np.ndarray) -> np.ndarray:
        """A text's tokens as the model reads them, cut to T."""

    @abc.abstractmethod
    def labels(self, place: int) -> Row:
        """`targets` and `weights` of a row."""

    def __len__(self) -> int:
        return len(self._tokens)

    def at(self, place: int) -> Row:
        ids = self.frame(self._tokens[place])
        real = np.arange(self._length) < len(ids)
        return {
            'inputs': np.pad(ids, (0, self._length - len(ids))).astype(np.int32),
            'positions': np.where(real, np.arange(self._length), 0).astype(np.int32),
            'segment_ids': real.astype(np.int32),
            **self.labels(place),
        }

    def draw(self, place: int, epoch: int, seed: int) -> Row:
        return self.at(place)

    def digest(self) -> str:
        return self._examples.digest()

    def size(self) -> str:
        cut = f', {self._cut:,} cut to {self._length}' if self._cut else ''
        return f'{len(self):,} texts, {self._kept:,} tokens{cut}'
