"""Opens a prepared set of ten billion tokens whose files are sparse; prints seconds and MiB."""

import json
import os
import sys
import time
import types
from pathlib import Path

import numpy as np

from data import feed, prepared
from data.prepared import layout
from data.sources import Corpus
from data.tokenizers import Bytes
from transformer.data_config import DataConfig
from transformer.objectives import NextToken

TOKENS, DOCUMENTS = 10_000_000_000, 12_000_000


def make(root: Path) -> None:
    directory = root / 'data' / '1' / 'train'
    directory.mkdir(parents=True)
    sizes = [layout.PART] * (TOKENS // layout.PART)
    sizes.append(TOKENS - sum(sizes))
    files = {}
    for part, size in enumerate(sizes):
        name = layout.shard('tokens', part)
        files[name] = {'bytes': 2 * size, 'blake2b': ''}
        with (directory / name).open('wb') as file:
            os.truncate(file.fileno(), 2 * size)
    path = directory / layout.starts('tokens')
    starts = np.lib.format.open_memmap(path, 'w+', '<i8', (DOCUMENTS + 1,))
    starts[-1] = TOKENS
    starts.flush()
    files[path.name] = {'bytes': path.stat().st_size, 'blake2b': ''}
    columns = {'tokens': {'dtype': '<u2', 'sizes': sizes, 'digest': ''}}
    split = {'records': DOCUMENTS, 'text_bytes': 0, 'skipped': {}, 'marked': True}
    split |= {'columns': columns, 'files': files}
    values = {'format': layout.FORMAT, 'directory': '1', 'splits': {'train': split}, 'recipe': {}}
    (root / 'data' / layout.MANIFEST).write_text(json.dumps(values))


def resident() -> float:
    return int(Path('/proc/self/statm').read_text().split()[1]) * 4096 / 2**20


def opened(root: Path) -> feed.Feed:
    """Made ready for the next token, up to the first row."""
    examples = prepared.open(root, '', 'train')
    assert examples['tokens'].size == TOKENS
    assert len(examples) == DOCUMENTS
    experiment = types.SimpleNamespace(objective=NextToken(), context=1024, data=DataConfig())
    vars(experiment).update(seed=0, steps=1, batch_size=1)
    splits = {'train': examples, 'validation': examples}
    made = feed.load(experiment, Corpus('sparse', [], []), Bytes(), {'': splits})
    made.order.at(10**9)
    made.train.rows._layout.draw(10**6, 1, 0)
    return made


if __name__ == '__main__':
    make(Path(sys.argv[1]))
    before, began = resident(), time.monotonic()
    opened(Path(sys.argv[1]))
    print(time.monotonic() - began, resident() - before)
