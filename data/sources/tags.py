"""Sentences with a tag a word, in CoNLL's columns or in tables.

CoNLL: one word a line, its tag in the last column, columns apart by tabs or blanks, an empty line
between sentences, as in https://arxiv.org/abs/cs/0306050. One file, or a folder with a file for
each split. Tables: a list of words in `config.text_field`, of tags in `config.label_field`; while
these are 'text' and 'label', their defaults, it is `tokens` or `words`, and `tags` or `ner_tags`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.sources import conll, labels
from data.sources.corpus import Corpus
from data.sources.opened import Opened, open_tables
from data.sources.records import Records
from data.sources.splits import stratified
from data.sources.tables import Bad
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError

WORDS, TAGS = ('tokens', 'words'), ('tags', 'ner_tags')
Tagged = tuple[tuple[str, ...], tuple[str, ...]]


def load(config: SourceConfig, objective: Any) -> Corpus:
    """A corpus of (words, tag indices), two tuples of the same length.

    Raises:
      ConfigError: no such path, split or field; a share that leaves a split empty.
      UserError: a word without a tag, or with a tag that training does not have.
    """
    del objective
    path = Path(config.path).expanduser()
    found = open_tables(config)
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

    def pick(record: dict[str, Any]) -> Tagged:
        said, _ = _list(record, words)
        given, field = _list(record, tags)
        if len(said) != len(given):
            raise Bad('words and tags differ', f'{len(said)} words and {len(given)} tags')
        for word in said:
            if not isinstance(word, (str, bytes)):
                raise Bad('word that is no text', f'{word!r:.40} is no word')
        texts = (w.decode(errors='replace') if isinstance(w, bytes) else w for w in said)
        return tuple(texts), tuple(labels.name_of(tag, field, known) for tag in given)

    made = {
        split: Records(table.select((*words, *tags)), pick, config, skipped)
        for split, table in found.tables.items()
    }
    read = {split: list(records) for split, records in made.items()}
    names = known or labels.names_of(tag for _, given in read['train'] for tag in given)
    splits = {s: _indexed(read[s], names, made[s].where) for s in made}
    if 'validation' not in splits:
        records = splits['train']
        train, validation = stratified([0] * len(records), config, found.name)
        splits['train'] = [records[n] for n in train]
        splits['validation'] = [records[n] for n in validation]
    return Corpus(found.name, **splits, classes=names, skipped=skipped, origin=found.origin)


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


def _indexed(
    sentences: Sequence[Tagged], names: tuple[str, ...], where: Callable[[int], str]
) -> list[tuple[tuple[str, ...], tuple[int, ...]]]:
    index = {name: n for n, name in enumerate(names)}
    for n, (_, tags) in enumerate(sentences):
        for tag in tags:
            if tag not in index:
                known = ', '.join(names)
                raise UserError(
                    f'{where(n)}: tag {tag!r} is not one of the training split: {known}'
                )
    return [(words, tuple(index[tag] for tag in tags)) for words, tags in sentences]
