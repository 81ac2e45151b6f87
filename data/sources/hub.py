"""Data sets of Hugging Face `datasets`: of the hub, or as `save_to_disk` leaves them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from data.sources.origin import Fingerprint
from data.sources.tables.base import Table
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError

Loaded = tuple[dict[str, Table], tuple[Fingerprint, ...], Callable[[str], tuple[str, ...]]]
SPLITS = ('train', 'validation', 'test')


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` made this folder."""
    return (folder / 'state.json').exists() or (folder / 'dataset_dict.json').exists()


def load(config: SourceConfig) -> Loaded:
    """Tables by split, what tells whether they changed, and the names of a field's classes.

    `config.dataset` is NAME or NAME:CONFIG. Without a validation split a share is held out, if the
    config names the usual one.

    Raises:
      ConfigError: no such data set or split.
      UserError: `datasets` is missing, or the data set cannot be had.
    """
    try:
        import datasets
    except ImportError:
        raise UserError(
            "config.data.format='hf' needs Hugging Face datasets: pip install -e '.[datasets]'"
        ) from None
    where = config.path or config.dataset
    try:
        if config.path:
            found = datasets.load_from_disk(str(Path(config.path).expanduser()))
        else:
            name, _, setting = config.dataset.partition(':')
            quick = datasets.DownloadConfig(max_retries=1)
            cache = config.directory or None
            found = datasets.load_dataset(
                name, setting or None, cache_dir=cache, download_config=quick
            )
    except Exception as error:  # of datasets, huggingface_hub, httpx, pyarrow
        first = (str(error).strip().splitlines() or [''])[0]
        why = f'{type(error).__name__}: {first}'
        field = 'path' if config.path else 'dataset'
        accepted = f'a data set that Hugging Face datasets can load here ({why})'
        raise ConfigError(f'data.{field}', where, accepted) from None
    if isinstance(found, datasets.Dataset):
        found = {config.train_split: found}
    parts = _splits(config, found, where)
    tables = {split: Dataset(part, f'{where}, {split}') for split, part in parts.items()}
    prints = tuple(
        Fingerprint(f'{where}, {split}', len(part), part._fingerprint)
        for split, part in parts.items()
    )

    def names(field: str) -> tuple[str, ...]:
        feature = parts['train'].features.get(field)
        return tuple(getattr(getattr(feature, 'feature', feature), 'names', None) or ())

    return tables, prints, names


def _splits(config: SourceConfig, found: Any, where: str) -> dict[str, Any]:
    parts = {}
    for split in SPLITS:
        name = getattr(config, f'{split}_split')
        if name in found:
            parts[split] = found[name]
        elif name and (split != 'validation' or name != SourceConfig.validation_split):
            accepted = f'splits of {where}: {", ".join(found)}'
            raise ConfigError(f'data.{split}_split', name, accepted)
    return parts


class Dataset(Table):
    """A split as a table."""

    def __init__(self, split: Any, name: str):
        self._split, self.name = split, name
        self.fields = tuple(split.column_names)

    def __len__(self) -> int:
        return len(self._split)

    def fetch(self, index: int) -> dict[str, Any]:
        return self._split[index]

    def raw(self) -> Any:
        return iter(self._split)

    def select(self, fields: Sequence[str]) -> 'Dataset':
        return Dataset(
            self._split.select_columns([f for f in self.fields if f in fields]), self.name
        )
