"""Documents end to end in one stream of tokens, and rows of T tokens out of spans of it.

Each document begins with the end marker, where the tokenizer has one: the marker is the first thing
a model reads of a document, and the last one that it predicts of the document before. A row that
begins within a document reads on from there: its first position is 0, like that of every document.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from data.columns import Column, Examples
from data.encoders import in_memory
from data.encoders.text import TextEncoder

Span = tuple[int, int]  # offsets of the stream: from, to


class TokenStream:
    """Documents end to end.

    Args:
      examples: with the column `tokens`, as `TextEncoder` fills it.

    Attributes:
      tokens: the column.
      starts: int64 offsets at which documents begin, ascending from 0.
      size: number of tokens, markers included.
      marked: whether documents have markers.
      text_bytes: UTF-8 length of the text.
    """

    def __init__(self, examples: Examples):
        self._examples = examples
        self.tokens: Column = examples['tokens']
        self.starts = np.asarray(self.tokens.starts)[:-1]
        self.size = self.tokens.size
        self.marked, self.text_bytes = examples.marked, examples.text_bytes
        self.skipped = examples.skipped

    def __reduce__(self):
        return TokenStream, (self._examples,)  # columns on disk are pickled as their paths

    @classmethod
    def of(cls, tokenizer: Any, texts: Iterable[str]) -> 'TokenStream':
        """The stream of `texts`, in memory."""
        return cls(in_memory(TextEncoder(tokenizer), list(texts)))

    @property
    def predicted(self) -> int:
        """How many tokens of the stream a model predicts."""
        return self.size - (1 if self.marked and len(self.starts) else len(self.starts))

    def digest(self) -> str:
        """Of the tokens: it changes with the text, the tokenizer and the order of documents."""
        return self.tokens.digest()

    def window(self, spans: Sequence[Span], length: int) -> dict[str, np.ndarray]:
        """A row of the tokens of `spans`: `inputs`, `positions`, `segment_ids`, int32 [T].

        Each span begins a segment, and so does each document. What is missing is padding: segment
        0.

        Args:
          spans: at most `length` tokens in all.
        """
        inputs = np.zeros(length, np.int32)
        new = np.zeros(length, bool)
        filled = 0
        for begin, end in spans:
            inputs[filled : filled + end - begin] = self.tokens.read(begin, end)
            new[filled] = True
            new[self._borders(begin, end) + filled] = True
            filled += end - begin
        return {'inputs': inputs} | _segments(new, filled)

    def row(self, spans: Sequence[Span], length: int) -> dict[str, np.ndarray]:
        """A row of the tokens of `spans`, with the token after each as its target.

        Returns:
          What `window` gives, `targets` (int32) and `weights` (float32), [T].
        """
        inputs, targets = np.zeros(length, np.int32), np.zeros(length, np.int32)
        weights = np.zeros(length, np.float32)
        new = np.zeros(length, bool)
        filled = 0
        for begin, end in spans:
            last = min(end + 1, self.size)  # nothing follows the stream's last token
            tokens, count = self.tokens.read(begin, last), end - begin
            inputs[filled : filled + count] = tokens[:count]
            targets[filled : filled + last - begin - 1] = tokens[1:]
            weights[filled : filled + last - begin - 1] = 1
            borders = self._borders(begin, last)
            if not self.marked:
                # Nothing tells that a document ends, so its successor is not predicted.
                targets_unknown = borders + filled - 1
                weights[targets_unknown] = 0
            new[filled] = True
            new[borders[borders < count] + filled] = True
            filled += count
        return {
            'inputs': inputs,
            'targets': targets,
            'weights': weights,
        } | _segments(new, filled)

    def _borders(self, begin: int, end: int) -> np.ndarray:
        """Places within a span, after its first, at which documents begin."""
        first, last = np.searchsorted(self.starts, (begin + 1, end))
        return self.starts[first:last] - begin


def _segments(new: np.ndarray, filled: int) -> dict[str, np.ndarray]:
    """Numbers from 1 of the segments that begin at `new`, and places within them; then zeros."""
    places = np.arange(len(new), dtype=np.int32)
    segments = np.cumsum(new, dtype=np.int32)
    positions = places - np.maximum.accumulate(np.where(new, places, 0))
    segments[filled:] = 0
    positions[filled:] = 0
    return {'positions': positions, 'segment_ids': segments}
