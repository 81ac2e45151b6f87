"""Texts with a class each.

A folder or a `.zip` with one file a class, one text a line; or tables with the fields
`config.text_field` and `config.label_field`: JSON lines, `.tsv`, Parquet, Arrow, a data set of TFDS
or of Hugging Face.

With `config.format='classes'` other objectives read the former too: the texts alone, or pairs of a
text and its class. The splits are the same, so what one model has learnt another is not tested on.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.sources import class_files, labels
from data.sources.corpus import Corpus
from data.sources.opened import Opened, open_tables
from data.sources.records import Records, at, string
from data.sources.splits import stratified
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError

FORMAT = 'classes'
WANTED = (
    'a folder or a .zip with one file a class, or tables (.jsonl, .tsv, .parquet, .arrow) with the '
    'fields of config.data.text_field and config.data.label_field'
)


def load(config: SourceConfig, objective: Any) -> Corpus:
    """A corpus of (text, class index).

    Raises:
      ConfigError: no such path; a share that leaves a split empty.
      UserError: a record without a text or a class, or with a class that training does not have.
    """
    del objective
    path = Path(config.path).expanduser()
    if config.format == FORMAT:
        return _files(config, path)
    if (
        config.path
        and path.suffix.lower() == '.zip'
        and config.format in ('auto', 'text')
        and path.exists()
    ):
        return _files(config, path)
    found = open_tables(config, 'classes')
    if isinstance(found, Opened):
        return _tables(found, config)
    if not path.is_dir():
        raise ConfigError('data.path', config.path, WANTED)
    return _files(config, path)


def texts(config: SourceConfig) -> Corpus:
    """The texts without their classes; errors as of `load`."""
    return _remade(_files(config, Path(config.path).expanduser()), lambda text, name: text)


def pairs(config: SourceConfig) -> Corpus:
    """Each text and the name of its class; errors as of `load`."""
    found = _files(config, Path(config.path).expanduser(), 'pairs')
    return _remade(found, lambda text, name: (text, name))


def _remade(found: Corpus, make: Callable[[str, str], Any]) -> Corpus:
    """With other records, made of a text and the name of its class, and no classes."""
    sides = {
        split: [make(text, found.classes[label]) for text, label in getattr(found, split)]
        for split in ('train', 'validation')
    }
    return dataclasses.replace(found, classes=(), **sides)


def _files(config: SourceConfig, path: Path, records: str = 'classes') -> Corpus:
    if not config.path or not path.exists():
        raise ConfigError('data.path', config.path, WANTED)
    texts, origin = class_files.read(config, path, records)
    names = labels.two(labels.names_of(label for _, label in texts), str(path))
    index = {name: n for n, name in enumerate(names)}
    made = [(text, index[label]) for text, label in texts]
    train, validation = stratified([label for _, label in made], config, str(path))
    return Corpus(
        str(path),
        [made[n] for n in train],
        [made[n] for n in validation],
        classes=names,
        origin=origin,
    )


def _tables(found: Opened, config: SourceConfig) -> Corpus:
    text, label, skipped = config.text_field, config.label_field, {}
    found.need('data.text_field', text)
    found.need('data.label_field', label)
    known = found.names(label)

    errors = config.encoding_errors
    pick = functools.partial(_named, text=text, label=label, known=known, errors=errors)
    made = {
        split: Records(table.select((text, label)), pick, config, skipped)
        for split, table in found.tables.items()
    }
    classes = {split: [label for _, label in records] for split, records in made.items()}
    names = labels.two(known or labels.names_of(classes['train']), found.name)
    numbers = {s: labels.indices(classes[s], names, made[s].where) for s in made}
    splits = {s: Labelled(made[s], np.arange(len(made[s])), numbers[s]) for s in made}
    if 'validation' not in splits:
        train, validation = stratified(numbers['train'], config, found.name)
        splits['train'] = Labelled(made['train'], train, numbers['train'])
        splits['validation'] = Labelled(made['train'], validation, numbers['train'])
    return Corpus(found.name, **splits, classes=names, skipped=skipped, origin=found.origin)


def _named(
    record: dict[str, Any], text: str, label: str, known: tuple[str, ...], errors: str
) -> tuple[str, str]:
    return string(record, text, errors), labels.label(record, label, known, errors)


class Labelled(Sequence):
    """Some of the records of a table with their classes' numbers, read on demand.

    Args:
      places: ascending.
      numbers: of the classes of all records.
    """

    def __init__(self, records: Records, places: np.ndarray, numbers: np.ndarray):
        self._records, self._places, self._numbers = records, places, numbers

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> tuple[str, int]:
        place = int(self._places[at(index, len(self))])
        return self._records[place][0], int(self._numbers[place])

    def __iter__(self) -> Iterator[tuple[str, int]]:
        mask = np.zeros(len(self._records), bool)
        mask[self._places] = True
        for (text, _), number in zip(
            self._records.walk(mask), self._numbers[self._places].tolist()
        ):
            yield text, number
