"""Rows of a task that is made up (`transformer.tasks`): no records, no tokenizer, no files. T."""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from data.feed import Feed
from data.order import Order
from data.rows import Row, Rows, Split, at_key, draw_key
from data.sources import Corpus
from transformer.tasks import Task

HASHED = 64  # rows of which the digest is made


class MadeUpRows(Rows):
    """`inputs`, `targets`, `weights`, `positions`, `segment_ids`, [T].

    Args:
      task: one of `transformer.tasks`.
      split: 'train' or 'validation'.
      length: T.
    """

    def __init__(self, task: Task, split: str, length: int):
        self._task, self._split, self._length = task, split, length
        self._count = task.rows(split)
        self._whole = {
            'positions': np.arange(length, dtype=np.int32),
            'segment_ids': np.ones(length, np.int32),
        }

    def __len__(self) -> int:
        return self._count

    def at(self, place: int) -> Row:
        return self._row(place, at_key(place))

    def draw(self, place: int, epoch: int, seed: int) -> Row:
        return self._row(place, draw_key(place, epoch, seed))

    def _row(self, place: int, key: tuple[int, ...]) -> Row:
        made = self._task.row(self._split, place, key, self._length)
        return {**made._asdict(), **self._whole}

    def digest(self) -> str:
        """Of `HASHED` rows at equal distances, and of how many there are."""
        made = hashlib.blake2b(str(len(self)).encode(), digest_size=16)
        for place in range(0, len(self), -(-len(self) // HASHED)):
            for array in self._task.row(self._split, place, at_key(place), self._length):
                made.update(array.tobytes())
        return made.hexdigest()

    def size(self) -> str:
        return f'{len(self):,} rows of {self._length} tokens'


@dataclasses.dataclass(frozen=True)
class Spelling:
    """How the tokens of a task look, for those who read rows: what they ask of a tokenizer."""

    pieces: tuple[str, ...]
    specials: dict[str, int] = dataclasses.field(default_factory=dict)


def feed(experiment: Any) -> Feed:
    """The task's rows, made ready.

    Raises:
      ConfigError: rows of a length that the task does not have.
    """
    task, length = experiment.objective, experiment.context
    task.check(length)
    train, validation = (MadeUpRows(task, name, length) for name in ('train', 'validation'))
    return Feed(
        name=f'made up, {task.kind}',
        sources=(),
        train=Split(train, 0, 0),
        validation=Split(validation, 0, 0),
        test=None,
        parts=(train,),
        order=Order([train.drawn], seed=experiment.seed),
        seed=experiment.seed,
        digest=train.digest(),
        summary=f'train {train.size()}; validation {validation.size()}',
        classes=(),
    )


def corpus(made: Feed) -> Corpus:
    """Its records are the places of its rows."""
    return Corpus(made.name, range(len(made.train.rows)), range(len(made.validation.rows)))
