"""Progress: a bar with the time left on a terminal, plain lines elsewhere."""

import contextlib
import sys
from collections.abc import Callable, Iterator

import rich.console
import rich.progress


@contextlib.contextmanager
def progress(
    total: int, done: int
) -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
    """Gives two functions: `advance(step)`, and `say(line)` that prints above the bar."""
    if not sys.stdout.isatty():
        yield (lambda step: None), (lambda line: print(line, flush=True))
        return
    columns = [
        rich.progress.TextColumn('step {task.completed}/{task.total}'),
        rich.progress.BarColumn(),
        rich.progress.TaskProgressColumn(),
        rich.progress.TimeElapsedColumn(),
        rich.progress.TextColumn('left'),
        rich.progress.TimeRemainingColumn(),
    ]
    console = rich.console.Console()
    with rich.progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task('', total=total, completed=done)
        yield (
            lambda step: bar.update(task, completed=step),
            lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True),
        )


def values(record: dict) -> str:
    """'loss 1.234  tokens_per_second 12,345' and so on."""
    parts = []
    for name, value in record.items():
        if isinstance(value, float) and (abs(value) < 1e-2 or abs(value) >= 1e6) and value:
            text = f'{value:.3e}'
        elif isinstance(value, float):
            text = f'{value:,.4f}' if abs(value) < 1000 else f'{value:,.0f}'
        else:
            text = f'{value:,}' if isinstance(value, int) else str(value)
        parts.append(f'{name} {text}')
    return '  '.join(parts)
