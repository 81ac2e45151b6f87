"""Reproduces a published result: trains every arm with every seed, measures, draws.

    python -m results.run --list
    python -m results.run shakespeare --config.data.path=tinyshakespeare.txt
    python -m results.run heads translation --config.data.path=multi30k --seeds=1

Each training is a process of `train.py` in RUNS/NAME/ARM-SEED, with its output in log.txt there.
Interrupted, the same command goes on. The result is results/NAME.json, with a picture beside it;
`python -m results.table` shows all results in docs/papers.md.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from results import papers, plan
from results.paper import Number, Paper
from transformer import cli

RESULTS = Path(__file__).parent


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument('names', nargs='*', metavar='NAME', help='of experiments, see --list')
    parser.add_argument('--list', action='store_true', help='prints names, sizes, what is done')
    parser.add_argument('--size', default='', help="'full' is for an accelerator")
    parser.add_argument('--seeds', type=int, default=0, help="how many (the experiment's own)")
    parser.add_argument('--runs', type=Path, default=Path('runs/papers'), help='of all trainings')
    parser.add_argument('--only', default='', metavar='ARM,ARM', help='trains these; no result')
    parser.add_argument(
        '--measure', action='store_true', help='measures and draws the kept runs; trains nothing'
    )
    cli.add_config(parser)
    flags, overrides = cli.parse(parser)
    if flags.config:
        parser.error(f'--config={flags.config}: an experiment has its own; see --list')
    if flags.seeds < 0:
        parser.error(f'--seeds={flags.seeds}: accepted: a whole number above 0')
    if flags.list or not flags.names:
        print(listed(RESULTS, flags.runs))
        return 0
    chosen = [papers.load(name) for name in flags.names]
    if flags.measure:
        if flags.seeds or flags.only or overrides:
            parser.error('--measure: accepted: alone or with --size; nothing is trained')
        for paper in chosen:
            measure(paper, flags.size, RESULTS)
        return 0
    runs, only = flags.runs.absolute(), [name for name in flags.only.split(',') if name]
    for paper in chosen:  # before the first trains for hours
        plan.trainings(paper, flags.size, flags.seeds or paper.seeds, runs, overrides, only)
    for paper in chosen:
        reproduce(paper, flags.size, flags.seeds, runs, overrides, only, RESULTS, command())
    return 0


def reproduce(
    paper: Paper,
    size: str,
    seeds: int,
    runs: Path,
    overrides: Mapping[str, str],
    only: Sequence[str],
    results: Path,
    typed: str,
) -> None:
    """Trains what is not trained yet, and writes the result if nothing is left out.

    Args:
      seeds: how many; 0 means as the experiment says.
      runs: the folder of all trainings.
      only: arms that are trained; none: all.
      results: the folder of all results.
      typed: the command, for the record.

    Raises:
      UserError: as `plan.trainings` and `training.ensure`.
    """
    from results import picture, record, training

    planned = plan.trainings(paper, size, seeds or paper.seeds, runs, overrides, only)
    print(f'{plan.stem(paper.name, size)}: {paper.title}, {len(planned)} trainings')
    collected = []
    for each in planned:
        print(f'  {each.name:<32} {_shown(each.workdir / training.LOG)}', flush=True)
        training.ensure(each)
        run, made = training.collect(each)
        collected.append((run, made))
        print(f'  {"":<32} {_last(run)}, {run.seconds:.0f} s', flush=True)
    if only:
        print(f'only {", ".join(only)}: no result is written')
        return
    found = record.make(paper, size, typed, collected)
    file = results / f'{found.stem}.json'
    record.write(found, file)
    picture.write(paper, found.runs, file.with_suffix('.png'))
    print(numbers(found.numbers))
    print(f'{_shown(file)}, {_shown(file.with_suffix(".png"))}; python -m results.table shows all')


def measure(paper: Paper, size: str, results: Path) -> None:
    """Writes the numbers and the picture of a result anew, from the runs that it holds.

    Raises:
      UserError: there is no result, or its runs were edited.
    """
    from results import picture, record

    file = results / f'{plan.stem(paper.name, size)}.json'
    found, _ = record.read_runs(file, paper)
    record.write(found, file)
    picture.write(paper, found.runs, file.with_suffix('.png'))
    print(numbers(found.numbers))


def numbers(found: Sequence[Number]) -> str:
    """Lines for the terminal."""
    verdict = {True: 'reproduced', False: 'NOT reproduced', None: ''}
    lines = []
    for n in found:
        values = ' '.join(f'{v:.5g}' for v in n.values)
        published = f'published: {n.published}' if n.published else ''
        parts = [f'{n.what}: {n.mean:.5g}', f'({values})' if len(n.values) > 1 else '']
        lines.append('  '.join(filter(None, (*parts, published, verdict[n.holds]))))
    return '\n'.join(lines)


def listed(results: Path, runs: Path) -> str:
    """All experiments and sizes, and what of them is done."""
    lines = []
    for name in papers.PAPERS:
        paper = papers.load(name)
        for size, arms in paper.sizes.items():
            stem = plan.stem(name, size)
            called = f'{name} --size={size}' if size else name
            file, total = results / f'{stem}.json', len(arms) * paper.seeds
            trained = sum('"done": true' in f.read_text() for f in (runs / stem).glob('*.json'))
            state = _shown(file) if file.is_file() else f'{trained} of {total} trained'
            lines.append(f'{called:<28} {state:<32} {paper.title}')
    return '\n'.join(lines)


def command() -> str:
    """What was typed, without paths of this machine."""
    return ' '.join(['python -m results.run', *map(plan.portable, sys.argv[1:])])


def _last(run) -> str:
    """The last loss of a run, for the terminal."""
    try:
        return f'validation loss {run.last("loss"):.4f}'
    except ValueError:
        return 'done'


def _shown(path: Path) -> str:
    """Relative to the working directory, where it is below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


if __name__ == '__main__':
    cli.run(main)
