"""The work directory: one run at a time, its config, its tokenizer, its numbers."""

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import ml_collections

from transformer import hardware, launch
from transformer.errors import UserError

CONFIG, TASK, SUMMARY, TOKENIZER, METRICS, CHECKPOINTS = (
    'config.json',
    'task.json',
    'summary.json',
    'tokenizer.json',
    'metrics.jsonl',
    'checkpoints',
)
# A run may be continued with any other field changed; these make it what it is.
IDENTITY = ('model', 'objective', 'data', 'context', 'target_context', 'batch_size', 'seed')
# ... except for where the data lies and how it is fetched.
FREE = re.compile(
    r'data\.(mixture\.\w+\.)?(path|directory)|data\.(prepared|workers|prefetch)|model\.attention'
)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Path]:
    """Makes the directory if need be, and keeps it for this run until the end.

    Raises:
      UserError: it cannot be written to, another run is using it, or not all processes of this one
        see the same directory.
    """
    with _locked(path) if launch.here().leads else contextlib.nullcontext():
        launch.check_shared(path)
        yield path


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / 'lock').open('a+')
    except OSError as error:
        raise UserError(
            f'--workdir={path} cannot be written to: {error.strerror or error}; '
            'accepted: a directory that this user may write to'
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().strip() or 'unknown'
            raise UserError(
                f'--workdir={path} is in use by another run (process {owner}); wait for it to end, '
                'or give another directory'
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file as a whole: a reader, or a crash, sees the old or the new one."""
    temporary = path.with_name(f'.{path.name}.new')
    with temporary.open('w', encoding='utf-8') as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_config(path: Path) -> ml_collections.ConfigDict:
    """The config that a run was last started with.

    Raises:
      UserError: there is no run in the directory, or its config is damaged.
    """
    # JSON has no tuples.
    return ml_collections.ConfigDict(_tuples(_read(path, CONFIG)))


def read_task(path: Path) -> dict:
    """What the data asked of the run's model: `vocab`, `classes` (names) and `target_context`.

    Raises:
      UserError: there is no run in the directory, or its file is damaged.
    """
    return _read(path, TASK)


def save_task(path: Path, vocab: int, classes: tuple[str, ...], target_context: int) -> None:
    """Saves what `read_task` gives."""
    task = {'vocab': vocab, 'classes': list(classes), 'target_context': target_context}
    write_atomically(path / TASK, json.dumps(task, indent=2) + '\n')


def read_summary(path: Path) -> dict:
    """What `summary.facts` said of a run when it was last started.

    Raises:
      UserError: there is no run in the directory, or its file is damaged.
    """
    return _read(path, SUMMARY)


def save_summary(path: Path, facts: dict) -> None:
    """Saves what `read_summary` gives."""
    write_atomically(path / SUMMARY, json.dumps(facts, indent=2) + '\n')


def _read(path: Path, name: str) -> dict:
    file = path / name
    try:
        return json.loads(file.read_text(encoding='utf-8'))
    except FileNotFoundError:
        raise UserError(f'--workdir={path} holds no run: there is no {file}') from None
    except (OSError, ValueError) as error:
        raise UserError(f'{file} cannot be read: {error}') from None


def save_config(path: Path, config: ml_collections.ConfigDict) -> list[str]:
    """Saves the config of a run that begins or goes on.

    Until the first checkpoint everything may change; then, what makes the run what it is may not.
    A field that the run's version did not have counts as its default.

    Returns:
      What has changed since the last start, a phrase each.

    Raises:
      UserError: the directory holds a run of another model, on other data or with another seed.
    """
    changes = []
    if has_checkpoint(path):
        old, new = _defaults(config) | flat(read_config(path)), flat(config)
        for field in sorted(old.keys() | new.keys()):
            before, after = old.get(field), new.get(field)
            if before == after:
                continue
            if field.split('.')[0] in IDENTITY and not FREE.fullmatch(field):
                raise UserError(
                    f'config.{field}={after!r}, but the run in --workdir={path} was made with '
                    f'{before!r}; accepted: {before!r}, or a new --workdir'
                )
            changes.append(f'config.{field}: {before!r} -> {after!r}')
    write_atomically(path / CONFIG, json.dumps(config.to_dict(), indent=2) + '\n')
    return changes


def _defaults(config: ml_collections.ConfigDict) -> dict[str, object]:
    """What the fields of `config` are worth where nobody sets them."""
    from transformer.data_config import source
    from transformer.experiment import KINDS, default_config
    from transformer.models import FAMILIES

    found = flat(default_config())
    groups = {'model': FAMILIES[config.model.family], 'objective': KINDS[config.objective.kind]}
    for group, kind in groups.items():
        found |= {f'{group}.{field.name}': field.default for field in dataclasses.fields(kind)}
    for name in config.data.mixture:
        found |= {f'data.mixture.{name}.{field}': value for field, value in source().items()}
    return {field: found[field] for field in flat(config) if field in found}


def common(config: ml_collections.ConfigDict) -> dict[str, object]:
    """What all processes of a run have alike: fields, and the versions of libraries.

    Each may have the data, and its caches, in a place of its own.
    """
    own = re.compile(r'data\.(mixture\.\w+\.)?(path|directory|prepared)|compilation_cache')
    fields = {f'config.{name}': x for name, x in flat(config).items() if not own.fullmatch(name)}
    named = (part.rsplit(' ', 1) for part in hardware.versions().split(', '))
    return fields | {f'the version of {name}': version for name, version in named}


def has_checkpoint(path: Path) -> bool:
    """Whether a run has saved anything here, whole or damaged."""
    found = [*path.glob(f'{CHECKPOINTS}/[0-9]*'), *path.glob('damaged/[0-9]*')]
    return any(p.name.split('-')[0].isdigit() for p in found)


def check_same(what: str, here: str, saved: str) -> None:
    """Raises a `UserError` where a digest is not the one that the checkpoint was made with."""
    if here != saved:
        raise UserError(
            f'the {what} is not the one that the checkpoints were made with (digest {here[:12]}, '
            f'they say {saved[:12]}); put it back, or begin in a new --workdir'
        )


def flat(config: ml_collections.ConfigDict, prefix: str = '') -> dict[str, object]:
    """All fields by their whole names."""
    found = {}
    for key, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            found |= flat(value, f'{prefix}{key}.')
        else:
            found[prefix + key] = tuple(value) if isinstance(value, list) else value
    return found


def _tuples(tree):
    if isinstance(tree, dict):
        return {key: _tuples(value) for key, value in tree.items()}
    return tuple(_tuples(x) for x in tree) if isinstance(tree, list) else tree


def warn(message: str) -> None:
    """A line on the error stream that does not end the run."""
    print(f'warning: {message}', file=sys.stderr, flush=True)
