"""Batches for an objective, by Grain. The rows of step n are a function of (seed, n) alone."""

import dataclasses
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import absl.flags
import grain
import numpy as np

from data import encoders, objectives
from data.columns import Examples
from data.mixture import Stream, join
from data.order import Order, shares
from data.rows import Row, Rows, Split
from data.sources import Corpus
from data.workers import Attend
from transformer.errors import ConfigError, UserError
from transformer.mixing import of_source

__all__ = ['Feed', 'Rows', 'Split', 'eval_batches', 'load', 'train_batches']

Batch = dict[str, np.ndarray]
SPLITS = ('train', 'validation', 'test')


@dataclasses.dataclass(frozen=True)
class Feed:
    """One source or several, made ready for one objective.

    Attributes:
      name: where it comes from.
      sources: names of the sources of a mixture, by number; () where there is but one.
      train: all sources' training rows.
      validation, test: their rows to evaluate on; `test` is None where no source has such a split.
      parts: the training rows of each source.
      order: in which these are trained on.
      seed: of what is drawn.
      digest: of what is trained on: changes with text, tokenizer and order.
      summary: sizes, for the terminal.
      classes: names of the classes or tags, by index.
    """

    name: str
    sources: tuple[str, ...]
    train: Split
    validation: Split
    test: Split | None
    parts: tuple[Rows, ...]
    order: Order
    seed: int
    digest: str
    summary: str
    classes: tuple[str, ...]


def load(
    experiment: Any,
    corpora: Corpus | Mapping[str, Corpus],
    tokenizer: Any,
    prepared: Mapping[str, Mapping[str, Examples]] | None = None,
    plans: Path | None = None,
) -> Feed:
    """The corpora, made ready for `experiment.objective`.

    Args:
      corpora: by the names of `experiment.data.sources`, or a single one.
      tokenizer: None for images.
      prepared: encoded records by source and split; None: they are encoded now, in memory.
      plans: where the plans of which records share a row are kept, by source; None: nowhere.

    Raises:
      ConfigError: rows too short for the objective; a tokenizer without what it needs; weights of a
        mixture that cannot be; more steps than there are examples.
      UserError: a split with nothing to learn from; text that the tokenizer cannot encode; sources
        with different classes.
    """
    if isinstance(corpora, Corpus):
        corpora = {'': corpora}
    classes = _classes(corpora)
    splits = {}
    for split in SPLITS:
        found = {}
        for name, corpus in corpora.items():
            if getattr(corpus, split) is None:
                continue
            own = _for_source(experiment, name)
            examples = (prepared or {}).get(name, {}).get(split)
            if examples is None:
                examples = _examples(own, name, getattr(corpus, split), tokenizer)
            kept = plans / (name or 'data') if plans else None
            found[name] = _load_split(own, corpus.name, split, examples, tokenizer, kept)
        if found:
            splits[split] = found
    parts = {name: split.rows for name, split in splits['train'].items()}
    joined = {name: join(found, tuple(corpora)) for name, found in splits.items()}
    order = _order(experiment, parts)
    return Feed(
        name=', '.join(corpus.name for corpus in corpora.values()),
        sources=tuple(parts) if len(parts) > 1 else (),
        train=joined['train'],
        validation=joined['validation'],
        test=joined.get('test'),
        parts=tuple(parts.values()),
        order=order,
        seed=experiment.seed,
        digest=_digest(joined['train'].rows, classes),
        summary='; '.join(f'{name} {split.rows.size()}' for name, split in joined.items()),
        classes=classes,
    )


def _for_source(experiment: Any, name: str) -> Any:
    """The experiment with the objective that a source of the mixture is read for."""
    own = of_source(experiment.objective, experiment.data.sources.get(name))
    changed = own is not experiment.objective
    return dataclasses.replace(experiment, objective=own) if changed else experiment


def _examples(experiment: Any, source: str, records: Sequence[Any], tokenizer: Any) -> Any:
    if experiment.objective.RECORDS == 'images':  # read when needed
        return records
    bad_records = experiment.data.sources[source].bad_records
    encoder = encoders.encoder_of(experiment.objective, tokenizer, bad_records)
    return encoders.in_memory(encoder, records)


def _load_split(
    experiment: Any, source: str, name: str, examples: Any, tokenizer: Any, plans: Path | None
) -> Split:
    make = objectives.SPLITS[experiment.objective.kind]
    split = make(experiment, examples, tokenizer, plans)
    if not len(split.rows):
        part = 'training' if name == 'train' else name
        raise UserError(
            f'the {part} split of {source} has {split.rows.size()}; '
            f'at least {split.rows.NEEDS} needed'
        )
    return split


def _classes(corpora: Mapping[str, Corpus]) -> tuple[str, ...]:
    first, *others = corpora.values()
    for other in others:
        if other.classes != first.classes:
            raise UserError(
                f'{first.name} has the classes {", ".join(first.classes)}, {other.name} has '
                f'{", ".join(other.classes)}; the sources of a mixture have the same ones'
            )
    return first.classes


