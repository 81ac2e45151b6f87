"""The hash of a run's batches: `python -m tests.same_batches FIRST COUNT WORKERS` prints it.

The stream of two sources, in every objective's shape that draws at random; fixed for all machines.
"""

import hashlib
import itertools
import sys
import types
from collections.abc import Iterable

import numpy as np

from data import feed, tokenizers
from data.sources import Corpus
from transformer.data_config import DataConfig
from transformer.objectives import OBJECTIVES

BATCH = 16


def corpus(seed: int, documents: int) -> Corpus:
    rng = np.random.default_rng(seed)
    texts = [
        ''.join(map(chr, rng.integers(97, 123, int(rng.integers(1, 400)))))
        for _ in range(documents)
    ]
    return Corpus(f'corpus {seed}', texts, texts[:3])


def made(kind: str = 'next_token', packing: str = 'concat') -> feed.Feed:
    objective = OBJECTIVES[kind]()
    data = DataConfig(mixture={'a': {'weight': 1.0}, 'b': {'weight': 2.5}}, packing=packing)
    experiment = types.SimpleNamespace(objective=objective, context=32, target_context=0)
    vars(experiment).update(data=data, seed=3, batch_size=BATCH, steps=10)
    tokenizer = tokenizers.Bytes(objective.special_tokens)
    return feed.load(experiment, {'a': corpus(0, 300), 'b': corpus(1, 200)}, tokenizer)


def batches(found: feed.Feed, first: int, count: int, **options) -> list[dict]:
    options = {'batch_size': BATCH, 'accumulation': 1, 'prefetch': 4} | options
    iterator = feed.train_batches(found, first=first, **options)
    try:
        # Copied, as those of workers lie in shared memory, each with an open file.
        return [
            {k: v.copy() for k, v in batch.items()} for batch in itertools.islice(iterator, count)
        ]
    finally:
        iterator.close()


def digest(found: Iterable[dict]) -> str:
    made = hashlib.blake2b(digest_size=8)
    for batch in found:
        for name in sorted(batch):
            made.update(f'{name} {batch[name].dtype} {batch[name].shape}'.encode())
            made.update(np.ascontiguousarray(batch[name]))
    return made.hexdigest()


if __name__ == '__main__':  # workers import this file again
    first, count, workers = map(int, sys.argv[1:])
    print(digest(batches(made(), first, count, workers=workers)))
