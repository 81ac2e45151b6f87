"""The file of a result, `results/NAME.json`: runs, the numbers made of them, where they come from.

name, size        of the experiment
command           that made it, without paths of a machine
numbers           what, values (one a seed, or one in all), published, least, most, holds
config            fields that all runs were trained with alike, field -> value
runs              arm, seed, parameters, seconds, commit, machine, versions, date, after, records:
                  split -> name -> values, and config: the fields that are not alike
sha256            of name, size, command, config and runs, as `digest` writes them
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results import columns, settings
from results.paper import Number, Paper, Run
from results.plan import stem
from results.provenance import MADE
from transformer import workdir
from transformer.errors import UserError

FIELDS = ('name', 'size', 'command', 'numbers', 'config', 'runs', 'sha256')
RUN_FIELDS = ('arm', 'seed', 'parameters', 'seconds', *MADE, 'after', 'config', 'records')
NUMBER_FIELDS = ('what', 'values', 'published', 'least', 'most', 'holds')
MAY_BE_EMPTY = ('size', 'published', 'least', 'most', 'holds')


@dataclasses.dataclass(frozen=True)
class Record:
    """A result.

    Attributes:
      runs: thinned.
      made: of each run, where it comes from: `MADE`.
    """

    name: str
    size: str
    command: str
    runs: Sequence[Run]
    made: Sequence[Mapping[str, str]]
    numbers: Sequence[Number]

    @property
    def stem(self) -> str:
        return stem(self.name, self.size)

    @property
    def seeds(self) -> list[int]:
        return sorted({run.seed for run in self.runs})

    @property
    def seconds(self) -> float:
        """Of all trainings of one seed, on average."""
        return sum(run.seconds for run in self.runs) / len(self.seeds)

    def origin(self, name: str) -> str:
        """A field of `MADE`, of all runs together."""
        return '; '.join(dict.fromkeys(made[name] for made in self.made))


def make(
    paper: Paper,
    size: str,
    command: str,
    collected: Sequence[tuple[Run, Mapping[str, str]]],
) -> Record:
    """The result of trainings: they are thinned, then measured."""
    runs = [_thinned(run, paper) for run, _ in collected]
    made = [dict(origin) for _, origin in collected]
    return Record(paper.name, size, command, runs, made, list(paper.measure(runs)))


def _thinned(run: Run, paper: Paper) -> Run:
    records = columns.thinned(run.records, paper.keep, paper.points)
    after = columns.short(dict(run.after))
    return dataclasses.replace(run, records=records, after=after)


def write(record: Record, path: Path) -> None:
    """Writes the file, whole or not at all.

    Raises:
      UserError: a number is not finite.
    """
    for number in record.numbers:
        if not all(map(math.isfinite, number.values)):
            raise UserError(f'{record.name}: {number.what} is {list(number.values)}; not written')
    alike = settings.shared(record.runs)
    runs = [_run_to_json(run, made, alike) for run, made in zip(record.runs, record.made)]
    content = {
        'name': record.name,
        'size': record.size,
        'command': record.command,
        'numbers': [_number_to_json(number) for number in record.numbers],
    }
    content['sha256'] = digest(content | {'config': alike}, runs)
    head = json.dumps(content, indent=1)[:-2]
    lines = ',\n'.join(f'  {json.dumps(run)}' for run in runs)
    made_with = f' "config": {json.dumps(alike)}'
    workdir.write_atomically(path, f'{head},\n{made_with},\n "runs": [\n{lines}\n ]\n}}\n')


def _number_to_json(number: Number) -> dict[str, Any]:
    found = {name: getattr(number, name) for name in NUMBER_FIELDS}
    holds = None if number.holds is None else bool(number.holds)
    return found | {'values': [float(v) for v in number.values], 'holds': holds}


def _run_to_json(run: Run, made: Mapping[str, str], alike: Mapping[str, Any]) -> dict[str, Any]:
    fields = {f.name: getattr(run, f.name) for f in dataclasses.fields(Run)} | dict(made)
    own = {'after': dict(run.after), 'config': settings.own(run.config, alike)}
    return fields | own | {'records': columns.pack(run.records)}


def digest(content: Mapping[str, Any], runs: Any) -> str:
    """SHA-256 of what was asked for and of the runs, as JSON with sorted keys and no spaces."""
    asked = [content[name] for name in ('name', 'size', 'command', 'config')]
    text = json.dumps([*asked, runs], sort_keys=True, separators=(',', ':'))
    return hashlib.sha256(text.encode()).hexdigest()


def read(path: Path, paper: Paper) -> Record:
    """A result, checked against its hash and against what `paper` measures in its runs.

    Raises:
      UserError: no such file, a field is missing, it was edited, or its numbers are not those of
        its runs.
    """
    record, numbers = read_runs(path, paper)
    for i, (kept, made) in enumerate(zip(numbers, record.numbers)):
        for field in NUMBER_FIELDS:
            now = getattr(made, field)
            if not _same(kept[field], now):
                raise UserError(
                    f'{path}: numbers[{i}].{field} is {kept[field]!r}, but its runs give {now!r}; '
                    f'{_again(paper)}'
                )
    if len(numbers) != len(record.numbers):
        raise UserError(
            f'{path}: there are {len(numbers)} numbers, but its runs give {len(record.numbers)}; '
            f'{_again(paper)}'
        )
    return record


def read_runs(path: Path, paper: Paper) -> tuple[Record, list[dict[str, Any]]]:
    """A result whose runs agree with their hash, measured anew; and the numbers that it holds.

    Raises:
      UserError: as `read`, but for its numbers.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise UserError(f'{path}: {error.strerror}') from None
    except ValueError as error:
        raise UserError(f'{path} is no JSON: {error}') from None
    _need(path, content, FIELDS, '')
    for i, run in enumerate(content['runs']):
        _need(path, run, RUN_FIELDS, f'runs[{i}].')
    for i, number in enumerate(content['numbers']):
        _need(path, number, NUMBER_FIELDS, f'numbers[{i}].')
    if digest(content, content['runs']) != content['sha256']:
        raise UserError(
            f'{path}: sha256 is not that of its runs: one of them was edited by hand; '
            f'train anew: python -m results.run {paper.name}'
        )
    if (content['name'], stem(paper.name, content['size'])) != (paper.name, path.stem):
        raise UserError(
            f'{path} is the result of {stem(content["name"], content["size"])}; accepted: under '
            'its own name'
        )
    runs = [_run_of_json(run, content['config']) for run in content['runs']]
    made = [{name: run[name] for name in MADE} for run in content['runs']]
    try:
        numbers = list(paper.measure(runs))
    except (ArithmeticError, LookupError, StopIteration, TypeError, ValueError) as error:
        raise UserError(f'{path}: {paper.name} does not find what it measures: {error!r}') from None
    kept = Record(paper.name, content['size'], content['command'], runs, made, numbers)
    return kept, content['numbers']


def _need(path: Path, found: Any, fields: Sequence[str], prefix: str) -> None:
    for field in fields:
        value = found.get(field) if isinstance(found, dict) else None
        missing = not isinstance(found, dict) or field not in found
        if missing or (field not in MAY_BE_EMPTY and value in (None, '', [])):
            raise UserError(
                f'{path}: {prefix}{field} is missing or empty; accepted: what results.run writes'
            )


def _run_of_json(found: Mapping[str, Any], alike: Mapping[str, Any]) -> Run:
    fields = {f.name: found[f.name] for f in dataclasses.fields(Run)}
    fields['config'] = {**alike, **found['config']}
    return Run(**fields | {'records': columns.unpack(found['records'])})


def _same(kept: Any, now: Any) -> bool:
    if isinstance(kept, list):
        return len(kept) == len(now) and all(map(_same, kept, now))
    if isinstance(kept, float) and isinstance(now, int | float):
        return math.isclose(kept, now, rel_tol=1e-6, abs_tol=1e-12)
    return kept == now


def _again(paper: Paper) -> str:
    return f'write them anew: python -m results.run {paper.name} --measure'
