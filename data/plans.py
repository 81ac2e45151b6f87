"""Arrays that take a while to make, such as which pieces share a row, kept on disk.

A plan is a directory of `.npy` files and a `meta.json` that tells type, shape and bytes of each,
written aside and renamed: it is there whole or not at all. One that does not fit its `meta.json` is
made again.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

META, FOLDER = 'meta.json', 'plans'
VERSION = 1  # of whatever makes plans: another packer must not find those of this one
LITTLE = 1 << 26  # bytes of an array whose checksum is looked at whenever it is read


class Plan(Mapping):
    """Arrays by name, not to be written to. Pickled, those on disk are but their path.

    Args:
      arrays: by name.
      path, key: where they are kept and what for; None: nowhere.
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], path: Path | None = None, key: str | None = None
    ):
        self._arrays, self._path, self._key = dict(arrays), path, key

    def __reduce__(self):
        if self._path is None:
            return Plan, (self._arrays,)
        return _opened, (self._path, self._key)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def planned(
    directory: str | Path | None,
    key: Mapping[str, Any],
    make: Callable[[], Mapping[str, np.ndarray]],
) -> Plan:
    """What `make` gives, by name; read from below `directory` if it was made before.

    Where it cannot be kept, as the directory is read-only or the disk full, it is made each time.

    Args:
      directory: plans are in its folder `plans`; None: nothing is kept.
      key: all that the arrays follow from, as JSON.
      make: makes the arrays.

    Returns:
      Arrays, memory-mapped where they are kept.
    """
    if directory is None:
        return Plan(make())
    written = json.dumps({**key, 'version': VERSION}, sort_keys=True)
    name = hashlib.blake2b(written.encode(), digest_size=16).hexdigest()
    path = Path(directory) / FOLDER / name
    found = _read(path, written)
    if found is not None:
        return Plan(found, path, written)
    made = make()
    try:
        _write(path, written, made)
    except OSError:
        return Plan(made)
    found = _read(path, written)
    return Plan(made) if found is None else Plan(found, path, written)


def damaged(directory: str | Path) -> list[Path]:
    """Which plans below a directory are not what was written: these may be deleted."""
    paths = sorted(p for p in (Path(directory) / FOLDER).glob('*') if not p.name.startswith('.'))
    return [path for path in paths if _read(path, None, all_of_it=True) is None]


def _opened(path: Path, key: str) -> Plan:
    found = _read(path, key)
    if found is None:
        raise OSError(f'{path} has gone, or is damaged')
    return Plan(found, path, key)


def _read(path: Path, key: str | None, all_of_it: bool = False) -> dict[str, np.ndarray] | None:
    """The arrays; None where they are not there, or not whole.

    Args:
      key: what they must be made for; None: anything.
      all_of_it: whether checksums of large arrays are looked at too.
    """
    try:
        meta = json.loads((path / META).read_text(encoding='utf-8'))
        if key is not None and meta['key'] != key:
            return None
        found = {}
        for name, told in meta['arrays'].items():
            file = path / f'{name}.npy'
            size = file.stat().st_size
            if size != told['bytes']:
                return None
            if (all_of_it or size <= LITTLE) and _checksum(file) != told['blake2b']:
                return None
            # An array without elements cannot be mapped.
            found[name] = np.load(file, mmap_mode='r' if 0 not in told['shape'] else None)
            if [str(found[name].dtype), list(found[name].shape)] != [told['dtype'], told['shape']]:
                return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None
    return found


def _checksum(file: Path) -> str:
    with file.open('rb') as opened:
        return hashlib.file_digest(opened, 'blake2b').hexdigest()


def _write(path: Path, key: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Aside, then under its name; what is already there is not whole, or the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f'.{path.name}-', dir=path.parent))
    try:
        told = {}
        for name, array in arrays.items():
            file = aside / f'{name}.npy'
            with file.open('wb') as out:
                np.save(out, np.asarray(array))
                out.flush()
                os.fsync(out.fileno())
            shape, dtype = list(np.shape(array)), str(np.asarray(array).dtype)
            told[name] = {'dtype': dtype, 'shape': shape, 'bytes': file.stat().st_size}
            told[name]['blake2b'] = _checksum(file)
        with (aside / META).open('w', encoding='utf-8') as out:
            json.dump({'key': key, 'arrays': told}, out, sort_keys=True)
            out.flush()
            os.fsync(out.fileno())
        try:
            aside.rename(path)
        except OSError:
            # Another process was first, or what is there is damaged; whole ones are alike.
            if _read(path, key) is None:
                shutil.rmtree(path, ignore_errors=True)
                aside.rename(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
