"""Each token from those before it."""

from collections.abc import Sequence
from typing import Any

from data.packing import TokenStream
from data.rows import Row, Split, StreamRows


class NextTokenRows(StreamRows):
    """`inputs`, `targets`, `weights`, `positions`, `segment_ids`, [T]."""

    def cut(self, start: int, wrap: bool, key: tuple[int, ...]) -> Row:
        return self._stream.row(start, self._length, wrap=wrap)


def split(experiment: Any, records: Sequence[str], tokenizer: Any) -> Split:
    """Documents as rows of `experiment.context` tokens."""
    stream = TokenStream.of(tokenizer, records)
    rows = NextTokenRows(stream, experiment.context)
    return Split(rows, stream.text_bytes, stream.predicted, records)
