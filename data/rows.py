"""What an objective makes of a split: rows by place. And the two ways through a stream of tokens.

B sequences a batch, T tokens a row (of the target, where there are two), S tokens of the source.
"""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from data.packing import TokenStream

Row = dict[str, np.ndarray]


class Rows(abc.ABC):
    """Rows by place.

    Attributes:
      NEEDS: what a split must have for there to be a row, as a phrase.
    """

    NEEDS = 'one record'

    @abc.abstractmethod
    def __len__(self) -> int:
        """How many rows `at` gives: one pass for evaluation."""

    @property
    def drawn(self) -> int:
        """How many rows `draw` gives an epoch."""
        return len(self)

    @abc.abstractmethod
    def at(self, place: int) -> Row:
        """A row of the pass for evaluation: always the same."""

    @abc.abstractmethod
    def draw(self, place: int, epoch: int, seed: int) -> Row:
        """A row as training sees it: a function of the arguments alone."""

    @abc.abstractmethod
    def digest(self) -> str:
        """Of the content, without what is drawn: changes with text, tokenizer and order."""

    @abc.abstractmethod
    def size(self) -> str:
        """A phrase for the terminal."""


@dataclasses.dataclass(frozen=True)
class Split:
    """A split made ready for one objective.

    Attributes:
      rows: its rows.
      text_bytes: UTF-8 length of the text that is predicted, where bits per byte make sense; or 0.
      predicted: tokens (or records) that count in a pass for evaluation; 0 where that depends on
        what is drawn.
      records: what the rows are made of, as the corpus has it.
    """

    rows: Rows
    text_bytes: int
    predicted: int
    records: Sequence[Any]


def at_key(place: int) -> tuple[int, ...]:
    """What the random choices for evaluation follow from: the place alone."""
    return (0, 0, place, 2)


def draw_key(place: int, epoch: int, seed: int) -> tuple[int, ...]:
    """What the random choices for training follow from.

    It ends in 1, as NumPy takes a key and the same key with zeros at its end for the same.
    """
    return (seed, epoch, place, 1)


class StreamRows(Rows):
    """Rows cut from a stream: each token once a pass, and once an epoch.

    The rows of an epoch are cut at multiples of T from an offset of its own, so that no two epochs
    show the same rows.

    Args:
      stream: documents end to end.
      length: T.
    """

    NEEDS = '2 tokens'

    def __init__(self, stream: TokenStream, length: int):
        self._stream, self._length = stream, length

    def __len__(self) -> int:
        """Rows of T targets: the first token of a stream is none."""
        if self._stream.predicted < 1:
            return 0
        return max(1, -(-(len(self._stream.tokens) - 1) // self._length))

    @property
    def drawn(self) -> int:
        return max(1, len(self._stream.tokens) // self._length)

    def at(self, place: int) -> Row:
        return self.cut(place * self._length, False, at_key(place))

    def draw(self, place: int, epoch: int, seed: int) -> Row:
        offset = int(np.random.default_rng([seed, epoch]).integers(self._length))
        return self.cut(offset + place * self._length, True, draw_key(place, epoch, seed))

    @abc.abstractmethod
    def cut(self, start: int, wrap: bool, key: tuple[int, ...]) -> Row:
        """The row from offset `start`.

        Args:
          wrap: whether the stream goes on at its beginning after its end.
          key: what random choices follow from.
        """

    def digest(self) -> str:
        return self._stream.digest()

    def size(self) -> str:
        stream = self._stream
        return (
            f'{stream.text_bytes / 1e6:.2f} MB in {len(stream.starts):,} documents, '
            f'{len(stream.tokens):,} tokens'
        )
