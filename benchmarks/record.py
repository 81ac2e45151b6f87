"""What a benchmark found: objects of a JSON list, a table, and rows for the README.

    python -m benchmarks.train --json=train.json
    python -m benchmarks.record train.json decode.json     # rows of Markdown

Each object has `name`, `ours`, `peer`, `ratio` (ours / peer), `unit`, `machine`, then `date`,
`versions` and `command`, and whatever the benchmark adds. Where there is no peer, `peer` and
`ratio` are null.
"""

import datetime
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformer import cli
from transformer.errors import UserError

FIELDS = ('name', 'ours', 'peer', 'ratio', 'unit', 'machine')
LIBRARIES = ('jax', 'jaxlib', 'flax', 'optax', 'torch', 'transformers')


def add_flag(parser: Any) -> None:
    """Adds `--json`."""
    parser.add_argument('--json', type=Path, metavar='FILE', help='writes a list of objects there')


def processor() -> str:
    """Name of the processor, and how many cores this process may use."""
    name = platform.machine()
    info = Path('/proc/cpuinfo')
    if info.is_file():
        lines = info.read_text(encoding='utf-8').splitlines()
        name = next((x.split(':')[1].strip() for x in lines if x.startswith('model name')), name)
    cores = os.cpu_count()
    if hasattr(os, 'sched_getaffinity'):
        cores = len(os.sched_getaffinity(0))
    return f'{name}, {cores} {"core" if cores == 1 else "cores"}'


def versions() -> str:
    """Python and the libraries that are installed, of those that can change a number."""
    found = [f'Python {platform.python_version()}']
    for name in LIBRARIES:
        try:
            found.append(f'{name} {importlib.metadata.version(name)}')
        except importlib.metadata.PackageNotFoundError:
            continue
    return ', '.join(found)


def command() -> str:
    """What was typed."""
    words = sys.orig_argv[1:]
    return ' '.join(['python', *(w for w in words if w != '-u' and not w.startswith('--json'))])


def make(
    name: str,
    ours: float,
    peer: float | None,
    unit: str,
    machine: str = '',
    **more: Any,
) -> dict[str, Any]:
    """One object.

    Args:
      machine: what it ran on; '' means the processor.
      more: other keys, such as `spread`.
    """
    found = {'name': name, 'ours': ours, 'peer': peer}
    found |= {'ratio': ours / peer if peer else None, 'unit': unit}
    found |= {'machine': machine or processor(), 'date': datetime.date.today().isoformat()}
    return found | {'versions': versions(), 'command': command()} | more


def finish(records: Sequence[Mapping[str, Any]], file: Path | None) -> None:
    """Prints the table, and writes the JSON where a file is given."""
    show(records)
    if file:
        file.write_text(json.dumps(list(records), indent=1) + '\n', encoding='utf-8')


def show(records: Sequence[Mapping[str, Any]]) -> None:
    """A table: drawn on a terminal, plain columns elsewhere."""
    head = ('', 'ours', 'peer', 'unit', 'ratio', 'spread')
    right = (1, 2, 4)
    rows = [
        (r['name'], number(r['ours']), number(r['peer']), r['unit'], number(r['ratio']), _spread(r))
        for r in records
    ]
    if sys.stdout.isatty():
        import rich.console
        import rich.table

        table = rich.table.Table()
        for i, title in enumerate(head):
            table.add_column(title, justify='right' if i in right else 'left')
        for row in rows:
            table.add_row(*row)
        rich.console.Console().print(table)
        return
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = [f'{x:{">" if i in right else "<"}{widths[i]}}' for i, x in enumerate(row)]
        print('  '.join(cells).rstrip(), flush=True)


def _spread(record: Mapping[str, Any]) -> str:
    """The lowest and the highest ratio of a round, or the least and the most of ours."""
    spread = record.get('spread', {})
    for side in ('ratio', 'ours'):
        if spread.get(side):
            low, high = spread[side]
            return f'{number(low)} to {number(high)}'
    return ''


def number(x: float | None) -> str:
    """Three digits that mean something; '-' for what there is not."""
    if x is None:
        return '-'
    if abs(x) >= 1000:
        return f'{x:,.0f}'
    return f'{x:.3g}' if abs(x) < 100 else f'{x:.0f}'


def read(file: Path) -> list[dict[str, Any]]:
    """The objects of a file.

    Raises:
      UserError: no such file, or it holds something else.
    """
    try:
        found = json.loads(file.read_text(encoding='utf-8'))
    except OSError as error:
        raise UserError(f'{file}: {error.strerror}') from None
    except ValueError:
        found = None
    whole = isinstance(found, list) and all(isinstance(r, dict) for r in found)
    lacks = [f for f in FIELDS for r in found if f not in r] if whole else FIELDS
    if lacks:
        raise UserError(
            f'{file} is not of a benchmark; accepted: what --json writes, a JSON list of objects '
            f'with {", ".join(FIELDS)}'
        )
    return found


def markdown(records: Sequence[Mapping[str, Any]]) -> str:
    """Rows for the README, one table for each machine, day and set of versions."""
    groups: dict[tuple, list] = {}
    for r in records:
        where = (r['machine'], r.get('date', ''), r.get('versions', ''))
        groups.setdefault(where, []).append(r)
    parts = []
    for (machine, date, libraries), members in groups.items():
        parts.append(f'On {machine}; {date}; {libraries}.\n')
        parts.append('| what | ours | peer | ratio | command |\n| --- | --- | --- | --- | --- |')
        for r in members:
            ratio = number(r['ratio'])
            if r['ratio'] is not None and (spread := _spread(r)):
                ratio += f' ({spread})'
            unit = f' {r["unit"]}' if r['unit'] else ''
            peer = '-' if r['peer'] is None else f'{number(r["peer"])}{unit}'
            cells = (r['name'], f'{number(r["ours"])}{unit}', peer, ratio)
            parts.append(f'| {" | ".join(cells)} | `{r.get("command", "")}` |')
        parts.append('')
    return '\n'.join(parts)


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument('files', nargs='+', type=Path, metavar='FILE', help='what --json wrote')
    flags, overrides = cli.parse(parser)
    if overrides:
        parser.error(f'--config.{next(iter(overrides))}: nothing is measured here')
    print(markdown([r for file in flags.files for r in read(file)]))
    return 0


if __name__ == '__main__':
    cli.run(main)
