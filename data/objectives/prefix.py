"""A random prefix of each document is read in both directions, the rest predicted from it.

https://arxiv.org/abs/1910.10683, section 3.2.3.
"""

from pathlib import Path
from typing import Any

import numpy as np

from data.columns import Examples
from data.layouts import layout_of
from data.rows import Row, Split, StreamRows
from data.streams import Span, TokenStream


class PrefixRows(StreamRows):
    """What `NextTokenRows` gives, and `prefix` (bool), [T].

    Of a document that has n inputs in the row, the first p are its prefix, p uniform from 1 to
    n - 1. A target within the prefix has weight 0: the model has seen it. A document of one input
    has no prefix.
    """

    def make(self, spans: list[Span], key: tuple[int, ...]) -> Row:
        row = self._stream.row(spans, self._length)
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


def split(experiment: Any, examples: Examples, tokenizer: Any, plans: Path | None) -> Split:
    """Documents as rows of `experiment.context` tokens."""
    stream = TokenStream(examples)
    layout = layout_of(experiment, stream, shifted=True, directory=plans)
    return Split(PrefixRows(stream, layout, experiment.context), 0, 0)
