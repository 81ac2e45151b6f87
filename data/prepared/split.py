"""Preparing one split: part after part, from after the last whole one."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.columns import digest_of
from data.encoders import Encoder
from data.prepared import layout
from data.prepared.parts import PartWriter, checksum
from data.prepared.stored import StoredColumn

DONE = 'split.json'
TOLD = 64  # items between two calls of `progress`
COUNTS = ('items', 'records', 'text_bytes', 'tokens')
Progress = Callable[[Mapping[str, int]], None]


def prepare_split(
    directory: Path, encoder: Encoder, records: Sequence[Any], progress: Progress
) -> dict[str, Any]:
    """The split's entry of the manifest; what is whole already is not made again.

    Args:
      encoder: a new one.
      progress: told the items, records, bytes of text and tokens done so far, those of earlier
        attempts included.

    Raises:
      UserError: the disk is full; a record that cannot be encoded. What is whole is kept.
    """
    done = layout.read_json(directory / DONE)
    if done is not None and _whole(directory, done['files']):
        _clear_besides(directory, {*done['files'], DONE})
        return done
    try:
        directory.mkdir(parents=True, exist_ok=True)
        parts = whole_parts(directory)
        _clear(directory, parts)
    except OSError as error:
        raise layout.unwritable(directory, error) from None
    if not parts or not parts[-1]['last']:
        _encode(directory, encoder, records, parts, progress)
    return _finished(directory, encoder, parts)


def whole_parts(directory: Path) -> list[dict[str, Any]]:
    """What the sidecars of the first parts hold, up to one that is missing or lacks a file."""
    found = []
    while True:
        try:
            part = layout.read_json(directory / layout.sidecar(len(found)))
        except layout.UserError:
            part = None
        if part is None or not _whole(directory, part['files']):
            return found
        found.append(part)


def _whole(directory: Path, files: Mapping[str, Any]) -> bool:
    try:
        return all((directory / n).stat().st_size == f['bytes'] for n, f in files.items())
    except FileNotFoundError:
        return False


def _clear(directory: Path, parts: Sequence[Mapping[str, Any]]) -> None:
    """Removes what an interrupted attempt left besides the whole parts."""
    kept = {layout.sidecar(number) for number in range(len(parts))}
    kept.update(name for part in parts for name in part['files'])
    for path in directory.iterdir():
        if path.name not in kept and path.is_file():
            path.unlink()


def _encode(
    directory: Path,
    encoder: Encoder,
    records: Sequence[Any],
    parts: list[dict[str, Any]],
    progress: Progress,
) -> None:
    """Adds the missing parts to `parts`."""
    before = {name: sum(part[name] for part in parts) for name in COUNTS}
    pieces = encoder.encode(encoder.stream(records, before['items']))
    counted: dict[str, int] = {}
    writer = PartWriter(directory, len(parts), encoder.dtypes)

    def close(ending: Mapping[str, np.ndarray], last: bool) -> None:
        skipped = {k: n - counted.get(k, 0) for k, n in encoder.skipped.items()}
        parts.append(writer.close(ending, {k: n for k, n in skipped.items() if n}, last))
        counted.update(encoder.skipped)

    def tell() -> None:
        now = writer.counts()
        progress({name: before[name] + now[name] for name in before})

    try:
        tell()
        for n, piece in enumerate(pieces, 1):
            writer.add(piece)
            if n % TOLD == 0:
                tell()
            # Before the next piece is asked for: what the encoder has counted belongs to these.
            if writer.full:
                close({}, last=False)
                before = {name: before[name] + count for name, count in writer.counts().items()}
                writer = PartWriter(directory, len(parts), encoder.dtypes)
        close(encoder.ending, last=True)
        tell()
    finally:
        writer.abandon()
        if hasattr(pieces, 'close'):
            pieces.close()


def _finished(
    directory: Path, encoder: Encoder, parts: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The starts of all parts together, and the entry, which says that the split is whole."""
    columns, files = {}, {}
    for part in parts:
        files |= {n: f for n, f in part['files'].items() if not n.endswith('.starts')}
    for name, dtype in encoder.dtypes.items():
        sizes = [part['sizes'][name] for part in parts]
        size = sum(sizes) - len(encoder.ending.get(name, ()))
        path = directory / layout.starts(name)
        try:
            _write_starts(path, directory, name, sizes, size)
            files[path.name] = {'bytes': path.stat().st_size, 'blake2b': checksum(path)}
        except OSError as error:
            raise layout.unwritable(path, error) from None
        # Read back from the files, whose own checksums are looked at here.
        digest = digest_of(StoredColumn(directory, name, dtype, sizes, ''))
        columns[name] = {'dtype': np.dtype(dtype).str, 'sizes': sizes, 'digest': digest}
    skipped: dict[str, int] = {}
    for part in parts:
        for reason, count in part['skipped'].items():
            skipped[reason] = skipped.get(reason, 0) + count
    entry = {
        'records': sum(part['records'] for part in parts),
        'text_bytes': sum(part['text_bytes'] for part in parts),
        'skipped': skipped,
        'marked': encoder.marked,
        'columns': columns,
        'files': files,
    }
    layout.write_json(directory / DONE, entry)
    _clear_besides(directory, {*files, DONE})
    return entry


def _write_starts(path: Path, directory: Path, name: str, sizes: Sequence[int], last: int) -> None:
    """Those of each part, from where the part begins, and where the last array ends."""
    new = path.with_name(f'{path.name}.new')
    shards = [directory / layout.shard_starts(name, part) for part in range(len(sizes))]
    count = sum(shard.stat().st_size for shard in shards) // 8 + 1
    with new.open('wb') as file:
        header = {'descr': '<i8', 'fortran_order': False, 'shape': (count,)}
        np.lib.format.write_array_header_1_0(file, header)
        begin = 0
        for shard, size in zip(shards, sizes):
            (np.fromfile(shard, '<i8') + begin).tofile(file)
            begin += size
        np.array([last], '<i8').tofile(file)
    layout.synced(new)
    new.replace(path)


def _clear_besides(directory: Path, kept: set[str]) -> None:
    for path in directory.iterdir():
        if path.name not in kept and re.search(r'\.(starts|json)$', path.name):
            path.unlink(missing_ok=True)
