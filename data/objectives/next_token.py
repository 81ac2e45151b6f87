"""Each token from those before it."""

from pathlib import Path
from typing import Any

from data.columns import Examples
from data.layouts import layout_of
from data.rows import Row, Split, StreamRows
from data.streams import Span, TokenStream


class NextTokenRows(StreamRows):
    """`inputs`, `targets`, `weights`, `positions`, `segment_ids`, [T]."""

    def make(self, spans: list[Span], key: tuple[int, ...]) -> Row:
        return self._stream.row(spans, self._length)


def split(experiment: Any, examples: Examples, tokenizer: Any, plans: Path | None) -> Split:
    """Documents as rows of `experiment.context` tokens."""
    stream = TokenStream(examples)
    layout = layout_of(experiment, stream, shifted=True, directory=plans)
    rows = NextTokenRows(stream, layout, experiment.context)
    return Split(rows, stream.text_bytes, stream.predicted)
