"""Documents: files of text, or a text field of the records of anything else."""

import functools
from collections.abc import Sequence
from typing import Any

from data.sources import classes, find, options, records, splits, tables
from data.sources.corpus import Corpus
from data.sources.opened import Opened, open_tables
from data.sources.origin import SourceFile
from data.sources.text_files import Cut, Half, TextFiles
from transformer.data_config import SourceConfig


def load(config: SourceConfig, objective: Any) -> Corpus:
    """A corpus of strings."""
    del objective
    if config.format == classes.FORMAT:
        return classes.texts(config)
    found = open_tables(config, 'text')
    if isinstance(found, Opened):
        found.need('data.text_field', config.text_field)
        pick = functools.partial(
            records.string, field=config.text_field, errors=config.encoding_errors
        )
        return found.corpus((config.text_field,), pick)
    name = find.named(config, [file for file, _ in found])
    parts = find.by_split(config, found)
    single = parts is None and len(found) == 1 and config.documents == 'file'
    way = 'one text file' if single else 'text files'
    options.refuse_unread(config, 'text', way, 'validation' in (parts or {}))
    if config.documents != 'file':
        return _cut_up(config, found, parts, name)
    skipped: dict[str, int] = {}
    origin = tuple(file for file, _ in found)
    if single:
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
    held = splits.held_out(files.found, config, name)
    kept = sorted(set(range(files.found)) - set(held.tolist()))
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
