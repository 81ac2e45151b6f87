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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

META = 'meta.json'


def planned(
    directory: str | Path | None,
    key: Mapping[str, Any],
    make: Callable[[], Mapping[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """What `make` gives, by name; read from below `directory` if it was made before.

    Args:
      directory: plans are in its folder `plans`; None: nothing is kept.
      key: all that the arrays follow from, as JSON.
      make: makes the arrays.

    Returns:
      Arrays, memory-mapped and not to be written to where they are kept.
    """
    if directory is None:
        return dict(make())
    written = json.dumps(key, sort_keys=True)
    name = hashlib.blake2b(written.encode(), digest_size=16).hexdigest()
    path = Path(directory) / 'plans' / name
    found = _read(path, written)
    if found is None:
        _write(path, written, make())
        found = _read(path, written)
    if found is None:
        raise OSError(f'{path} cannot be read back')
    return found


def _read(path: Path, key: str) -> dict[str, np.ndarray] | None:
    """The arrays; None where they are not there, or not whole."""
    try:
        meta = json.loads((path / META).read_text(encoding='utf-8'))
        if meta['key'] != key:
            return None
        found = {}
        for name, told in meta['arrays'].items():
            file = path / f'{name}.npy'
            if file.stat().st_size != told['bytes']:
                return None
            # An array without elements cannot be mapped.
            found[name] = np.load(file, mmap_mode='r' if 0 not in told['shape'] else None)
            if [str(found[name].dtype), list(found[name].shape)] != [told['dtype'], told['shape']]:
                return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None
    return found


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
