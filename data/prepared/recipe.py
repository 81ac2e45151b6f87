"""What prepared data were made of: settings, files, tokenizer; and how two of these differ."""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data.encoders import Encoder
from data.prepared import layout
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError

# Fields of the objective that make other records of the same source.
OBJECTIVE_FIELDS = {'pairs': ('source', 'target', 'lowercase')}
# Where a data set is kept says nothing about what it holds.
NOT_CONTENT = ('directory',)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One source's.

    Attributes:
      settings: fields that are not at their defaults, by full name.
      files: of the source; each with `name`, `size`, `modified` and `digest()`.
      encoding: how records become integers; empty where no tokenizer is known yet.
    """

    settings: Mapping[str, Any]
    files: tuple[Any, ...]
    encoding: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """With a digest of each file: they are read."""
        return self.stats() | {
            'files': {
                file.name: {
                    'size': file.size,
                    'modified': str(file.modified),
                    'digest': file.digest(),
                }
                for file in self.files
            }
        }

    def stats(self) -> dict[str, Any]:
        """Without reading files."""
        return {
            'format': layout.FORMAT,
            'settings': dict(self.settings),
            'files': {file.name: [file.size, str(file.modified)] for file in self.files},
            'encoding': dict(self.encoding),
        }

    def changes(self, saved: Mapping[str, Any]) -> list[str]:
        """What is not as in the `to_json` of another, in words."""
        if saved.get('format') != layout.FORMAT:
            return [f'the format of prepared data: {saved.get("format")}, now {layout.FORMAT}']
        found = []
        for group, prefix in (('settings', 'config.'), ('encoding', 'the ')):
            old, new = saved[group], json.loads(json.dumps(dict(getattr(self, group))))
            for name in sorted({*old, *new}):
                if old.get(name) != new.get(name):
                    then, now = (_shown(values, name) for values in (old, new))
                    found.append(f'{prefix}{name}: {then}, now {now}')
        return found + self._changed_files(saved['files'])

    def _changed_files(self, saved: Mapping[str, Any]) -> list[str]:
        here = {file.name: file for file in self.files}
        found = [f'file {name} is gone' for name in saved if name not in here]
        for name, file in here.items():
            old = saved.get(name)
            if old is None:
                found.append(f'file {name} is new')
            elif file.size != old['size']:
                found.append(f'file {name} has changed: {old["size"]:,} bytes, now {file.size:,}')
            elif str(file.modified) != old['modified'] and file.digest() != old['digest']:
                found.append(f'file {name} has changed')
        return found


def recipe(
    source: str,
    config: SourceConfig,
    objective: Any,
    corpus: Any,
    encoder: Encoder | None = None,
    tokenizer_digest: str = '',
) -> Recipe:
    """Of one source of a config.

    Args:
      source: its name in a mixture, or ''.
      encoder: None leaves out how records become integers.
    """
    prefix = f'data.mixture.{source}' if source else 'data'
    settings = {'objective.records': objective.RECORDS}
    for field in dataclasses.fields(SourceConfig):
        value = getattr(config, field.name)
        if value != field.default and field.name not in NOT_CONTENT:
            settings[f'{prefix}.{field.name}'] = value
    if getattr(config, 'objective', ''):
        settings[f'{prefix}.objective'] = config.objective
    for name in OBJECTIVE_FIELDS.get(objective.RECORDS, ()):
        if hasattr(objective, name):
            settings[f'objective.{name}'] = getattr(objective, name)
    encoding = {}
    if encoder is not None:
        encoding = {
            'tokenizer': tokenizer_digest,
            'columns': {k: np.dtype(dtype).str for k, dtype in encoder.dtypes.items()},
            'classes': list(getattr(corpus, 'classes', ())),
        }
        if hasattr(encoder, 'identity'):  # a chat template, and whose messages are learnt
            encoding['template'] = encoder.identity
    # As they were when the corpus was loaded: what changes from then on is found when all is made.
    return Recipe(settings, corpus.origin or files_of(corpus), encoding)


def files_of(corpus: Any) -> tuple[Any, ...]:
    """The files of a corpus, as they are now; one that has none counts by its records."""
    return tuple(corpus.files()) or (_Records(corpus),)


class _Records:
    """Records in memory, as if they were a file."""

    name = 'records'

    def __init__(self, corpus: Any):
        splits = [getattr(corpus, split) for split in layout.SPLITS]
        self.size = sum(len(records) for records in splits if records is not None)
        made = hashlib.blake2b(digest_size=16)
        for records in splits:
            made.update(b'no split' if records is None else b'split')
            for record in records or ():
                made.update(repr(record).encode('utf-8', 'surrogatepass') + b'\0')
        self.modified = made.hexdigest()

    def digest(self) -> str:
        return self.modified


def key(values: Any) -> str:
    """A short name of any JSON."""
    text = json.dumps(values, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def cache_directory() -> Path:
    """`$TRANSFORMER_DATA`, or a folder below the user's cache directory."""
    if os.environ.get('TRANSFORMER_DATA'):
        return Path(os.environ['TRANSFORMER_DATA']).expanduser() / 'data'
    base = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(base).expanduser() / 'transformer' / 'data'


def chosen(config: Any) -> Path | None:
    """The directory that `config.prepared` names; None where it names none.

    Raises:
      ConfigError: it is not on this machine.
    """
    if config.prepared in ('auto', 'memory'):
        return None
    if '://' in config.prepared:
        accepted = "a directory of a file system that is mounted, 'auto' or 'memory'"
        raise ConfigError('data.prepared', config.prepared, accepted)
    # Files are opened when they are needed: by then the process may be somewhere else.
    return Path(config.prepared).expanduser().absolute()


def readable(config: Any) -> str:
    """A name for people: of the data set, of the path, or of the sources."""
    names = [
        name or (Path(source.path.split(',')[0]).stem if source.path else source.dataset)
        for name, source in config.sources.items()
    ]
    return re.sub(r'[^\w.-]+', '-', '-'.join(names)).strip('-.')[:40] or layout.ALONE


def _shown(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return 'the default'
    text = repr(values[name])
    return f'{text[:60]}...' if len(text) > 60 else text
