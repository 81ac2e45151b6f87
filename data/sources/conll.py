"""Sentences with a tag a word in CoNLL's columns, see `data.sources.tags`."""

from pathlib import Path

from data.sources.corpus import Corpus
from data.sources.files import read_lines
from data.sources.find import counts
from data.sources.options import refuse_unread
from data.sources.origin import local_file
from data.sources.splits import stratified
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError

Sentence = list[tuple[str, str, int]]  # word, tag, line


def load(config: SourceConfig, path: Path) -> Corpus:
    """One file, or a folder with a file for each split. Errors as of `data.sources.tags.load`."""
    if path.is_dir():
        refuse_unread(config, 'tags', 'CoNLL files by split', True)
        files = {
            split: _file(path, config, f'{split}_split')
            for split in ('train', 'validation', 'test')
            if split != 'test' or config.test_split
        }
        parts = {split: _read(file, config) for split, file in files.items()}
        names = _names(parts['train'])
        splits = {s: _indexed(parts[s], names, files[s]) for s in files}
        origin = tuple(local_file(file) for file in files.values())
        return Corpus(str(path), **splits, classes=names, origin=origin)
    refuse_unread(config, 'tags', 'a CoNLL file', False)
    sentences = _read(path, config)
    names = _names(sentences)
    records = _indexed(sentences, names, path)
    train, validation = stratified([0] * len(records), config, str(path))
    return Corpus(
        str(path),
        [records[i] for i in train],
        [records[i] for i in validation],
        classes=names,
        origin=(local_file(path),),
    )


def _file(directory: Path, config: SourceConfig, field: str) -> Path:
    name = getattr(config, field)
    files = sorted(p for p in directory.iterdir() if p.is_file() and counts(Path(p.name)))
    found = [p for p in files if p.name.split('.')[0] == name]
    if not found:
        known = ', '.join(sorted({p.name.split('.')[0] for p in files}))
        raise ConfigError(f'data.{field}', name, f'splits of {directory}: {known}')
    if len(found) > 1:
        raise ConfigError(f'data.{field}', name, f'one of {", ".join(p.name for p in found)} only')
    return found[0]


def _read(path: Path, config: SourceConfig) -> list[Sentence]:
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
