"""Data sets of TFDS, ours or its own, by name or by folder, read without TensorFlow."""

import contextlib
import difflib
import functools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from data.sources.corpus import SPLITS
from data.sources.origin import SourceFile, local_file
from data.sources.tables.base import Table
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError

AT_ONCE = 64  # records read at a time in order
RETRIES = 1  # of a download; TFDS's own ten take minutes where there is no network
TIMEOUT = 20  # seconds until a server must answer; TFDS's own waits for ever
KNOWN = 'features.json'  # in each folder that TFDS made


def directory(folder: Path) -> Path | None:
    """The data set at or below a folder, the newest version; None if there is none.

    Raises:
      ConfigError: there are several data sets.
    """
    if not folder.is_dir():
        return None
    if (folder / KNOWN).exists():
        return folder
    # NAME/VERSION and NAME/CONFIG/VERSION, or these from further below.
    below = [p.parent for depth in ('*', '*/*', '*/*/*') for p in folder.glob(f'{depth}/{KNOWN}')]
    if len({path.parent for path in below}) > 1:
        some = ', '.join(sorted(str(path) for path in below)[:8])
        raise ConfigError('data.path', str(folder), f'one data set of TFDS; there are {some}')
    return max(
        below, key=lambda p: [int(n) for n in p.name.split('.') if n.isdigit()], default=None
    )


def prepared(config: SourceConfig, folder: Path | None = None) -> Any:
    """The TFDS builder of `config.dataset`, or of a folder, its files made.

    Raises:
      ConfigError: no data set of that name.
      UserError: it cannot be made here, or its files cannot be read without TensorFlow.
    """
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    if folder is not None:
        try:
            builder = tfds.builder_from_directory(folder)
        except Exception as error:  # whatever is wrong with its files
            message = f'{folder} is no data set that TFDS can read: {_first_line(error)}'
            raise UserError(message) from None
    else:
        builder = _by_name(config)
        _make(config, builder)
    kind = builder.info.file_format
    if kind is not None and kind.value != 'array_record':
        raise UserError(
            f'{builder.data_dir} holds {kind.value} files, which TFDS reads with TensorFlow only: '
            "make it with file_format='array_record'"
        )
    return builder


def _by_name(config: SourceConfig) -> Any:
    import tensorflow_datasets as tfds

    from data.builders import BUILDERS

    options = {'data_dir': config.directory or None, 'file_format': 'array_record'}
    if config.dataset.startswith('huggingface:'):
        raise ConfigError('data.dataset', config.dataset, "a TFDS name, unless data.format='hf'")
    try:
        name, _, chosen = config.dataset.partition('/')
        if name in BUILDERS:
            return BUILDERS[name](config=chosen or None, **options)
        with _impatient():
            return tfds.builder(config.dataset, **options)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        known = [*BUILDERS, *tfds.list_builders(with_community_datasets=False)]
        name = config.dataset.partition('/')[0].partition(':')[0]
        near = difflib.get_close_matches(name, dict.fromkeys(known), n=5)
        path = Path(config.dataset).expanduser()
        if path.is_absolute() or (len(path.parts) > 1 and Path(path.parts[0]).is_dir()):
            why = 'no such folder, or none that TFDS made'
        else:
            why = f'nearest: {", ".join(near)}' if near else _first_line(error)
        accepted = f'{", ".join(BUILDERS)}, a folder that TFDS made, or a TFDS name ({why})'
        raise ConfigError('data.dataset', config.dataset, accepted) from None
    except Exception as error:  # of its network and of the modules that define data sets
        why = f'{type(error).__name__}: {_first_line(error)}'
        raise UserError(f'TFDS cannot open the data set {config.dataset!r}: {why}') from None


