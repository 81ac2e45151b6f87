"""A random prefix of each document is read in both directions, the rest predicted from it.

https://arxiv.org/abs/1910.10683, section 3.2.3.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data.packing import TokenStream
from data.rows import Row, Split, StreamRows


class PrefixRows(StreamRows):
    """What `NextTokenRows` gives, and `prefix` (bool), [T].

    Of a document that has n inputs in the row, the first p are its prefix, p uniform from 1 to
    n - 1. A target within the prefix has weight 0: the model has seen it. A document of one input
    has no prefix.
    """

    def cut(self, start: int, wrap: bool, key: tuple[int, ...]) -> Row:
        row = self._stream.row(start, self._length, wrap=wrap)
        segments, rng = row['segment_ids'], np.random.default_rng(key)
        prefix = np.zeros(self._length, bool)
        weights = row['weights'].copy()
        edges = np.flatnonzero(np.diff(segments, prepend=0, append=-1))
        for begin, end in zip(edges[:-1], edges[1:]):
            if segments[begin] and end - begin > 1:
                length = int(rng.integers(1, end - begin))
                prefix[begin : begin + length] = True
                weights[begin : begin + length - 1] = 0
        return row | {'weights': weights, 'prefix': prefix}


def split(experiment: Any, records: Sequence[str], tokenizer: Any) -> Split:
    """Documents as rows of `experiment.context` tokens."""
    stream = TokenStream.of(tokenizer, records)
    return Split(PrefixRows(stream, experiment.context), 0, 0, records)
