"""Documents: files of text, or a text field of the records of anything else."""

import functools
from collections.abc import Sequence
from typing import Any

from data.sources import find, records, splits, tables
from data.sources.corpus import Corpus
from data.sources.files import no_test_split
from data.sources.opened import Opened, open_tables
from data.sources.origin import SourceFile
from data.sources.text_files import Cut, Half, TextFiles
from transformer.data_config import SourceConfig
from transformer.errors import UserError


def load(config: SourceConfig, objective: Any) -> Corpus:
    """A corpus of strings."""
    del objective
    found = open_tables(config)
    if isinstance(found, Opened):
        found.need('data.text_field', config.text_field)
        pick = functools.partial(records.string, field=config.text_field)
        return found.corpus((config.text_field,), pick)
    name = find.named(config, [file for file, _ in found])
    parts = find.by_split(config, found)
    if config.documents != 'file':
        return _cut_up(config, found, parts, name)
    skipped: dict[str, int] = {}
    origin = tuple(file for file, _ in found)
    if parts is None and len(found) == 1:
        no_test_split(config, 'a text file has its beginning to train and its end to validate on')
        cut = Cut(origin[0], config)
        return Corpus(name, Half(cut, False), Half(cut, True), origin=origin)
    made = {
        split: TextFiles(files, config, skipped)
        for split, files in (parts or {'train': origin}).items()
    }
    if 'validation' not in made:
        whole = made['train']
        made |= _held_out(whole, config, name)
    origin = tuple(file for files in (parts or {'': origin}).values() for file in files)
    return Corpus(name, **made, skipped=skipped, origin=origin)


def _held_out(files: TextFiles, config: SourceConfig, name: str) -> dict[str, TextFiles]:
    if not len(files):
        raise UserError(f'{name} has no files of text')
    held = splits.held_out(len(files), config, name)
    kept = sorted(set(range(len(files))) - set(held.tolist()))
    return {'train': files.choose(kept), 'validation': files.choose(held.tolist())}


def _cut_up(
    config: SourceConfig,
    found: find.Found,
    parts: dict[str, list[SourceFile]] | None,
    name: str,
) -> Corpus:
    """Lines or paragraphs."""
    parts = parts or {'train': [file for file, _ in found]}
    skipped: dict[str, int] = {}
    made: dict[str, Sequence[str]] = records.sides(
        {split: tables.of_text(files, config) for split, files in parts.items()},
        str,
        config,
        name,
        skipped,
    )
    origin = tuple(file for files in parts.values() for file in files)
    return Corpus(name, **made, skipped=skipped, origin=origin)
