"""One training of an experiment, by `train.py`: done, or gone on with; and what is left of it."""

import datetime
import json
import time
from pathlib import Path
from typing import Any

from results import provenance, settings
from results.attend import attend, last_lines
from results.paper import Run
from results.plan import Training, slug
from results.provenance import MADE
from transformer import cli, initial, metrics, workdir
from transformer.errors import UserError

LOG = 'log.txt'


def ensure(training: Training) -> None:
    """Trains to the end, from where it stopped, and runs what comes after; all of it once.

    Raises:
      UserError: a command fails, or the workdir holds a training of another config.
    """
    if workdir.has_checkpoint(training.workdir):
        _check_config(training)
    state = read(training)
    if not state['done']:
        _train(training, state)
    for name, command in training.arm.after.items():
        kept = state['after'].get(name, {})
        if kept.get('command') != command:
            state['after'][name] = {'command': command, 'printed': _after(training, name, command)}
            _keep(training, state)


def is_done(training: Training) -> bool:
    """Whether `ensure` would have nothing to train."""
    return read(training)['done']


def collect(training: Training) -> tuple[Run, dict[str, str]]:
    """A training that is done, and where it comes from: `MADE`."""
    state = read(training)
    run = Run(
        arm=training.arm.name,
        seed=training.seed,
        records=metrics.read(training.workdir / workdir.METRICS),
        after={name: state['after'][name]['printed'] for name in training.arm.after},
        parameters=workdir.read_summary(training.workdir)['parameters'],
        seconds=state['seconds'],
        config=settings.kept(workdir.read_config(training.workdir)),
    )
    return run, {name: '; '.join(state[name]) for name in MADE}


def read(training: Training) -> dict[str, Any]:
    """What is known of a training: whether it is `done`, its `seconds` so far, `MADE`, `after`."""
    fresh = {'done': False, 'seconds': 0.0, 'after': {}} | {name: [] for name in MADE}
    if not workdir.has_checkpoint(training.workdir) or not training.state.is_file():
        return fresh
    try:
        return fresh | json.loads(training.state.read_text(encoding='utf-8'))
    except ValueError as error:
        raise UserError(f'{training.state} cannot be read: {error}; delete it') from None


def _train(training: Training, state: dict[str, Any]) -> None:
    training.workdir.mkdir(parents=True, exist_ok=True)
    _note(state, 'commit', provenance.commit())
    _note(state, 'date', datetime.date.today().isoformat())
    before, began = state['seconds'], time.monotonic()

    def tick() -> None:
        state['seconds'] = round(before + time.monotonic() - began, 1)
        _keep(training, state)

    log = training.workdir / LOG
    try:
        code = attend(training.words, log, tick)
    finally:  # interrupted, it may go on elsewhere
        if (training.workdir / workdir.SUMMARY).is_file():
            summary = workdir.read_summary(training.workdir)
            _note(state, 'machine', provenance.machine(summary))
            _note(state, 'versions', summary['versions'])
            _keep(training, state)
    if code:
        raise UserError(f'{training.name} ended with code {code}; {log} ends:\n{last_lines(log)}')
    state['done'] = True
    _keep(training, state)


def _after(training: Training, name: str, command: str) -> dict[str, Any]:
    """What a command printed: one JSON object, in the last line of its output."""
    log = training.workdir / f'{slug(name)}.txt'
    log.unlink(missing_ok=True)
    code = attend(training.after(command), log, lambda: None)
    if code:
        raise UserError(
            f'{name} of {training.name} ended with code {code}; {log} ends:\n{last_lines(log)}'
        )
    return _object(log, f'{name} of {training.name}: python {command}')


def _object(log: Path, what: str) -> dict[str, Any]:
    for line in reversed(log.read_text(encoding='utf-8').splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    raise UserError(f'{what} printed no JSON object in a line of its own; see {log}')


def _check_config(training: Training) -> None:
    """Refuses a workdir whose training was begun with other settings, as far as both have them."""
    config = cli.load_config(training.arm.config)
    changes = dict(training.changes)
    if changes.get('init'):
        initial.adopt(config, changes['init'], training.workdir)
    cli.override(config, changes)
    asked, kept = workdir.flat(config), workdir.flat(workdir.read_config(training.workdir))
    for field in sorted(asked.keys() & kept.keys()):
        free = workdir.FREE.fullmatch(field) and not _other_data(field, asked[field], kept[field])
        if asked[field] != kept[field] and not free:
            raise UserError(
                f'{training.workdir} was trained with config.{field}={kept[field]!r}, not '
                f'{asked[field]!r}; delete it, or give another --runs'
            )


def _other_data(field: str, asked: Any, kept: Any) -> bool:
    """Whether files of another name are meant; where they lie does not matter."""
    return field.endswith('path') and Path(asked).name != Path(kept).name


def _note(state: dict[str, Any], name: str, value: str) -> None:
    if value not in state[name]:
        state[name].append(value)


def _keep(training: Training, state: dict[str, Any]) -> None:
    workdir.write_atomically(training.state, json.dumps(state, indent=1) + '\n')
