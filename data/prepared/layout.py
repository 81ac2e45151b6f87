"""Where prepared data lie, and how files come to be there whole.

    ROOT/tokenizer.json
    ROOT/SOURCE/manifest.json
    ROOT/SOURCE/1/recipe.json
    ROOT/SOURCE/1/train/tokens-00000.array_record ...
    ROOT/SOURCE/1/train/tokens.starts.npy

The numbered directory is the one that the manifest names: data that are made anew get the next
number, and take the place of the old ones when the manifest does. A *part* is the files of all
columns with the same number. A record of an `array_record` file is a chunk of `CHUNK` integers,
little-endian; the last one of a part may be shorter.
"""

import json
import os
from pathlib import Path
from typing import Any

from transformer.errors import UserError
from transformer.workdir import write_atomically

FORMAT = 1
CHUNK = 8192  # integers in a record
PART = 1 << 26  # numbers, starts included, after which a part is closed: a minute of work or less
ALONE = 'data'  # directory of a source without a name
SPLITS = ('train', 'validation', 'test')
MANIFEST, RECIPE, LOCK = 'manifest.json', 'recipe.json', '.lock'
TEXTS = ('tokens', 'source', 'target')  # columns whose integers are tokens
AGAIN = 'python -m data.prepare --config=... --replace'


def source_directory(root: Path, source: str) -> Path:
    return Path(root) / (source or ALONE)


def shard(column: str, part: int) -> str:
    return f'{column}-{part:05d}.array_record'


def shard_starts(column: str, part: int) -> str:
    """Starts of one part, counted from its beginning; they go when those of the split are made."""
    return f'{column}-{part:05d}.starts'


def starts(column: str) -> str:
    return f'{column}.starts.npy'


def sidecar(part: int) -> str:
    """What a part holds, written when its files are whole."""
    return f'part-{part:05d}.json'


def synced(path: Path) -> None:
    """Waits until a file, or the names in a directory, are on the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_json(path: Path, values: Any) -> None:
    """Replaces a file as a whole, and its name is on the disk too.

    Raises:
      UserError: it cannot be written; nothing has changed then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(values, indent=1) + '\n')
        synced(path.parent)
    except OSError as error:
        raise unwritable(path, error) from None


def read_json(path: Path) -> Any:
    """None where there is no such file.

    Raises:
      UserError: the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, why: Any) -> UserError:
    return UserError(f'{path} is damaged: {why}; `{AGAIN}` makes the data anew')


def unwritable(path: Path, error: Exception) -> UserError:
    """Whatever hinders writing; what is whole stays so."""
    why = getattr(error, 'strerror', None) or error
    return UserError(
        f'cannot write {path}: {why}; what was prepared so far is kept, and the same command goes '
        "on after it. Accepted for config.data.prepared: a directory with room, or 'memory'"
    )
