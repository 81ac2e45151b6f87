"""Data sets of TFDS, ours or its own, read without TensorFlow."""

from collections.abc import Sequence
from typing import Any

from transformer.errors import ConfigError, UserError
from transformer.experiment import DataConfig


def prepared(config: DataConfig) -> Any:
    """The TFDS builder of `config.dataset`, its files made.

    Raises:
      ConfigError: no data set of that name.
      UserError: it cannot be made here.
    """
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
    return builder


def records(builder: Any, config: DataConfig, field: str) -> Sequence[dict]:
    """The records of the split that the config's `field` names.

    Raises:
      ConfigError: there is no such split, or it is empty.
    """
    split = getattr(config, field)
    try:
        found = builder.as_data_source(split=split)
    except Exception as error:  # an unknown split: AssertionError, KeyError or ValueError
        known = ', '.join(builder.info.splits)
        accepted = f'splits of {config.dataset}: {known} ({_first_line(error)})'
        raise ConfigError(f'data.{field}', split, accepted) from None
    if not len(found):
        raise ConfigError(f'data.{field}', split, f'a split of {config.dataset} with records')
    return found


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
