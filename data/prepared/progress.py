"""Progress of preparing: a bar on a terminal, elsewhere a line now and then."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from data.prepared.layout import SPLITS

EVERY = 10.0  # seconds between lines


class Progress:
    """Is told of a split what `data.prepared.split.prepare_split` tells.

    Args:
      source: its name in a mixture, or ''.
      corpus: its records.
      show: given the split, its records so far, how many there are (None: nobody knows), a line.
    """

    def __init__(self, source: str, corpus: Any, show: Callable[..., None]):
        self._name, self._show = f'{source} ' if source else '', show
        self._totals = {split: _total(getattr(corpus, split)) for split in SPLITS}
        self._first, self._last, self._began = {}, {}, {}

    @property
    def made(self) -> int:
        """Tokens; what earlier attempts made does not count."""
        return sum(self._last[split] - first for split, first in self._first.items())

    def __call__(self, split: str, counts: Mapping[str, int]) -> None:
        tokens, records = counts['tokens'], counts['records']
        if split not in self._first:
            self._first[split], self._began[split] = tokens, time.monotonic()
        self._last[split] = tokens
        seconds = max(time.monotonic() - self._began[split], 1e-3)
        total = self._totals[split]
        of = f' of {total:,}' if total else ''
        line = (
            f'{self._name}{split}: {records:,}{of} records, {tokens:,} tokens, '
            f'{(tokens - self._first[split]) / seconds:,.0f} tokens/s'
        )
        self._show(split, records, total, line)


@contextlib.contextmanager
def shown(source: str, corpus: Any, report: Callable[[str], None]) -> Iterator[Progress]:
    """A `Progress` that people can see."""
    if not sys.stderr.isatty():
        last = time.monotonic()

        def say(split: str, done: int, total: int | None, line: str) -> None:
            nonlocal last
            if time.monotonic() - last >= EVERY:
                report(line)
                last = time.monotonic()

        yield Progress(source, corpus, say)
        return
    with _bar() as bar:
        tasks: dict[str, Any] = {}

        def draw(split: str, done: int, total: int | None, line: str) -> None:
            if split not in tasks:
                tasks[split] = bar.add_task('', total=total)
            bar.update(tasks[split], completed=done, description=line)

        yield Progress(source, corpus, draw)


def _total(records: Any) -> int | None:
    """How many records there are; a single one says nothing of how much is left."""
    return len(records) if records is not None and len(records) > 1 else None


def _bar() -> Any:
    import rich.console
    import rich.progress

    return rich.progress.Progress(
        rich.progress.TextColumn('{task.description}', markup=False),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeRemainingColumn(),
        console=rich.console.Console(stderr=True),
        transient=True,
    )
