"""Pairs of texts, line by line from two files a split: `train.de` and `train.en`, or with `.gz`."""

from pathlib import Path
from typing import Any

from data.sources.corpus import Corpus
from data.sources.files import existing, read_lines
from transformer.errors import ConfigError, UserError
from transformer.experiment import DataConfig


def load(config: DataConfig, objective: Any) -> Corpus:
    """A corpus of (source, target) strings; `objective` names the suffixes of the two sides.

    Raises:
      ConfigError: no such directory, split or side.
      UserError: sides with different numbers of lines; a file that cannot be read.
    """
    wanted = f'a directory with files such as {config.train_split}.{objective.source}'
    directory = existing(config, wanted)
    if not directory.is_dir():
        raise ConfigError('data.path', config.path, wanted)

    def side(split_field: str, side_field: str) -> tuple[Path, list[str]]:
        split, suffix = getattr(config, split_field), getattr(objective, side_field)
        path = directory / f'{split}.{suffix}'
        if not path.exists():
            path = path.with_name(path.name + '.gz')
        if not path.exists():
            names = sorted(p.name.removesuffix('.gz') for p in directory.iterdir())
            found = f'{directory} has {", ".join(names) or "no files"}'
            if any(name.rpartition('.')[0] == split for name in names):
                raise ConfigError(f'objective.{side_field}', suffix, f'a side of {split}: {found}')
            raise ConfigError(f'data.{split_field}', split, f'a split with both sides: {found}')
        return path, read_lines(path, config)

    def split(field: str) -> list[tuple[str, str]]:
        (path, sources), (other, targets) = side(field, 'source'), side(field, 'target')
        if len(sources) != len(targets):
            raise UserError(
                f'{path} has {len(sources)} lines and {other} has {len(targets)}; '
                'line n of the one must belong to line n of the other'
            )
        pairs = zip(sources, targets)
        if objective.lowercase:
            pairs = ((source.lower(), target.lower()) for source, target in pairs)
        return [(source.strip(), target.strip()) for source, target in pairs]

    test = split('test_split') if config.test_split else None
    name = f'{directory} {objective.source}-{objective.target}'
    return Corpus(name, split('train_split'), split('validation_split'), test)
