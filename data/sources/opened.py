"""Tables by split, whatever `config.data` names: files, a TFDS or a Hugging Face data set."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data.sources import find, hub, options, records, tables, tfds
from data.sources.corpus import Corpus
from data.sources.origin import SourceFile
from data.sources.tables import Table
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Opened:
    """Attributes:

    name: what messages call it.
    config: what it was opened by.
    way: what `options` call where it comes from.
    tables: by split, 'train' always.
    origin: the files that the records come from.
    names: of the classes of a field, () where the data set does not say.
    """

    name: str
    config: SourceConfig
    way: str
    tables: Mapping[str, Table]
    origin: tuple[SourceFile, ...] = ()
    names: Callable[[str], tuple[str, ...]] = lambda field: ()

    @property
    def fields(self) -> tuple[str, ...] | None:
        """Of the training split; None where each record has its own."""
        return self.tables['train'].fields

    def need(self, setting: str, field: str) -> None:
        """Refuses splits without a field; errors as of `records.need`."""
        for table in self.tables.values():
            records.need(table, setting, field, self.name)

    def sides(
        self, fields: tuple[str, ...], pick: Callable[[Any], Any], skipped: dict[str, int]
    ) -> dict[str, Any]:
        """Records by split, made of `fields`."""
        chosen = {split: table.select(fields) for split, table in self.tables.items()}
        return records.sides(chosen, pick, self.config, self.name, skipped)

    def corpus(self, fields: tuple[str, ...], pick: Callable[[Any], Any]) -> Corpus:
        """All splits, with no classes."""
        skipped: dict[str, int] = {}
        made = self.sides(fields, pick, skipped)
        return Corpus(self.name, **made, skipped=skipped, origin=self.origin)


def open_tables(config: SourceConfig, kind: str) -> Opened | find.Found:
    """The tables; or the files, where these are text.

    Args:
      kind: of the records that are wanted, as of `options.RECORDS`.

    Raises:
      ConfigError: no such file, data set, format or split; a field of the config that is not read.
      UserError: what cannot be read, or not be had here.
    """
    found = _open(config)
    if isinstance(found, Opened):
        options.refuse_unread(config, kind, found.way, 'validation' in found.tables)
    return found


def _open(config: SourceConfig) -> Opened | find.Found:
    kind = config.format
    if kind == 'classes':
        accepted = 'another: only texts, pairs and texts with a class come from a file a class'
        raise ConfigError('data.format', kind, accepted)
    folder = Path(config.path or config.dataset).expanduser()
    if kind == 'hf' or (kind == 'auto' and config.path and hub.is_saved(folder)):
        way = 'a folder of Hugging Face' if config.path else 'hf'
        return Opened(config.path or config.dataset, config, way, *hub.load(config))
    directory = tfds.directory(folder) if kind in ('auto', 'tfds') else None
    if directory is not None or not config.path:
        if kind not in ('auto', 'tfds'):
            raise ConfigError('data.path', config.path, f'files of the format {kind}')
        return _tfds(config, directory)
    if kind == 'tfds':
        accepted = 'a folder that TFDS made: with features.json and dataset_info.json'
        raise ConfigError('data.path', config.path, accepted)
    found = find.files(config)
    kind, found = find.format_of(config, found)
    if kind == 'text':
        return found
    parts = find.by_split(config, found)
    if parts is None:
        parts = {'train': [file for file, _ in found]}
    origin = tuple(file for files in parts.values() for file in files)
    made = {split: tables.of_files(files, kind, config) for split, files in parts.items()}
    return Opened(find.named(config, origin), config, kind, made, origin)


def _tfds(config: SourceConfig, directory: Path | None) -> Opened:
    builder = tfds.prepared(config, directory)
    return Opened(
        f'{builder.info.name} ({builder.data_dir})',
        config,
        tfds.way(directory),
        tfds.splits(builder, config),
        tfds.origin(builder),
        lambda field: tfds.names(builder, field),
    )
