"""Pairs of texts: line by line from two files a split, or two fields of the records of a table.

The files are `train.de` and `train.en`, or with `.gz` or `.zst`. The fields are `de` and `en`, also
within one that is called `translation`. `data.sources.classes` gives texts and their classes.
"""

import dataclasses
import functools
from pathlib import Path, PurePosixPath
from typing import Any

from data.sources import classes
from data.sources.corpus import Corpus
from data.sources.files import existing, read_lines
from data.sources.find import FORMATS
from data.sources.opened import Opened, open_tables
from data.sources.options import refuse_unread
from data.sources.origin import local_file
from data.sources.records import string
from data.sources.tables import Bad
from data.sources.unpack import bare
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError

NESTED = 'translation'
ENDS = ('', '.gz', '.zst')


def load(config: SourceConfig, objective: Any) -> Corpus:
    """A corpus of (source, target) strings; `objective` names the suffixes or fields of the sides.

    Raises:
      ConfigError: no such path, split, side or field.
      UserError: sides with different numbers of lines; what cannot be read.
    """
    if config.format == classes.FORMAT:
        return _of_classes(config, objective)
    if config.format in ('auto', 'text') and _by_line(config):
        return _files(config, objective)
    found = open_tables(config, 'pairs')
    if isinstance(found, Opened):
        return _tables(found, config, objective)
    wanted = f'a directory with files such as {config.train_split}.{objective.source}, or tables'
    raise ConfigError('data.path', config.path, wanted)


def _of_classes(config: SourceConfig, objective: Any) -> Corpus:
    found = classes.pairs(config)
    sides = {
        split: [_clean(pair, config, objective) for pair in getattr(found, split)]
        for split in ('train', 'validation')
    }
    return dataclasses.replace(found, **sides)


def _by_line(config: SourceConfig) -> bool:
    """Whether a folder holds files such as `train.de`."""
    path = Path(config.path).expanduser()
    if not config.path or not path.is_dir():
        return False
    names = (bare(p.name) for p in path.iterdir() if p.is_file())
    parts = (name.rpartition('.') for name in names)
    return any(s == config.train_split and f'.{end}' not in FORMATS for s, _, end in parts)


def _tables(found: Opened, config: SourceConfig, objective: Any) -> Corpus:
    sides = (objective.source, objective.target)
    fields = sides
    if found.fields is not None:
        if NESTED in found.fields and not set(sides) <= set(found.fields):
            fields = (NESTED,)
        else:
            found.need('objective.source', sides[0])
            found.need('objective.target', sides[1])
    else:
        fields = (*sides, NESTED)
    return found.corpus(fields, functools.partial(_pair, config=config, objective=objective))


def _pair(record: dict[str, Any], config: SourceConfig, objective: Any) -> tuple[str, str]:
    nested = record.get(NESTED)
    if isinstance(nested, dict) and objective.source not in record:
        record = nested
    elif nested is not None and objective.source not in record:
        raise Bad('field missing', f'{NESTED!r} holds no texts by name, but {nested!r:.40}')
    sides = (objective.source, objective.target)
    pair = tuple(string(record, side, config.encoding_errors) for side in sides)
    return _clean(pair, config, objective)


def _clean(pair: tuple[str, str], config: SourceConfig, objective: Any) -> tuple[str, str]:
    source, target = pair[0].strip(), pair[1].strip()
    source = config.prefix + source
    return (source.lower(), target.lower()) if objective.lowercase else (source, target)


def _files(config: SourceConfig, objective: Any) -> Corpus:
    wanted = f'a directory with files such as {config.train_split}.{objective.source}'
    directory, origin = existing(config, wanted), []
    refuse_unread(config, 'pairs', 'two files a split', True)

    def side(split_field: str, side_field: str) -> tuple[Path, list[str]]:
        split, suffix = getattr(config, split_field), getattr(objective, side_field)
        paths = [directory / f'{split}.{suffix}{end}' for end in ENDS]
        path = next((path for path in paths if path.exists()), None)
        if path is None:
            names = sorted({bare(p.name) for p in directory.iterdir()})
            found = f'{directory} has {", ".join(names) or "no files"}'
            if any(PurePosixPath(name).stem == split for name in names):
                raise ConfigError(f'objective.{side_field}', suffix, f'a side of {split}: {found}')
            raise ConfigError(f'data.{split_field}', split, f'a split with both sides: {found}')
        origin.append(local_file(path))
        return path, read_lines(path, config)

    def split(field: str) -> list[tuple[str, str]]:
        (path, sources), (other, targets) = side(field, 'source'), side(field, 'target')
        if len(sources) != len(targets):
            raise UserError(
                f'{path} has {len(sources)} lines and {other} has {len(targets)}; '
                'line n of the one must belong to line n of the other'
            )
        return [_clean(pair, config, objective) for pair in zip(sources, targets)]

    train, validation = split('train_split'), split('validation_split')
    test = split('test_split') if config.test_split else None
    name = f'{directory} {objective.source}-{objective.target}'
    return Corpus(name, train, validation, test, origin=tuple(origin))
