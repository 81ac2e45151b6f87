"""Batches by Grain. Which rows make up step n is a function of (seed, n) alone."""

from collections.abc import Iterator

import grain
import jax
import numpy as np

from data.packing import TokenStream
from transformer.errors import UserError

Batch = dict[str, np.ndarray]


def check(train: TokenStream, validation: TokenStream, name: str) -> None:
    """Raises a `UserError` where a split has nothing to predict."""
    for split, stream in (('training', train), ('validation', validation)):
        if stream.predicted < 1:
            raise UserError(
                f'the {split} split of {name} has {len(stream.tokens)} tokens; 2 are needed'
            )


def train_rows(stream: TokenStream, context: int, seed: int) -> grain.MapDataset:
    """An endless data set of rows by index: every token once an epoch, in a new order each.

    The rows of an epoch are cut at multiples of `context` from an offset of its own, so that no two
    epochs show the same rows, and both the order and the offset are computed from (seed, epoch).
    """
    count = max(1, len(stream.tokens) // context)

    def row(index: int, place: int) -> Batch:
        offset = np.random.default_rng([seed, index // count]).integers(context)
        return stream.row(int(offset) + place * context, context, wrap=True)

    order = grain.MapDataset.range(count).seed(seed).shuffle().repeat()
    return order.map_with_index(row)


def train_batches(
    stream: TokenStream,
    *,
    context: int,
    batch_size: int,
    accumulation: int,
    seed: int,
    first: int,
    prefetch: int,
) -> Iterator[Batch]:
    """This process's part of batch `first`, `first` + 1, ... without end: arrays [A, B, T].

    Process p of P holds rows p * B / P to (p + 1) * B / P of the batch.
    """
    processes, process = jax.process_count(), jax.process_index()
    local = batch_size // processes
    batches = train_rows(stream, context, seed).batch(local)[process::processes]
    shape = (accumulation, local // accumulation, context)
    batches = batches.map(lambda batch: {k: v.reshape(shape) for k, v in batch.items()})
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=prefetch)
    iterator = iter(batches.to_iter_dataset(options))
    iterator.set_state({'next_index': first})
    return iterator


def eval_batches(stream: TokenStream, *, context: int, batch_size: int) -> Iterator[Batch]:
    """This process's part of a pass over the stream, each token once: arrays [1, B, T].

    The last rows are padding with weight 0.
    """
    processes, process = jax.process_count(), jax.process_index()
    local = batch_size // processes
    targets = max(1, len(stream.tokens) - 1)
    batches = -(-targets // (context * batch_size))
    for n in range(batches):
        first = n * batch_size + process * local
        rows = [stream.row(r * context, context, wrap=False) for r in range(first, first + local)]
        yield {k: np.stack([row[k] for row in rows])[None] for k in rows[0]}