def _order(experiment: Any, parts: Mapping[str, Rows]) -> Order:
    sizes = [rows.drawn for rows in parts.values()]
    if not experiment.data.mixture:
        return Order(sizes, seed=experiment.seed)
    entries = [experiment.data.mixture[name] for name in parts]
    weights = [entry.weight for entry in entries]
    asked = shares(sizes, weights, experiment.data.temperature, tuple(parts))
    epochs = [entry.epochs for entry in entries]
    order = Order(sizes, asked, epochs, experiment.seed, tuple(parts))
    if order.total is not None and experiment.steps * experiment.batch_size > order.total:
        most = order.total // experiment.batch_size
        accepted = f'at most {most}: then all sources have had their epochs ({order.total:,} rows)'
        raise ConfigError('steps', experiment.steps, accepted)
    return order


def _digest(rows: Rows, classes: tuple[str, ...]) -> str:
    if not classes:
        return rows.digest()
    named = '\0'.join([rows.digest(), *classes])  # other names for the same classes count
    return hashlib.blake2b(named.encode(), digest_size=16).hexdigest()


def train_rows(feed: Feed, share: '_Share | None' = None) -> grain.MapDataset:
    """The rows of training by index, or of a share of every batch."""
    count = sys.maxsize if feed.order.total is None else feed.order.total
    places = grain.MapDataset.range(count)
    if share is not None:
        places = grain.MapDataset.range(share.size(count)).map(share)
    return places.map(Stream(feed.parts, feed.order, feed.seed))


class _Share:
    """Where in the stream the rows at some places of every batch lie."""

    def __init__(self, at: np.ndarray, batch_size: int):
        self._at, self._batch_size = at, batch_size

    def size(self, count: int) -> int:
        """How many there are in the whole batches of `count` rows."""
        return count // self._batch_size * len(self._at)

    def __call__(self, index: int) -> int:
        batch, place = divmod(index, len(self._at))
        return batch * self._batch_size + int(self._at[place])


def train_batches(
    feed: Feed,
    *,
    batch_size: int,
    accumulation: int,
    first: int,
    prefetch: int,
    workers: int = 0,
    rows: np.ndarray | None = None,
) -> Iterator[Batch]:
    """Batch `first`, `first` + 1, ... without end: arrays [A, B, ...].

    Row b of microbatch a of batch n is example n A B + a B + b of the stream, whoever makes it.
    Where it begins costs nothing: no batch before `first` is made.

    Args:
      prefetch: batches made ahead.
      workers: processes that make them; 0: a thread.
      rows: those of a microbatch that are made, ascending (`sharding.rows_here`); None: all.
    """
    B = batch_size // accumulation
    held = np.arange(B) if rows is None else rows
    at = np.add.outer(B * np.arange(accumulation), held).reshape(-1)
    batches = train_rows(feed, _Share(at, batch_size)).batch(len(at))[first:]
    batches = batches.map(_Shaped(accumulation, len(held)))
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=prefetch)
    made = batches.to_iter_dataset(options)
    if workers:
        absl.flags.FLAGS.mark_as_parsed()  # Grain asks them for its own settings
        ahead = max(1, prefetch // workers)
        options = grain.MultiprocessingOptions(workers, per_worker_buffer_size=ahead)
        return _Made(iter(made.mp_prefetch(options, Attend())), workers)
    return iter(made)


class _Made(Iterator):
    """Batches of other processes; one that was killed is told in a line."""

    def __init__(self, batches: Iterator[Batch], workers: int):
        self._batches, self._workers = batches, workers

    def __next__(self) -> Batch:
        try:
            return next(self._batches)
        except RuntimeError as error:
            if 'terminated unexpectedly' not in str(error):
                raise
            raise UserError(
                f'one of the {self._workers} processes of config.data.workers was killed, perhaps '
                'for want of memory; the same command goes on from the last checkpoint, with fewer '
                'if config.data.workers says so'
            ) from None

    def close(self) -> None:
        self._batches.close()


class _Shaped:
    """Rows [N, ...] as [A, B, ...]."""

    def __init__(self, *shape: int):
        self._shape = shape

    def __call__(self, batch: Batch) -> Batch:
        return {k: v.reshape(self._shape + v.shape[1:]) for k, v in batch.items()}


def eval_batches(
    split: Split, *, batch_size: int, rows: np.ndarray | None = None
) -> Iterator[Batch]:
    """A pass over the split, each row once: arrays [1, B, ...].

    The last rows are padding with weight 0.

    Args:
      rows: those of a batch that are made, ascending (`sharding.rows_here`); None: all.
    """
    held = range(batch_size) if rows is None else rows.tolist()
    blank = {k: np.zeros_like(v) for k, v in split.rows.at(0).items()}

    def row(place: int) -> Row:
        return split.rows.at(place) if place < len(split.rows) else blank

    for n in range(-(-len(split.rows) // batch_size)):
        made = [row(n * batch_size + place) for place in held]
        yield {k: np.stack([row[k] for row in made])[None] for k in blank}
