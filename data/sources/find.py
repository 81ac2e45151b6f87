"""Which files `config.data.path` means, and which split each belongs to."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from data.sources.origin import SourceFile, filesystem, local_file, refusing, remote_file
from data.sources.unpack import bare
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError

FORMATS = {
    '.jsonl': 'jsonl',
    '.ndjson': 'jsonl',
    '.json': 'jsonl',
    '.parquet': 'parquet',
    '.arrow': 'arrow',
    '.feather': 'arrow',
    '.ipc': 'arrow',
    '.tsv': 'tsv',
}
SPLITS = ('train', 'validation', 'test')
Found = list[tuple[SourceFile, str]]  # and the part of its name that tells the split
ACCEPTED = 'a file, a folder or a glob, or several apart by commas'


def files(config: SourceConfig) -> Found:
    """The files in order of their names, for each part of the path; none twice.

    Of a folder all files below it but hidden ones and READMEs.

    Raises:
      ConfigError: a part that matches nothing.
    """
    whole = '://' not in config.path and Path(config.path).expanduser().exists()
    parts = [config.path] if whole else config.path.split(',')
    found = {}
    for part in (part.strip() for part in parts):
        some = _remote(config, part) if '://' in part else _local(config, part)
        for file, inner in some:
            found.setdefault(file.name, (file, inner))
    return list(found.values())


def _local(config: SourceConfig, part: str) -> Found:
    path = Path(part).expanduser()
    if not part:
        raise ConfigError('data.path', config.path, ACCEPTED)
    if path.is_dir():
        paths = sorted(p for p in path.rglob('*') if p.is_file() and counts(p.relative_to(path)))
        if not paths:
            raise ConfigError('data.path', config.path, f'{path} has no files')
        return [(local_file(p), p.relative_to(path).as_posix()) for p in paths]
    if path.exists():
        return [(local_file(path), path.name)]
    if not re.search(r'[*?\[]', part):
        raise ConfigError('data.path', config.path, f'{ACCEPTED}: there is no {path}')
    fixed = []  # what precedes the first wildcard
    for name in path.parts:
        if re.search(r'[*?\[]', name):
            break
        fixed.append(name)
    base = Path(*fixed)
    paths = sorted(p for p in base.glob(str(PurePosixPath(*path.parts[len(fixed) :]))))
    paths = [p for p in paths if p.is_file() and counts(p.relative_to(base))]
    if not paths:
        raise ConfigError('data.path', config.path, f'{ACCEPTED}: nothing matches {part}')
    return [(local_file(p), p.relative_to(base).as_posix()) for p in paths]


def _remote(config: SourceConfig, part: str) -> Found:
    if part.startswith('file://'):
        return _local(config, part.removeprefix('file://'))
    system, path = filesystem(part)
    scheme = part.partition('://')[0]
    with refusing(part):
        if system.isdir(path):
            base, paths = path, system.find(path, detail=True)
        elif re.search(r'[*?\[]', path):
            base = re.split(r'[*?\[]', path)[0].rpartition('/')[0]
            paths = system.glob(path, detail=True)
        else:
            base = path.rpartition('/')[0]
            paths = {path: system.info(path)} if system.exists(path) else {}
    found = []
    for name, info in sorted(paths.items()):
        inner = name[len(base) :].lstrip('/') or PurePosixPath(name).name
        if info.get('type') == 'file' and counts(PurePosixPath(inner)):
            found.append((remote_file(f'{scheme}://{name.lstrip("/")}', info), inner))
    if not found:
        raise ConfigError('data.path', config.path, f'{ACCEPTED}: nothing is at {part}')
    return found


def counts(inner: PurePosixPath) -> bool:
    """Whether a file below a folder is data."""
    hidden = any(name.startswith('.') for name in inner.parts)
    return not hidden and not inner.name.lower().startswith('readme')


def format_of(config: SourceConfig, found: Found) -> tuple[str, Found]:
    """The format of the files, and those of this format where it is told by their names.

    Raises:
      ConfigError: files of different formats and nothing says which are meant; a format that is not
        one of files.
    """
    by_format: dict[str, Found] = {}
    for file, inner in found:
        suffix = PurePosixPath(bare(inner)).suffix.lower()
        by_format.setdefault(FORMATS.get(suffix, 'text'), []).append((file, inner))
    if config.format == 'auto':
        for file, inner in found:
            if PurePosixPath(bare(inner)).suffix.lower() == '.csv':
                accepted = "'text', to read it as it is; as a table: Parquet, JSON lines or .tsv"
                raise ConfigError('data.format', 'auto', f'for {file.name} {accepted}')
        if len(by_format) > 1:
            some = ', '.join(f'{kind} ({each[0][1]})' for kind, each in by_format.items())
            accepted = f'one of the formats found in {config.path}: {some}'
            raise ConfigError('data.format', 'auto', accepted)
        return next(iter(by_format.items()))
    if config.format == 'text':
        return 'text', found
    return config.format, by_format.get(config.format) or found


def by_split(config: SourceConfig, found: Found) -> dict[str, list[SourceFile]] | None:
    """The files of each split, where names tell; None where none of them does.

    A file belongs to a split if its name, or that of a folder on the way to it, is the split's or
    begins with it and no letter follows: `train-00000-of-00002.parquet`, `validation.jsonl`,
    `train/a.txt`. Files that belong to none are left out. There may be no validation split if there
    are only files to train and to test on.

    Raises:
      ConfigError: a split that no file belongs to; one that is not named as by default, where no
        names tell.
    """
    names = {split: getattr(config, f'{split}_split') for split in SPLITS}
    split_of = {file: _split(inner, names) for file, inner in found}
    parts = {s: [f for f in split_of if split_of[f] == s] for s in SPLITS}
    known = sorted({re.split(r'[-./]', inner)[0] for _, inner in found})
    known = f'beginnings of names in {config.path}: {", ".join(known[:20])}'
    if not parts['train']:
        if parts['validation'] or parts['test']:
            raise ConfigError('data.train_split', names['train'], known)
        for split, usual in _unusual(names):
            raise ConfigError(f'data.{split}_split', names[split], f'{usual!r}, or {known}')
        return None
    misspelt = 'validation' in dict(_unusual(names))
    if not parts['validation'] and (misspelt or None in split_of.values()):
        raise ConfigError('data.validation_split', names['validation'], known)
    if names['test'] and not parts['test']:
        raise ConfigError('data.test_split', names['test'], f"'', or {known}")
    return {split: some for split, some in parts.items() if some}


def _unusual(names: dict[str, str]) -> list[tuple[str, str]]:
    """Splits whose names somebody has chosen, and what they are called by default."""
    usual = {split: getattr(SourceConfig, f'{split}_split') for split in names}
    return [(split, usual[split]) for split in names if names[split] != usual[split]]


def _split(inner: str, names: dict[str, str]) -> str | None:
    for part in PurePosixPath(inner).parts:
        for split, name in names.items():
            if name and re.match(re.escape(name) + r'(?![^\W\d_])', part):
                return split
    return None


def named(config: SourceConfig, some: Sequence[SourceFile]) -> str:
    """What a corpus is called."""
    return config.path if len(some) == 1 else f'{config.path} ({len(some)} files)'
