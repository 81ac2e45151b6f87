"""The prepared data of one source: made when they are missing, opened, verified."""

import contextlib
import functools
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data import plans
from data.columns import Examples
from data.encoders import Encoder
from data.prepared import layout
from data.prepared.parts import checksum
from data.prepared.recipe import Recipe, files_of
from data.prepared.split import prepare_split
from data.prepared.stored import StoredColumn
from transformer.errors import UserError

LITTLE = 1 << 26  # bytes of starts whose checksum is looked at whenever they are opened


def manifest(root: Path, source: str) -> dict[str, Any] | None:
    """None where nothing is whole yet.

    Raises:
      UserError: it is damaged, or of another version.
    """
    path = layout.source_directory(root, source) / layout.MANIFEST
    found = layout.read_json(path)
    if found is None:
        return None
    if not isinstance(found, dict) or found.get('format') != layout.FORMAT:
        version = found.get('format') if isinstance(found, dict) else None
        raise UserError(
            f'{path} has format {version!r}; accepted: {layout.FORMAT}; `{layout.AGAIN}` makes the '
            'data anew'
        )
    return found


def check(root: Path, source: str, recipe: Recipe) -> bool:
    """Whether the data are whole and made of this recipe.

    Raises:
      UserError: they are made of another one, also where they are whole only in part.
    """
    home = layout.source_directory(root, source)
    found = manifest(root, source)
    if found is not None:
        _refuse(home, recipe.changes(found['recipe']), 'were')
        return True
    begun = _begun(home, 0)
    if begun is not None:
        saved = layout.read_json(begun / layout.RECIPE)
        _refuse(home, recipe.changes(saved) if saved else [], 'are in part')
    return False


def _refuse(home: Path, changes: list[str], were: str) -> None:
    if changes:
        raise UserError(
            f'the data in {home} {were} prepared from something else: {"; ".join(changes)}. '
            f'Accepted: what they were made of; another directory for config.data.prepared; or '
            f'`{layout.AGAIN}`, which makes them anew'
        )


def prepare(
    root: Path,
    source: str,
    recipe: Recipe,
    corpus: Any,
    encoder: Callable[[], Encoder],
    *,
    replace: bool = False,
    progress: Callable[[str, Mapping[str, int]], None] = lambda split, counts: None,
) -> bool:
    """Makes the data of a source, or what is missing of them; the caller has the lock.

    Args:
      encoder: makes one for each split.
      replace: makes all anew; the old data stay until the new ones are whole.
      progress: told the split, and as of `prepare_split`.

    Returns:
      Whether anything was to be done.

    Raises:
      UserError: as of `check`, without `replace`; a disk that is full; records that cannot be
        encoded; files of the source that change meanwhile.
    """
    home = layout.source_directory(root, source)
    if not replace and check(root, source, recipe):
        return False
    old = 0
    if (home / layout.MANIFEST).exists():
        with contextlib.suppress(UserError):  # a damaged one is replaced
            old = int((manifest(root, source) or {}).get('directory', 0))
        old = old or max(_numbers(home), default=0)
    directory, made_of = _begun(home, old), None
    if directory is not None:
        with contextlib.suppress(UserError):
            made_of = layout.read_json(directory / layout.RECIPE)
    if made_of is None or recipe.changes(made_of):
        made_of = recipe.to_json()
        directory = home / str(max([old, *_numbers(home)]) + 1)
        layout.write_json(directory / layout.RECIPE, made_of)
    splits = {}
    for split in layout.SPLITS:
        records = getattr(corpus, split)
        if records is None:
            continue
        told = functools.partial(progress, split)
        splits[split] = prepare_split(directory / split, encoder(), records, told)
    _refuse_moving(recipe, corpus)
    values = {
        'format': layout.FORMAT,
        'directory': directory.name,
        'name': corpus.name,
        'recipe': made_of,
        'skipped': dict(corpus.skipped),
        'splits': splits,
        'versions': _versions(),
    }
    layout.write_json(home / layout.MANIFEST, values)
    if replace:  # of other data; where they are the same they are soon made again
        shutil.rmtree(home / plans.FOLDER, ignore_errors=True)
    for number in _numbers(home):
        if str(number) != directory.name:
            shutil.rmtree(home / str(number), ignore_errors=True)
    return True


def _numbers(home: Path) -> list[int]:
    if not home.is_dir():
        return []
    return sorted(int(p.name) for p in home.iterdir() if re.fullmatch(r'[1-9]\d*', p.name))


def _begun(home: Path, after: int) -> Path | None:
    """The directory of an attempt that was interrupted."""
    later = [number for number in _numbers(home) if number > after]
    return home / str(later[-1]) if later else None


def _refuse_moving(recipe: Recipe, corpus: Any) -> None:
    before = {file.name: (file.size, str(file.modified)) for file in recipe.files}
    after = {file.name: (file.size, str(file.modified)) for file in files_of(corpus)}
    moved = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    if moved:
        raise UserError(
            f'{", ".join(moved)} changed while {corpus.name} was being prepared; '
            f'`{layout.AGAIN}` makes the data anew'
        )


def _versions() -> dict[str, str]:
    import importlib.metadata

    found = {}
    for name in ('array_record', 'numpy', 'tokenizers'):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def open_split(root: Path, source: str, split: str) -> Examples:
    """What was prepared: nothing is read but the manifest and the sizes of files.

    Raises:
      UserError: nothing was prepared; a file is missing, or has another size than it had.
    """
    directory, entry = _entry(root, source, split)
    for name, file in entry['files'].items():
        path = directory / name
        try:
            size = path.stat().st_size
        except OSError as error:
            raise layout.damaged(path, error.strerror or error) from None
        if size != file['bytes']:
            raise layout.damaged(path, f'it has {size:,} bytes, not {file["bytes"]:,}')
        # Integers have checksums of their own, chunk by chunk; starts are read without.
        if name.endswith('.npy') and size <= LITTLE and checksum(path) != file['blake2b']:
            raise layout.damaged(path, 'its checksum is another')
    columns = {
        name: StoredColumn(directory, name, np.dtype(c['dtype']), c['sizes'], c['digest'])
        for name, c in entry['columns'].items()
    }
    return Examples(columns, entry['text_bytes'], entry['marked'], entry['skipped'])


def _entry(root: Path, source: str, split: str) -> tuple[Path, Mapping[str, Any]]:
    home = layout.source_directory(root, source)
    found = manifest(root, source)
    if found is None:
        raise UserError(f'{home} holds no prepared data; `{layout.AGAIN}` makes them')
    if split not in found['splits']:
        known = ', '.join(found['splits'])
        raise UserError(f'{home} has no split {split!r}; it has: {known}')
    return home / found['directory'] / split, found['splits'][split]


def verify(root: Path, source: str, progress: Callable[[int], None] = lambda size: None) -> int:
    """Reads all files against their checksums; how many bytes there are.

    Raises:
      UserError: the first file that differs.
    """
    total = 0
    found = manifest(root, source)
    for split in found['splits'] if found else ('train',):
        directory, entry = _entry(root, source, split)
        for name, file in entry['files'].items():
            path = directory / name
            try:
                same = checksum(path) == file['blake2b']
            except OSError as error:
                raise layout.damaged(path, error.strerror or error) from None
            if not same:
                raise layout.damaged(path, 'its checksum is another')
            total += file['bytes']
            progress(file['bytes'])
    for plan in plans.damaged(layout.source_directory(root, source)):
        raise UserError(f'{plan} is not what was written there; delete it, and it is made again')
    return total
