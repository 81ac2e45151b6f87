"""Batches for an objective, by Grain. The rows of step n are a function of (seed, n) alone."""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import grain
import jax
import numpy as np

from data import objectives
from data.rows import Row, Rows, Split
from data.sources import Corpus
from transformer.errors import UserError

__all__ = ['Feed', 'Rows', 'Split', 'eval_batches', 'load', 'load_split', 'train_batches']

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Feed:
    """A corpus made ready for one objective.

    Attributes:
      name: where it comes from.
      test: None where the corpus has no such split.
      digest: of what is trained on: changes with text, tokenizer and order.
      summary: sizes, for the terminal.
      classes: names of the classes or tags, by index.
    """

    name: str
    train: Split
    validation: Split
    test: Split | None
    digest: str
    summary: str
    classes: tuple[str, ...]


def load(experiment: Any, corpus: Corpus, tokenizer: Any) -> Feed:
    """The corpus, made ready for `experiment.objective`.

    Args:
      tokenizer: None for images.

    Raises:
      ConfigError: rows too short for the objective; a tokenizer without what it needs.
      UserError: a split with nothing to learn from; text that the tokenizer cannot encode.
    """
    splits = {
        name: load_split(experiment, corpus, tokenizer, name)
        for name in ('train', 'validation', 'test')
        if getattr(corpus, name) is not None
    }
    return Feed(
        name=corpus.name,
        train=splits['train'],
        validation=splits['validation'],
        test=splits.get('test'),
        digest=_digest(splits['train'].rows, corpus.classes),
        summary='; '.join(f'{name} {split.rows.size()}' for name, split in splits.items()),
        classes=corpus.classes,
    )


def _digest(rows: Rows, classes: tuple[str, ...]) -> str:
    if not classes:
        return rows.digest()
    named = '\0'.join([rows.digest(), *classes])  # other names for the same classes count
    return hashlib.blake2b(named.encode(), digest_size=16).hexdigest()


def load_split(experiment: Any, corpus: Corpus, tokenizer: Any, name: str) -> Split:
    """One split alone, 'train', 'validation' or 'test'; errors as of `load`."""
    records = getattr(corpus, name)
    if records is None:
        raise UserError(f'{corpus.name} has no {name} split; config.data.{name}_split names one')
    split = objectives.SPLITS[experiment.objective.kind](experiment, records, tokenizer)
    if not len(split.rows):
        part = 'training' if name == 'train' else name
        raise UserError(
            f'the {part} split of {corpus.name} has {split.rows.size()}; '
            f'at least {split.rows.NEEDS} needed'
        )
    return split


def train_rows(rows: Rows, seed: int) -> grain.MapDataset:
    """An endless data set of rows by index: all rows once an epoch, in a new order each."""
    count = rows.drawn
    order = grain.MapDataset.range(count).seed(seed).shuffle().repeat()
    return order.map_with_index(lambda index, place: rows.draw(int(place), index // count, seed))


def train_batches(
    split: Split, *, batch_size: int, accumulation: int, seed: int, first: int, prefetch: int
) -> Iterator[Batch]:
    """This process's part of batch `first`, `first` + 1, ... without end: arrays [A, B, ...].

    Process p of P holds rows p * B / P to (p + 1) * B / P of the batch.
    """
    processes, process = jax.process_count(), jax.process_index()
    local = batch_size // processes
    batches = train_rows(split.rows, seed).batch(local)[process::processes]
    shape = (accumulation, local // accumulation)
    batches = batches.map(
        lambda batch: {k: v.reshape(shape + v.shape[1:]) for k, v in batch.items()}
    )
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=prefetch)
    iterator = iter(batches.to_iter_dataset(options))
    iterator.set_state({'next_index': first})
    return iterator


def eval_batches(split: Split, *, batch_size: int) -> Iterator[Batch]:
    """This process's part of a pass over the split, each row once: arrays [1, B, ...].

    The last rows are padding with weight 0.
    """
    processes, process = jax.process_count(), jax.process_index()
    local = batch_size // processes
    blank = {k: np.zeros_like(v) for k, v in split.rows.at(0).items()}

    def row(place: int) -> Row:
        return split.rows.at(place) if place < len(split.rows) else blank

    for n in range(-(-len(split.rows) // batch_size)):
        first = n * batch_size + process * local
        rows = [row(place) for place in range(first, first + local)]
        yield {k: np.stack([row[k] for row in rows])[None] for k in blank}