def _make(config: SourceConfig, builder: Any) -> None:
    try:
        with _impatient():
            builder.download_and_prepare()
    except ImportError as error:
        raise UserError(
            f'TFDS makes {config.dataset!r} with TensorFlow, which is not installed: make it '
            f'elsewhere with file_format="array_record" and copy it ({_first_line(error)})'
        ) from None
    except Exception as error:  # TFDS wraps whatever failed while downloading in its own types
        raise UserError(
            f'data set {config.dataset!r} could not be prepared in {builder.data_dir}: '
            f'{_why(error)}. If it needs a download and there is no network, fetch the text '
            'elsewhere and give it by config.data.path=FILE'
        ) from None


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Downloads that give up within seconds where there is no network, and say so once."""
    from tensorflow_datasets.core.download import downloader

    # A warning for each file and try; other files' threads outlive the error of the first.
    logging.getLogger('urllib3.connectionpool').setLevel(logging.ERROR)
    names = ('MAX_RETRIES', '_open_url')
    before = {name: getattr(downloader, name) for name in names if hasattr(downloader, name)}
    if len(before) == len(names):  # they are not public: another version may go without
        downloader.MAX_RETRIES = RETRIES
        downloader._open_url = functools.partial(before['_open_url'], timeout=TIMEOUT)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(downloader, name, value)


def origin(builder: Any) -> tuple[SourceFile, ...]:
    """The files of a data set."""
    paths = sorted(path for path in Path(builder.data_dir).iterdir() if path.is_file())
    return tuple(local_file(path) for path in paths)


def way(folder: Path | None) -> str:
    """What `options` call a data set: of this folder, or by name."""
    return 'tfds' if folder is None else 'a folder of TFDS'


def names(builder: Any, field: str) -> tuple[str, ...]:
    """Of the classes that a field, or each item of a list, is one of; () where it is no class."""
    feature = builder.info.features[field]
    return tuple(getattr(getattr(feature, 'feature', feature), 'names', None) or ())


def splits(builder: Any, config: SourceConfig) -> dict[str, 'Split']:
    """Tables by split; none to validate on where there is none and the config names the usual one:
    a share is held out then.

    Raises:
      ConfigError: as of `Split`.
    """
    made, usual = {}, SourceConfig.validation_split
    for split in SPLITS:
        name = getattr(config, f'{split}_split')
        held_out = split == 'validation' and name == usual and usual not in builder.info.splits
        if name and not held_out:
            made[split] = Split(builder, config, f'{split}_split')
    return made


class Split(Table):
    """A split as a table.

    Args:
      field: of the config, which holds the split's name.

    Raises:
      ConfigError: there is no such split, or it is empty.
    """

    def __init__(self, builder: Any, config: SourceConfig, field: str):
        split = getattr(config, field)
        self.fields = tuple(builder.info.features)
        self.name = f'{builder.info.name}, {split}'
        try:
            self._source = builder.as_data_source(split=split)
        except Exception as error:  # an unknown split: AssertionError, KeyError or ValueError
            known = ', '.join(builder.info.splits)
            accepted = f'splits of {builder.info.name}: {known} ({_first_line(error)})'
            raise ConfigError(f'data.{field}', split, accepted) from None
        if not len(self._source):
            accepted = f'a split of {builder.info.name} with records'
            raise ConfigError(f'data.{field}', split, accepted)

    def __len__(self) -> int:
        return len(self._source)

    def fetch(self, index: int) -> dict[str, Any]:
        with self._refusing():
            return self._source[index]

    def raw(self) -> Iterator[dict[str, Any]]:
        for begin in range(0, len(self), AT_ONCE):
            with self._refusing():
                some = self._source.__getitems__(range(begin, min(begin + AT_ONCE, len(self))))
            yield from some

    @contextlib.contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # of array_record and of each feature's decoder
            why = f'{type(error).__name__}: {_first_line(error)}'
            raise UserError(f'cannot read {self.name}: {why}') from None


def _why(error: BaseException) -> str:
    """What failed; of a connection, with whom: the rest of such a message is its inner life."""
    import requests

    host = getattr(getattr(error, 'request', None), 'url', None)
    if host and isinstance(error, requests.ConnectionError | requests.Timeout):
        return f'no connection to {urlsplit(host).hostname}'
    return f'{type(error).__name__}: {_first_line(error)}'


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
