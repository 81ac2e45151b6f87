"""What all encoders have.

An encoder is made of a tokenizer (and the objective); it says which columns it fills, and turns a
stream of records into pieces, one for each that the stream gives, in order.
"""

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data.columns import Examples, Gathered, Piece


class Encoder(abc.ABC):
    """Attributes:

    dtypes: of each column.
    ending: what follows the last array of a column.
    marked: as of `Examples`.
    skipped: how many records were left out so far, by reason.
    """

    dtypes: Mapping[str, np.dtype]
    ending: Mapping[str, np.ndarray] = {}
    marked = False

    def __init__(self):
        self.skipped: dict[str, int] = {}

    @abc.abstractmethod
    def stream(self, records: Sequence[Any], skip: int = 0) -> Iterator[Any]:
        """What `encode` takes, in order, without the first `skip`: records, or parts of long ones.

        Reading is much faster than encoding: skipping may read.
        """

    @abc.abstractmethod
    def encode(self, items: Iterable[Any]) -> Iterator[Piece | None]:
        """For each item its piece; None for one that is left out, which is counted just then."""

    def skip(self, reason: str) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


def token_type(tokenizer: Any) -> np.dtype:
    """The smallest type that holds all tokens."""
    return np.dtype(np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32)


def in_memory(encoder: Encoder, records: Sequence[Any]) -> Examples:
    """All records of a split, encoded now."""
    made = Gathered(encoder.dtypes)
    made.add(piece for piece in encoder.encode(encoder.stream(records)) if piece is not None)
    columns = dict(made.close(encoder.ending))
    return Examples(columns, made.text_bytes, encoder.marked, encoder.skipped)
