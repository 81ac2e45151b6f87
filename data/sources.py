"""Where documents come from: a TFDS data set or a text file. Both give two sequences of strings."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from transformer.errors import ConfigError, UserError
from transformer.experiment import DataConfig


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Documents by split. `name` says in a phrase where they come from."""

    name: str
    train: Sequence[str]
    validation: Sequence[str]

    def validation_text(self) -> bytes:
        """The whole validation text, documents end to end, as UTF-8."""
        return ''.join(self.validation).encode()


def load(config: DataConfig) -> Corpus:
    """The corpus that the config names.

    Raises:
      UserError: a file that is missing, empty, binary or not UTF-8; a data set that TFDS does not
        know, or that cannot be downloaded now.
    """
    return _text_file(config) if config.path else _tfds(config)


def read_text(path: Path, errors: str = 'strict') -> str:
    """A UTF-8 file.

    Args:
      errors: 'strict', or 'replace' to put U+FFFD for bytes that are not UTF-8.

    Raises:
      UserError: the file is missing, unreadable, empty, binary or not UTF-8; the message has the
        offset of the first bad byte.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError(f'cannot read text file {path}: {error.strerror or error}') from None
    if not raw.strip():
        raise UserError(f'text file {path} is empty ({len(raw)} bytes, all white space)')
    nul = raw.find(b'\0')
    if nul >= 0:
        raise UserError(f'{path} is binary, not text: NUL byte at offset {nul}')
    try:
        return raw.decode('utf-8-sig', errors)
    except UnicodeDecodeError as error:
        bad = raw[error.start]
        raise UserError(
            f'{path} is not UTF-8: byte 0x{bad:02x} at offset {error.start}; '
            'config.data.encoding_errors=replace puts U+FFFD for each bad byte'
        ) from None


def _text_file(config: DataConfig) -> Corpus:
    text = read_text(Path(config.path), config.encoding_errors)
    cut = int(len(text) * (1 - config.validation_fraction))
    if not text[:cut] or not text[cut:]:
        raise ConfigError(
            'data.validation_fraction',
            config.validation_fraction,
            f'a share that leaves text on both sides of {config.path} ({len(text)} characters)',
        )
    return Corpus(config.path, [text[:cut]], [text[cut:]])


def _tfds(config: DataConfig) -> Corpus:
    import tensorflow_datasets as tfds

    from data.builders import BUILDERS

    options = {'data_dir': config.directory or None, 'file_format': 'array_record'}
    try:
        if config.dataset in BUILDERS:
            builder = BUILDERS[config.dataset](**options)
        else:
            builder = tfds.builder(config.dataset, **options)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        ours = ', '.join(BUILDERS)
        raise ConfigError(
            'data.dataset', config.dataset, f'{ours}, or a TFDS name ({_first_line(error)})'
        ) from None
    tfds.disable_progress_bar()
    try:
        builder.download_and_prepare()
    except ImportError as error:
        raise UserError(
            f'TFDS makes {config.dataset!r} with TensorFlow, which is not installed: make it '
            f'elsewhere with file_format="array_record" and copy it ({_first_line(error)})'
        ) from None
    except Exception as error:  # TFDS wraps whatever failed while downloading in its own types
        raise UserError(
            f'data set {config.dataset!r} could not be prepared in {builder.data_dir}: '
            f'{type(error).__name__}: {_first_line(error)}. If it needs a download and there is '
            'no network, fetch the text elsewhere and give it by config.data.path=FILE'
        ) from None
    return Corpus(
        f'{config.dataset} ({builder.data_dir})',
        _Texts(builder, config, 'train_split'),
        _Texts(builder, config, 'validation_split'),
    )


class _Texts(Sequence):
    """The text field of one split of a prepared TFDS data set, read on demand."""

    def __init__(self, builder, config: DataConfig, field: str):
        split = getattr(config, field)
        try:
            self._records = builder.as_data_source(split=split)
        except (
            Exception
        ) as error:  # an unknown split is an AssertionError, a KeyError or a ValueError
            known = ', '.join(builder.info.splits)
            accepted = f'splits of {config.dataset}: {known} ({_first_line(error)})'
            raise ConfigError(f'data.{field}', split, accepted) from None
        self._field = config.text_field
        if not len(self._records):
            raise ConfigError(f'data.{field}', split, f'a split of {config.dataset} with documents')
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


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
