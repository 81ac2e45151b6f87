"""What an objective makes of a split: rows by place.

B sequences a batch, T tokens a row (of the target, where there are two), S tokens of the source.
"""

import abc
import dataclasses
from collections.abc import Mapping

import numpy as np

from data.layouts import Layout
from data.streams import Span, TokenStream

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
    """

    rows: Rows
    text_bytes: int
    predicted: int


def at_key(place: int) -> tuple[int, ...]:
    """What the random choices for evaluation follow from: the place alone."""
    return (0, 0, place, 2)


def draw_key(place: int, epoch: int, seed: int) -> tuple[int, ...]:
    """What the random choices for training follow from.

    It ends in 1, as NumPy takes a key and the same key with zeros at its end for the same.
    """
    return (seed, epoch, place, 1)


class StreamRows(Rows):
    """Rows of a stream of documents.

    Args:
      stream: documents end to end.
      layout: which of its tokens share a row.
      length: T.
    """

    NEEDS = '2 tokens'

    def __init__(self, stream: TokenStream, layout: Layout, length: int):
        self._stream, self._layout, self._length = stream, layout, length

    def __len__(self) -> int:
        return len(self._layout)

    @property
    def drawn(self) -> int:
        return self._layout.drawn

    def at(self, place: int) -> Row:
        return self.make(self._layout.at(place), at_key(place))

    def draw(self, place: int, epoch: int, seed: int) -> Row:
        return self.make(self._layout.draw(place, epoch, seed), draw_key(place, epoch, seed))

    @abc.abstractmethod
    def make(self, spans: list[Span], key: tuple[int, ...]) -> Row:
        """The row of these tokens of the stream.

        Args:
          key: what random choices follow from.
        """

    def digest(self) -> str:
        return self._stream.digest()

    def size(self) -> str:
        stream = self._stream
        return (
            f'{stream.text_bytes / 1e6:.2f} MB in {len(stream.starts):,} documents, '
            f'{stream.size:,} tokens in {self.drawn:,} rows, filled {self._layout.filled():.1%}'
            + left_out(stream.skipped)
        )


def left_out(skipped: Mapping[str, int]) -> str:
    """A phrase that says how many records were left out and why; '' if none were."""
    return ''.join(f', left out: {count:,} x {reason}' for reason, count in skipped.items())
