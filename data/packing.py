"""Documents end to end in one stream of tokens, cut into rows. T tokens a row.

Each document begins with the end marker, where the tokenizer has one: the marker is the first thing
a model reads of a document, and the last one that it predicts of the document before. A row that
begins within a document reads on from there: its first position is 0, like that of every document.
"""

import dataclasses
import hashlib
from collections.abc import Iterable

import numpy as np


@dataclasses.dataclass(frozen=True)
class TokenStream:
    """Documents end to end.

    Attributes:
      tokens: uint16 or uint32 ids, each document's marker before it and one more at the end.
      starts: int64 offsets at which documents begin, ascending from 0.
      marked: whether documents have markers.
      text_bytes: UTF-8 length of the text.
    """

    tokens: np.ndarray
    starts: np.ndarray
    marked: bool
    text_bytes: int

    @classmethod
    def of(cls, tokenizer, texts: Iterable[str]) -> 'TokenStream':
        """The stream of `texts`."""
        text_bytes = 0

        def counted():
            nonlocal text_bytes
            for text in texts:
                text_bytes += len(text.encode('utf-8', 'surrogatepass'))
                yield text

        dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
        marker = [] if tokenizer.end is None else [np.array([tokenizer.end], dtype)]
        parts, starts, length = [], [], 0
        for ids in tokenizer.encode_all(counted()):
            starts.append(length)
            parts += [*marker, ids.astype(dtype)]
            length += len(marker) + len(ids)
        tokens = np.concatenate([*parts, *marker]) if parts else np.zeros(0, dtype)
        return cls(tokens, np.array(starts, np.int64), bool(marker), text_bytes)

    @property
    def predicted(self) -> int:
        """How many tokens of the stream a model predicts."""
        return len(self.tokens) - (1 if self.marked else len(self.starts))

    def digest(self) -> str:
        """Of the tokens: it changes with the text, the tokenizer and the order of documents."""
        return hashlib.blake2b(self.tokens.tobytes(), digest_size=16).hexdigest()

    def window(self, start: int, length: int, *, wrap: bool) -> dict[str, np.ndarray]:
        """`length` tokens from offset `start`: `inputs`, `positions`, `segment_ids`, int32 [T].

        Args:
          wrap: whether the stream goes on at its beginning after its end; otherwise what is missing
            becomes padding: segment 0.
        """
        at = np.arange(start, start + length)
        real = np.ones(length, bool) if wrap else at < len(self.tokens)
        at = at % len(self.tokens) if wrap else np.minimum(at, len(self.tokens) - 1)
        segments, positions = self._segments(at)
        return {
            'inputs': np.where(real, self.tokens[at].astype(np.int32), 0),
            'positions': np.where(real, positions, 0).astype(np.int32),
            'segment_ids': np.where(real, segments, 0).astype(np.int32),
        }

    def row(self, start: int, length: int, *, wrap: bool) -> dict[str, np.ndarray]:
        """`length` inputs from offset `start`, with the token after each as its target.

        Args:
          wrap: as of `window`; padding has weight 0.

        Returns:
          What `window` gives, `targets` (int32) and `weights` (float32), [T].
        """
        size = len(self.tokens)
        at = np.arange(start, start + length + 1)
        real = np.ones(length, bool) if wrap else at[1:] < size
        at = at % size if wrap else np.minimum(at, size - 1)
        tokens = self.tokens[at].astype(np.int32)
        segments, positions = self._segments(at)
        # Without a marker nothing tells that a document ends, so its successor is not predicted.
        same = segments[1:] == segments[:-1]
        weights = real & (self.marked | same) & (at[1:] > at[:-1])
        return {
            'inputs': np.where(real, tokens[:-1], 0),
            'targets': np.where(real, tokens[1:], 0),
            'positions': np.where(real, positions[:-1], 0).astype(np.int32),
            'segment_ids': np.where(real, segments[:-1], 0).astype(np.int32),
            'weights': weights.astype(np.float32),
        }

    def _segments(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers from 1 of the documents at consecutive offsets, and places within them."""
        document = np.searchsorted(self.starts, at, side='right')
        # A wrapped row may hold the same document twice; where offsets fall, a new segment begins.
        new = (document[1:] != document[:-1]) | (at[1:] < at[:-1])
        segments = np.concatenate([[1], 1 + np.cumsum(new)])
        begins = np.flatnonzero(np.concatenate([[True], new]))
        return segments, np.arange(len(at)) - begins[segments - 1]
