"""Images with a class each: scikit-learn's digits, folders by class, TFDS, tables with images."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.sources import image_folders, labels, pixels, tfds
from data.sources.corpus import Corpus
from data.sources.files import no_test_split
from data.sources.opened import Opened, open_tables
from data.sources.records import Records, at, sides
from data.sources.splits import stratified
from data.sources.tables import Bad, Table
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError

DIGITS = 'sklearn_digits'
FIELD = 'image'
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
        if (folder := tfds.directory(path)) is not None:
            return _tfds(config, folder)
    elif config.dataset == DIGITS:
        return _digits(config)
    elif config.format in ('auto', 'tfds'):
        return _tfds(config, tfds.directory(Path(config.dataset)))
    found = open_tables(config)
    if not isinstance(found, Opened):
        accepted = f'a folder with a folder of images for each class ({", ".join(pixels.SUFFIXES)})'
        raise ConfigError('data.path', config.path, f'{accepted}, or tables with images')
    return _tables(found, config)


def _digits(config: SourceConfig) -> Corpus:
    """1,797 grey 8x8 images of handwritten digits, part of scikit-learn."""
    no_test_split(config, f'{DIGITS} is split in two')
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
    label, skipped = config.label_field, {}
    found.need('data.dataset' if not config.path else 'data.path', FIELD)
    found.need('data.label_field', label)
    known = found.names(label)

    only_label = functools.partial(labels.label, field=label, known=known)
    made = {
        split: Records(table.select((label,)), only_label, config, skipped)
        for split, table in found.tables.items()
    }
    classes = {split: list(records) for split, records in made.items()}
    names = labels.two(known or labels.names_of(classes['train']), found.name)
    splits = {}
    for split, records in made.items():
        numbers = labels.indices(classes[split], names, records.where)
        places = records.good() if records.good() is not None else np.arange(len(records))
        splits[split] = _Images(found.tables[split], places, numbers)
    if 'validation' not in splits:
        whole = splits['train']
        chosen = stratified(whole.numbers, config, found.name)
        splits['train'], splits['validation'] = (
            _Images(whole.table, whole.places[some], whole.numbers[some]) for some in chosen
        )
    return Corpus(found.name, **splits, classes=names, skipped=skipped, origin=found.origin)


class _Images(Sequence):
    """Images of a table, decoded on demand.

    Args:
      places, numbers: of each, its place in the table and its class.
    """

    def __init__(self, table: Table, places: np.ndarray, numbers: np.ndarray):
        self.table, self.places, self.numbers = table, places, numbers

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Record:
        index = at(index, len(self))
        place = int(self.places[index])
        value = self.table.parse(self.table.fetch(place)).get(FIELD)
        return pixels.decode(value, self.table.where(place)), int(self.numbers[index])
