"""Images with a class each: scikit-learn's digits, folders by class, TFDS, tables with images."""

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.sources import image_folders, labels, options, pixels, tfds
from data.sources.corpus import Corpus
from data.sources.opened import Opened, open_tables
from data.sources.records import Records, at, sides
from data.sources.splits import stratified
from data.sources.tables import Bad, Table
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError

DIGITS = 'sklearn_digits'
FIELD = 'image'
NOT_FILES = ('hf', 'a folder of Hugging Face')  # their origins are no files
Record = tuple[np.ndarray, int]


def load(config: SourceConfig, objective: Any) -> Corpus:
    """A corpus of (image, class index); an image is float32 [H, W, C] from 0 to 1.

    Raises:
      ConfigError: no such path; a data set without images and labels, or whose images differ in
        size.
      UserError: an image that cannot be read; scikit-learn is missing; TFDS cannot make the data
        set here.
    """
    del objective
    if config.path:
        path = Path(config.path).expanduser()
        if path.is_dir() and config.format == 'auto' and image_folders.has_images(path):
            return image_folders.load(config, path)
        if config.format in ('auto', 'tfds') and (folder := tfds.directory(path)) is not None:
            return _tfds(config, folder)
    elif config.dataset == DIGITS:
        return _digits(config)
    elif config.format in ('auto', 'tfds'):
        return _tfds(config, tfds.directory(Path(config.dataset)))
    found = open_tables(config, 'images')
    if not isinstance(found, Opened):
        accepted = f'a folder with a folder of images for each class ({", ".join(pixels.SUFFIXES)})'
        raise ConfigError('data.path', config.path, f'{accepted}, or tables with images')
    return _tables(found, config)


def _digits(config: SourceConfig) -> Corpus:
    """1,797 grey 8x8 images of handwritten digits, part of scikit-learn."""
    options.refuse_unread(config, 'images', DIGITS, False)
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError(
            f"config.data.dataset={DIGITS!r} needs scikit-learn: pip install -e '.[digits]'"
        ) from None
    found = load_digits()
    images = (found.images[..., None] / 16).astype(np.float32)
    records = [(image, int(label)) for image, label in zip(images, found.target)]
    train, validation = stratified(found.target, config, DIGITS)
    names = tuple(str(name) for name in found.target_names)
    return Corpus(
        DIGITS, [records[i] for i in train], [records[i] for i in validation], classes=names
    )


def _tfds(config: SourceConfig, folder: Path | None) -> Corpus:
    builder = tfds.prepared(config, folder)
    features, label = builder.info.features, config.label_field
    missing = [name for name in (FIELD, label) if name not in features]
    if missing:
        accepted = f'a data set with the fields {FIELD} and {label} (it has {", ".join(features)})'
        raise ConfigError('data.dataset', config.dataset, accepted)
    if not hasattr(features[label], 'names'):
        accepted = f'a data set whose labels are classes (they are {features[label]})'
        raise ConfigError('data.dataset', config.dataset, accepted)
    shape = features[FIELD].shape
    if len(shape) != 3 or None in shape:
        accepted = f'a data set with images of one size (its shape is {shape})'
        raise ConfigError('data.dataset', config.dataset, accepted)

    tables = tfds.splits(builder, config)
    options.refuse_unread(config, 'images', tfds.way(folder), 'validation' in tables)
    name, skipped = f'{builder.info.name} ({builder.data_dir})', {}
    return Corpus(
        name,
        **sides(tables, functools.partial(_pixels, label=label), config, name, skipped),
        classes=tuple(features[label].names),
        skipped=skipped,
        origin=tfds.origin(builder),
    )


def _pixels(record: dict[str, Any], label: str) -> Record:
    if int(record[label]) < 0:  # as TFDS marks those without
        raise Bad('no class', f'{label}={record[label]!r} is no class')
    return np.asarray(record[FIELD], np.float32) / 255, int(record[label])


def _tables(found: Opened, config: SourceConfig) -> Corpus:
    label, skipped, folder = config.label_field, {}, _folder(found)
    for table in found.tables.values():
        if table.fields is not None and FIELD not in table.fields:
            where, value = ('path', config.path) if config.path else ('dataset', config.dataset)
            accepted = f'records with a field {FIELD!r} (they have {", ".join(table.fields)})'
            raise ConfigError(f'data.{where}', value, accepted)
    found.need('data.label_field', label)
    known = found.names(label)

    pick = functools.partial(labels.label, field=label, known=known, errors=config.encoding_errors)
    fields = (label,)
    if config.bad_records == 'skip':  # only then are images looked at before they are needed
        pick, fields = functools.partial(_checked, label=pick, folder=folder), (label, FIELD)
    made = {
        split: Records(table.select(fields), pick, config, skipped)
        for split, table in found.tables.items()
    }
    classes = {split: list(records) for split, records in made.items()}
    names = labels.two(known or labels.names_of(classes['train']), found.name)
    splits = {}
    for split, records in made.items():
        numbers = labels.indices(classes[split], names, records.where)
        places = records.good() if records.good() is not None else np.arange(len(records))
        splits[split] = _Images(found.tables[split].select((FIELD,)), places, numbers, folder)
    if 'validation' not in splits:
        whole = splits['train']
        chosen = stratified(whole.numbers, config, found.name)
        splits['train'], splits['validation'] = (
            _Images(whole.table, whole.places[some], whole.numbers[some], folder) for some in chosen
        )
    return Corpus(found.name, **splits, classes=names, skipped=skipped, origin=found.origin)


def _folder(found: Opened) -> Path | None:
    """Where the files lie."""
    files = [file.name for file in found.origin if not (file.remote or found.way in NOT_FILES)]
    folders = [Path(name).absolute().parent for name in files]
    return Path(os.path.commonpath(folders)) if folders else None


def _checked(
    record: dict[str, Any], label: Callable[[dict[str, Any]], str], folder: Path | None
) -> str:
    """The label of a record with an image."""
    try:
        pixels.decode(record.get(FIELD), 'this', folder=folder)
    except UserError as error:
        raise Bad('no image', str(error)) from None
    return label(record)


class _Images(Sequence):
    """Images of a table, decoded on demand.

    Args:
      places, numbers: of each, its place in the table and its class.
      folder: as of `pixels.decode`.
    """

    def __init__(self, table: Table, places: np.ndarray, numbers: np.ndarray, folder: Path | None):
        self.table, self.places, self.numbers, self._folder = table, places, numbers, folder

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Record:
        index = at(index, len(self))
        place = int(self.places[index])
        value = self.table.parse(self.table.fetch(place)).get(FIELD)
        try:
            image = pixels.decode(value, self.table.name, folder=self._folder)
        except UserError:
            # Only now: to find a record's line takes a pass over its file.
            image = pixels.decode(value, self.table.where(place), folder=self._folder)
        return image, int(self.numbers[index])
