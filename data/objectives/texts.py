"""Rows of one text each, padded to T: what classifiers read. The same for every epoch."""

import abc
import hashlib

import numpy as np

from data.bins import Ragged
from data.rows import Row, Rows


class TextRows(Rows):
    """One text a row.

    Args:
      texts: token ids, at most `length` of a text.
      length: T.
      cut: how many texts were cut to fit.
    """

    def __init__(self, texts: Ragged, length: int, cut: int):
        self._texts, self._length, self._cut = texts, length, cut

    @abc.abstractmethod
    def labels(self, place: int) -> Row:
        """`targets` and `weights` of a row."""

    @abc.abstractmethod
    def label_digest(self) -> str:
        """Of all labels."""

    def __len__(self) -> int:
        return len(self._texts)

    def at(self, place: int) -> Row:
        ids = self._texts[place]
        real = np.arange(self._length) < len(ids)
        return {
            'inputs': np.pad(ids, (0, self._length - len(ids))),
            'positions': np.where(real, np.arange(self._length), 0).astype(np.int32),
            'segment_ids': real.astype(np.int32),
            **self.labels(place),
        }

    def draw(self, place: int, epoch: int, seed: int) -> Row:
        return self.at(place)

    def digest(self) -> str:
        both = self._texts.digest() + self.label_digest()
        return hashlib.blake2b(both.encode(), digest_size=16).hexdigest()

    def size(self) -> str:
        cut = f', {self._cut:,} cut to {self._length}' if self._cut else ''
        return f'{len(self):,} texts, {self._texts.lengths.sum():,} tokens{cut}'
