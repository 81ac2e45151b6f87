"""Documents: the text field of a TFDS data set, or one text file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.sources import tfds
from data.sources.corpus import Corpus
from data.sources.files import no_test_split, read_text
from transformer.errors import ConfigError
from transformer.experiment import DataConfig


def load(config: DataConfig, objective: Any) -> Corpus:
    """A corpus of strings."""
    del objective
    return _file(config) if config.path else _tfds(config)


def _file(config: DataConfig) -> Corpus:
    no_test_split(config, 'a text file has its beginning to train and its end to validate on')
    text = read_text(Path(config.path), config.encoding_errors, config.encoding)
    cut = int(len(text) * (1 - config.validation_fraction))
    if not text[:cut] or not text[cut:]:
        raise ConfigError(
            'data.validation_fraction',
            config.validation_fraction,
            f'a share that leaves text on both sides of {config.path} ({len(text)} characters)',
        )
    return Corpus(config.path, [text[:cut]], [text[cut:]])


def _tfds(config: DataConfig) -> Corpus:
    builder = tfds.prepared(config)
    return Corpus(
        f'{config.dataset} ({builder.data_dir})',
        _Texts(builder, config, 'train_split'),
        _Texts(builder, config, 'validation_split'),
        _Texts(builder, config, 'test_split') if config.test_split else None,
    )


class _Texts(Sequence):
    """The text field of one split of a prepared TFDS data set, read on demand."""

    def __init__(self, builder: Any, config: DataConfig, field: str):
        self._records = tfds.records(builder, config, field)
        self._field = config.text_field
        if self._field not in builder.info.features:
            known = ', '.join(builder.info.features)
            raise ConfigError(
                'data.text_field', self._field, f'fields of {config.dataset}: {known}'
            )

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(index)
        text = self._records[index][self._field]
        return text.decode() if isinstance(text, bytes) else text
