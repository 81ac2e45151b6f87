"""Texts with a class each.

A folder or a `.zip` with one file a class, one text a line; a `.jsonl` or `.tsv` file with the
fields `text` and `label`; or a folder with such a file for each split.
"""

import json
import lzma
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from data.sources.corpus import Corpus
from data.sources.files import decode, existing, lines, no_test_split, read_lines, read_text
from data.sources.splits import stratified
from transformer.errors import ConfigError, UserError
from transformer.experiment import DataConfig

WANTED = (
    'a folder or a .zip with one file a class, or a .jsonl or .tsv file with the fields text '
    'and label'
)
TABLES = ('.jsonl', '.tsv')
Labelled = list[tuple[str, str, str]]  # text, label, where


def load(config: DataConfig, objective: Any) -> Corpus:
    """A corpus of (text, class index).

    Raises:
      ConfigError: no such path; a share that leaves a split empty.
      UserError: a line without a text or a label, or with a label that training does not have.
    """
    del objective
    path = existing(config, WANTED)
    if path.is_dir() and any((path / f'{config.train_split}{end}').exists() for end in TABLES):
        return _split_files(config, path)
    no_test_split(config, f'{path} is not a folder with a .jsonl or .tsv file for each split')
    if path.suffix in TABLES:
        found = _table(path, config)
    elif path.is_dir() or path.suffix == '.zip':
        found = _one_file_a_class(
            _zipped(path, config) if path.is_file() else _folder(path, config)
        )
    else:
        raise ConfigError('data.path', config.path, WANTED)
    names = _names(found, str(path))
    records = _indexed(found, names)
    train, validation = stratified([label for _, label in records], config, str(path))
    return Corpus(
        str(path), [records[i] for i in train], [records[i] for i in validation], classes=names
    )


def _split_files(config: DataConfig, directory: Path) -> Corpus:
    def split(field: str) -> Labelled:
        name = getattr(config, field)
        for end in TABLES:
            if (directory / f'{name}{end}').exists():
                return _table(directory / f'{name}{end}', config)
        known = ', '.join(sorted(p.stem for p in directory.iterdir() if p.suffix in TABLES))
        raise ConfigError(f'data.{field}', name, f'splits of {directory}: {known}')

    train = split('train_split')
    names = _names(train, str(directory))
    validation = _indexed(split('validation_split'), names)
    test = _indexed(split('test_split'), names) if config.test_split else None
    return Corpus(str(directory), _indexed(train, names), validation, test, names)


def _folder(path: Path, config: DataConfig) -> dict[str, str]:
    files = sorted(p for p in path.rglob('*') if p.is_file() and _holds_texts(p.name))
    options = config.encoding_errors, config.encoding
    return {str(p): read_text(p, *options) for p in files}


def _zipped(path: Path, config: DataConfig) -> dict[str, str]:
    options = config.encoding_errors, config.encoding
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(
                entry.filename
                for entry in archive.infolist()
                if not entry.is_dir()
                and _holds_texts(PurePosixPath(entry.filename).name)
                and '__MACOSX' not in entry.filename
            )
            return {f'{path}/{n}': decode(archive.read(n), f'{path}/{n}', *options) for n in names}
    except (
        OSError,
        EOFError,
        zipfile.BadZipFile,
        RuntimeError,
        zlib.error,
        lzma.LZMAError,
    ) as error:
        raise UserError(f'cannot read {path}: {error}') from None


def _holds_texts(name: str) -> bool:
    return not name.lower().startswith(('readme', '.'))


def _one_file_a_class(files: dict[str, str]) -> Labelled:
    """The class is what follows the last dot of a file's name, or what precedes it.

    `reviews.pos` and `reviews.neg` differ in the former, `pos.txt` and `neg.txt` in the latter.
    """
    paths = [PurePosixPath(name.removesuffix('.gz')) for name in files]
    ends = [p.suffix.removeprefix('.') for p in paths]
    labels = ends if all(ends) and len(set(ends)) == len(ends) else [p.stem for p in paths]
    if len(set(labels)) < len(labels):
        raise UserError(f'two files would be one class: {", ".join(files)}')
    return [
        (line.strip(), label, f'{name}, line {n}')
        for label, (name, text) in zip(labels, files.items())
        for n, line in enumerate(lines(text), 1)
        if line.strip()
    ]


def _table(path: Path, config: DataConfig) -> Labelled:
    field, found = config.text_field, []
    rows = read_lines(path, config)
    header = None if path.suffix == '.jsonl' else rows[0].split('\t')
    if header is not None and not {field, 'label'} <= set(header):
        raise UserError(f'{path}, line 1: the columns are {header}; needed: {field!r} and "label"')
    for n, line in enumerate(rows[header is not None :], 1 + (header is not None)):
        if not line.strip():
            continue
        where = f'{path}, line {n}'
        try:
            row = json.loads(line) if header is None else dict(zip(header, line.split('\t')))
        except ValueError as error:
            raise UserError(f'{where}: not JSON: {error}') from None
        if not isinstance(row, dict) or not isinstance(row.get(field), str):
            raise UserError(f'{where}: there is no string {field!r}')
        label = row.get('label')
        if label is None or isinstance(label, (dict, list, float)) or not str(label):
            raise UserError(f'{where}: label={label!r} is no class; accepted: a name or a number')
        found.append((row[field], str(label), where))
    return found


def _names(found: Labelled, name: str) -> tuple[str, ...]:
    labels = {label for _, label, _ in found}
    if len(labels) < 2:
        raise UserError(f'{name} has {len(labels)} classes {sorted(labels)}; 2 are needed')
    numbers = all(label.isdecimal() for label in labels)
    # '1' and '01' are the same number: the order must not be a set's.
    return tuple(sorted(labels, key=(lambda x: (int(x), x)) if numbers else None))


def _indexed(found: Labelled, names: tuple[str, ...]) -> list[tuple[str, int]]:
    index = {name: i for i, name in enumerate(names)}
    for _, label, where in found:
        if label not in index:
            known = ', '.join(names)
            raise UserError(
                f'{where}: label {label!r} is not a class of the training split: {known}'
            )
    return [(text, index[label]) for text, label, _ in found]
