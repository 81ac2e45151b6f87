"""Sentences with a tag a word, in CoNLL's columns.

One word a line, its tag in the last column, columns apart by tabs or blanks, an empty line between
sentences, as in https://arxiv.org/abs/cs/0306050. One file, or a folder with a file for each split.
"""

from pathlib import Path
from typing import Any

from data.sources.corpus import Corpus
from data.sources.files import existing, no_test_split, read_lines
from data.sources.splits import stratified
from transformer.errors import ConfigError, UserError
from transformer.experiment import DataConfig

Sentence = list[tuple[str, str, int]]  # word, tag, line


def load(config: DataConfig, objective: Any) -> Corpus:
    """A corpus of (words, tag indices), two tuples of the same length.

    Raises:
      ConfigError: no such path or split; a share that leaves a split empty.
      UserError: a line without a tag, or with a tag that training does not have.
    """
    del objective
    wanted = f'a CoNLL file, or a folder with one for each split such as {config.train_split}.txt'
    path = existing(config, wanted)
    if path.is_dir():
        parts = {
            field: _read(_file(path, config, field), config)
            for field in ('train_split', 'validation_split', 'test_split')
            if field != 'test_split' or config.test_split
        }
        names = _names(parts['train_split'])
        splits = [
            _indexed(sentences, names, _file(path, config, field))
            for field, sentences in parts.items()
        ]
        return Corpus(str(path), *splits, classes=names)
    no_test_split(config, f'{path} is one file')
    sentences = _read(path, config)
    names = _names(sentences)
    records = _indexed(sentences, names, path)
    train, validation = stratified([0] * len(records), config, str(path))
    return Corpus(
        str(path), [records[i] for i in train], [records[i] for i in validation], classes=names
    )


def _file(directory: Path, config: DataConfig, field: str) -> Path:
    name = getattr(config, field)
    found = sorted(p for p in directory.iterdir() if p.is_file() and p.name.split('.')[0] == name)
    if not found:
        known = ', '.join(sorted(p.name.split('.')[0] for p in directory.iterdir()))
        raise ConfigError(f'data.{field}', name, f'splits of {directory}: {known}')
    if len(found) > 1:
        raise ConfigError(f'data.{field}', name, f'one of {", ".join(p.name for p in found)} only')
    return found[0]


def _read(path: Path, config: DataConfig) -> list[Sentence]:
    sentences, sentence = [], []
    for n, line in enumerate([*read_lines(path, config), ''], 1):
        columns = line.split('\t') if '\t' in line else line.split()
        columns = [column.strip() for column in columns]
        if not any(columns) or columns[0] == '-DOCSTART-':
            if sentence:
                sentences.append(sentence)
            sentence = []
        elif len(columns) < 2 or not columns[0] or not columns[-1]:
            raise UserError(f'{path}, line {n}: {line!r} is not a word and its tag')
        else:
            sentence.append((columns[0], columns[-1], n))
    if not sentences:
        raise UserError(f'{path} has no sentences')
    return sentences


def _names(sentences: list[Sentence]) -> tuple[str, ...]:
    return tuple(sorted({tag for sentence in sentences for _, tag, _ in sentence}))


def _indexed(sentences: list[Sentence], names: tuple[str, ...], path: Path) -> list:
    index = {name: i for i, name in enumerate(names)}
    for sentence in sentences:
        for _, tag, n in sentence:
            if tag not in index:
                known = ', '.join(names)
                raise UserError(
                    f'{path}, line {n}: tag {tag!r} is not one of the training split: {known}'
                )
    return [
        (tuple(word for word, _, _ in sentence), tuple(index[tag] for _, tag, _ in sentence))
        for sentence in sentences
    ]
