"""Images with a class each: scikit-learn's digits, or a TFDS data set with `image` and `label`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data.sources import tfds
from data.sources.corpus import Corpus
from data.sources.files import no_test_split
from data.sources.splits import stratified
from transformer.errors import ConfigError, UserError
from transformer.experiment import DataConfig

DIGITS = 'sklearn_digits'


def load(config: DataConfig, objective: Any) -> Corpus:
    """A corpus of (image, class index); an image is float32 [H, W, C] from 0 to 1.

    Raises:
      ConfigError: a data set without images and labels, or whose images differ in size.
      UserError: scikit-learn is missing, or TFDS cannot make the data set here.
    """
    del objective
    if config.path:
        raise ConfigError('data.path', config.path, f"'': images come from {DIGITS} or from TFDS")
    return _digits(config) if config.dataset == DIGITS else _tfds(config)


def _digits(config: DataConfig) -> Corpus:
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


def _tfds(config: DataConfig) -> Corpus:
    builder = tfds.prepared(config)
    features = builder.info.features
    missing = [name for name in ('image', 'label') if name not in features]
    if missing:
        accepted = f'a data set with the fields image and label (it has {", ".join(features)})'
        raise ConfigError('data.dataset', config.dataset, accepted)
    if not hasattr(features['label'], 'names'):
        accepted = f'a data set whose labels are classes (they are {features["label"]})'
        raise ConfigError('data.dataset', config.dataset, accepted)
    shape = features['image'].shape
    if len(shape) != 3 or None in shape:
        accepted = f'a data set with images of one size (its shape is {shape})'
        raise ConfigError('data.dataset', config.dataset, accepted)
    return Corpus(
        f'{config.dataset} ({builder.data_dir})',
        _Images(tfds.records(builder, config, 'train_split')),
        _Images(tfds.records(builder, config, 'validation_split')),
        _Images(tfds.records(builder, config, 'test_split')) if config.test_split else None,
        tuple(features['label'].names),
    )


class _Images(Sequence):
    """Images and labels of a TFDS split, read on demand."""

    def __init__(self, records: Sequence[dict]):
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        record = self._records[index]
        return np.asarray(record['image'], np.float32) / 255, int(record['label'])
