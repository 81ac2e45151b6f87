"""docs/papers.md as text: one table of all numbers, then a section for each experiment."""

import dataclasses
from collections.abc import Iterator, Sequence

from results.paper import Number, Paper
from results.record import Record

VERDICT = {True: 'yes', False: '**no**', None: ''}
HEAD = """# Papers, reproduced

Published claims beside what this code measures. Written by `python -m results.table` from
`results/*.json`, which `python -m results.run NAME` writes at the end of its trainings. Every
number is measured again in the runs that are kept there, and refused where it is not theirs, or
where the config that they were trained with has changed since. Ours is the mean of all seeds, and
in brackets the least and the most; where a claim is not reproduced, the table says so. Times are
those of all trainings of one seed.

An experiment is a file in `results/papers/` with a `PAPER` (`results/paper.py` says of what): its
arms, each a config and what it changes; `measure`, from the kept runs to numbers; `draw`. A result
is written by `python -m results.run NAME`, which goes on where it was interrupted; edited by hand,
it is refused. `python -m results.run NAME --measure` measures and draws kept runs anew.

| experiment | what | published | ours | reproduced | command | time | machine |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


@dataclasses.dataclass(frozen=True)
class Entry:
    """An experiment in one size, with its result where there is one."""

    paper: Paper
    size: str
    record: Record | None


def render(entries: Sequence[Entry]) -> str:
    """The page."""
    rows = ''.join(f'| {" | ".join(cells)} |\n' for e in entries for cells in _rows(e))
    papers = {e.paper.name: e.paper for e in entries}
    sections = [
        _section(paper, [e for e in entries if e.paper.name == name])
        for name, paper in papers.items()
    ]
    return HEAD + rows + ''.join(f'\n{section}' for section in sections)


def _rows(entry: Entry) -> Iterator[tuple[str, ...]]:
    """A row for each number, or one that says that there is none."""
    paper, record = entry.paper, entry.record
    called = f'{paper.title}, {entry.size}' if entry.size else paper.title
    first = f'[{_cell(called)}](../results/papers/{paper.name}.py)'
    sources = _sources(paper)
    if record is None:
        links = ', '.join(f'[{_cell(s.removeprefix("https://"))}]({s})' for s in sources)
        yield first, '', links, 'not run yet', '', f'`{_command(entry)}`', '', ''
        return
    last = f'`{_cell(record.command)}`', duration(record.seconds), _cell(record.origin('machine'))
    for number in record.numbers:
        source = sources[0] if number.source is None else number.source
        what = _cell(number.published)
        what = f'[{what}]({source})' if what and source else what
        yield first, _cell(number.what), what, ours(number), VERDICT[number.holds], *last
        first, last = '', ('', '', '')


def _section(paper: Paper, entries: Sequence[Entry]) -> str:
    sources = ', '.join(f'[source]({source})' for source in _sources(paper))
    lines = [f'## {paper.title}', '', f'{paper.claim} ({sources})']
    if paper.remark:
        lines += ['', paper.remark]
    for entry in entries:
        if entry.record is not None:
            lines += ['', *_result(entry)]
    return '\n'.join(lines) + '\n'


def _result(entry: Entry) -> Iterator[str]:
    """The picture, and where it comes from."""
    record = entry.record
    file = f'../results/{record.stem}'
    yield f'![{entry.paper.title}]({file}.png)'
    yield ''
    sizes = sorted({run.parameters for run in record.runs})
    parameters = f'{sizes[0]:,}' if len(sizes) == 1 else f'{sizes[0]:,} to {sizes[-1]:,}'
    seeds = f'{len(record.seeds)} {"seed" if len(record.seeds) == 1 else "seeds"}'
    yield f'[{record.stem}.json]({file}.json): {seeds}, {parameters} parameters, commit'
    yield f'`{record.origin("commit")}`, {record.origin("date")}; {record.origin("versions")}.'


def ours(number: Number) -> str:
    """'1.901 (1.894 to 1.910, 3 seeds)'."""
    if len(number.values) == 1:
        return figure(number.mean)
    low, high = figure(min(number.values)), figure(max(number.values))
    return f'{figure(number.mean)} ({low} to {high}, {len(number.values)} seeds)'


def figure(x: float) -> str:
    """Four digits that mean something, whole numbers whole."""
    if x == round(x) and abs(x) < 1e15:
        return f'{x:,.0f}'
    return f'{x:,.0f}' if abs(x) >= 10_000 else f'{x:.4g}'


def duration(seconds: float) -> str:
    """'95 s', '12 min', '3.1 h'."""
    if seconds < 120:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 7200 else f'{seconds / 3600:.1f} h'


def _sources(paper: Paper) -> list[str]:
    return paper.source.split(', ')


def _command(entry: Entry) -> str:
    words = ['python -m results.run', entry.paper.name]
    words += [f'--size={entry.size}'] if entry.size else []
    return ' '.join(words + (['--config.data.path=...'] if entry.paper.data else []))


def _cell(text: str) -> str:
    """Text that cannot end a cell of a table."""
    return ' '.join(text.split()).replace('|', '\\|')
