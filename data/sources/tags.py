"""Sentences with a tag a word, in CoNLL's columns or in tables.

CoNLL: one word a line, its tag in the last column, columns apart by tabs or blanks, an empty line
between sentences, as in https://arxiv.org/abs/cs/0306050. One file, or a folder with a file for
each split. Tables: a list of words in `config.text_field`, of tags in `config.label_field`; while
these are 'text' and 'label', their defaults, it is `tokens` or `words`, and `tags` or `ner_tags`.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.sources import conll, labels, records
from data.sources.corpus import Corpus
from data.sources.opened import Opened, open_tables
from data.sources.records import text
from data.sources.tables import Bad
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError

WORDS, TAGS = ('tokens', 'words'), ('tags', 'ner_tags')
Tagged = tuple[tuple[str, ...], tuple[str, ...]]
Indexed = tuple[tuple[str, ...], tuple[int, ...]]


def load(config: SourceConfig, objective: Any) -> Corpus:
    """A corpus of (words, tag indices), two tuples of the same length.

    Raises:
      ConfigError: no such path, split or field; a share that leaves a split empty.
      UserError: a word without a tag, or with a tag that training does not have.
    """
    del objective
    path = Path(config.path).expanduser()
    found = open_tables(config, 'tags')
    if isinstance(found, Opened):
        return _tables(found, config)
    if not path.exists():
        raise ConfigError('data.path', config.path, 'one file or folder of CoNLL files')
    return conll.load(config, path)


def _tables(found: Opened, config: SourceConfig) -> Corpus:
    words, tags = (
        _fields(found, config.text_field, WORDS, 'text'),
        _fields(found, config.label_field, TAGS, 'label'),
    )
    known, skipped = found.names(tags[0]), {}
    given = functools.partial(_tags, fields=tags, known=known, errors=config.encoding_errors)
    pick = functools.partial(_tagged, fields=words, given=given, errors=config.encoding_errors)
    chosen = {split: table.select((*words, *tags)) for split, table in found.tables.items()}
    made = records.sides(chosen, pick, config, found.name, skipped)
    names = known
    if not known and config.bad_records == 'skip':  # to find those takes whole records
        whole = itertools.chain.from_iterable(
            side for split, side in made.items() if split == 'train' or split not in chosen
        )
        names = labels.names_of(tag for _, all_tags in whole for tag in all_tags)
    elif not known:  # of columns nothing else is read
        alone = records.Records(found.tables['train'].select(tags), given, config, skipped)
        names = labels.names_of(tag for all_tags in alone for tag in all_tags)
    splits = {split: Sentences(some, names) for split, some in made.items()}
    return Corpus(found.name, **splits, classes=names, skipped=skipped, origin=found.origin)


def _tags(
    record: dict[str, Any], fields: tuple[str, ...], known: tuple[str, ...], errors: str
) -> tuple[str, ...]:
    listed, field = _list(record, fields)
    return tuple(labels.name_of(tag, field, known, errors) for tag in listed)


def _tagged(
    record: dict[str, Any],
    fields: tuple[str, ...],
    given: Callable[[dict[str, Any]], tuple[str, ...]],
    errors: str,
) -> Tagged:
    listed, field = _list(record, fields)
    said, tags = tuple(text(word, field, errors) for word in listed), given(record)
    if len(said) != len(tags):
        raise Bad('words and tags differ', f'{len(said)} words and {len(tags)} tags')
    if not said:
        raise Bad('no words', f'{field!r} is empty')
    for word in said:
        if not isinstance(word, str):
            raise Bad('word that is no text', f'{word!r:.40} is no word')
    return said, tags


class Sentences(Sequence):
    """Records with the numbers of their tags, read on demand.

    Args:
      tagged: with their names.
      names: of all tags, those of the training split.
    """

    def __init__(self, tagged: Sequence[Tagged], names: tuple[str, ...]):
        self._tagged, self._names = tagged, names
        self._index = {name: n for n, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self._tagged)

    def __getitem__(self, index: int) -> Indexed:
        index = records.at(index, len(self))
        return self._indexed(index, self._tagged[index])

    def __iter__(self) -> Iterator[Indexed]:
        return itertools.starmap(self._indexed, enumerate(self._tagged))

    def where(self, index: int) -> str:
        """A phrase that says where a record is."""
        return self._tagged.where(index)

    def _indexed(self, place: int, record: Tagged) -> Indexed:
        words, tags = record
        try:
            return words, tuple([self._index[tag] for tag in tags])
        except KeyError as error:
            tag, known = error.args[0], ', '.join(self._names)
            raise UserError(
                f'{self.where(place)}: tag {tag!r} is not one of the training split: {known}'
            ) from None


def _fields(found: Opened, named: str, usual: tuple[str, ...], setting: str) -> tuple[str, ...]:
    """The field, or those that it may be."""
    fields = (named,) if named != getattr(SourceConfig, f'{setting}_field') else (*usual, named)
    if found.fields is None:
        return fields
    there = tuple(field for field in fields if field in found.fields)
    if not there:
        found.need(f'data.{setting}_field', fields[0])
    return there[:1]


def _list(record: dict[str, Any], fields: tuple[str, ...]) -> tuple[Sequence[Any], str]:
    for field in fields:
        if isinstance(value := record.get(field), (list, tuple, np.ndarray)):
            return list(value), field
    known = ', '.join(record)
    raise Bad('field missing', f'there is no list {fields[0]!r}; the fields are {known}')
