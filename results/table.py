"""Rebuilds docs/papers.md from the results: every number is measured again in the kept runs.

    python -m results.table
    python -m results.table --check     # exit code 1 where the page differs, or a number has no run

Experiments are in `results/papers/`, their results in results/NAME.json.
"""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

from results import page, papers, plan, record, settings
from results.provenance import MADE, UNKNOWN
from results.record import Record
from transformer import cli, workdir
from transformer.errors import UserError

RESULTS = Path(__file__).parent
PAGE = plan.ROOT / 'docs' / 'papers.md'


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument('--check', action='store_true', help='writes nothing')
    flags, overrides = cli.parse(parser)
    if overrides:
        parser.error(f'--config.{next(iter(overrides))}: nothing is trained here')
    return rebuild(RESULTS, PAGE, flags.check)


def rebuild(results: Path, file: Path, check: bool) -> int:
    """Writes the page, or only compares it; 1 where something is wrong, which is printed.

    Args:
      results: the folder of results.
      file: the page.

    Raises:
      UserError: a result that cannot be read, was edited, or is of no experiment.
    """
    entries = load_all(results)
    found = [problem for entry in entries if entry.record for problem in problems(entry, results)]
    text = page.render(entries)
    if not check:
        workdir.write_atomically(file, text)
    elif text != (old := file.read_text(encoding='utf-8') if file.is_file() else ''):
        found += difference(old, text)
        found.append(f'{file.name} is not what the results give: python -m results.table')
    print('\n'.join(found) if found else f'{file.name}: {len(entries)} experiments and sizes')
    return int(bool(found))


def load_all(results: Path) -> list[page.Entry]:
    """All experiments in all sizes, each with its result where there is one."""
    entries, files = [], set()
    for name in papers.PAPERS:
        paper = papers.load(name)
        for size in paper.sizes:
            file = results / f'{plan.stem(name, size)}.json'
            files.add(file)
            kept = record.read(file, paper) if file.is_file() else None
            entries.append(page.Entry(paper, size, kept))
    for file in sorted(set(results.glob('*.json')) - files):
        known = ', '.join(sorted(f.name for f in files))
        raise UserError(f'{file} is the result of no experiment; known: {known}')
    return entries


def problems(entry: page.Entry, results: Path) -> Iterator[str]:
    """What a result lacks: a run of an arm as it is now, where a run comes from, the picture."""
    found: Record = entry.record
    name = f'{found.stem}.json'
    had = {(run.arm, run.seed) for run in found.runs}
    for arm in plan.arms_of(entry.paper, entry.size):
        for seed in found.seeds:
            if (arm.name, seed) not in had:
                yield f'{name}: no run of {arm.name} with seed {seed}'
    for run, made in zip(found.runs, found.made):
        for field in MADE:
            if made[field] == UNKNOWN:
                yield f'{name}: the run of {run.arm}, seed {run.seed}, lacks its {field}'
    for change in settings.outdated(entry.paper, entry.size, found.command, found.runs):
        yield f'{name}: {change}; python -m results.run {found.name} trains it anew'
    if not (results / f'{found.stem}.png').is_file():
        yield f'{name}: no picture; python -m results.run {found.name} --measure draws it'


def difference(old: str, new: str) -> Sequence[str]:
    """Lines that differ."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), 'the page', 'anew', n=0)
    return [line.rstrip() for line in lines]


if __name__ == '__main__':
    cli.run(main)
