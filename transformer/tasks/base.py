"""What a made-up task is. T tokens a row."""

import abc
import dataclasses
import zlib
from typing import NamedTuple

import numpy as np

from transformer.errors import ConfigError
from transformer.objectives import Objective

TASKS: dict[str, type['Task']] = {}
EPOCH = 1 << 16  # rows of an epoch, where every epoch draws others
HELD_OUT = 8  # one in so many drawn rows may only be evaluated on
TRIES = 10_000  # rows drawn for one that is to be evaluated on, or not


def register(task: type['Task']) -> type['Task']:
    """Class decorator: the task is known by its `kind`.

    Raises:
      TypeError: the kind is taken.
    """
    if task.kind in TASKS:
        raise TypeError(f'the kind {task.kind!r} already means {TASKS[task.kind].__name__}')
    TASKS[task.kind] = task
    return task


class Made(NamedTuple):
    """A row: int32 [T], int32 [T], float32 [T]. Where nothing is learnt, a target means nothing."""

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


@dataclasses.dataclass(frozen=True)
class Task(Objective):
    """An objective without records: a decoder learns the answers of rows that are made up."""

    RECORDS = 'none'

    @property
    @abc.abstractmethod
    def pieces(self) -> tuple[str, ...]:
        """Each token, spelt out."""

    @property
    def vocab(self) -> int:
        """V, tokens that there are."""
        return len(self.pieces)

    @abc.abstractmethod
    def rows(self, split: str) -> int:
        """How many rows the 'train' or the 'validation' split has."""

    @abc.abstractmethod
    def accepted(self, context: int) -> str:
        """What `config.context` may be, where it may not be this; '' where it may."""

    @abc.abstractmethod
    def row(self, split: str, place: int, key: tuple[int, ...], context: int) -> Made:
        """A row of `context` tokens; no row is in both splits.

        Args:
          place: which of `rows`.
          key: what random choices follow from.
        """

    def check(self, context: int) -> None:
        """Raises a `ConfigError` where rows cannot be of this length."""
        if accepted := self.accepted(context):
            kind = f' for config.objective.kind={self.kind!r}'
            raise ConfigError('context', context, accepted + kind)


@dataclasses.dataclass(frozen=True)
class Drawn(Task):
    """A task whose rows are drawn anew in every epoch.

    What a row holds decides whether it may be trained on: a checksum of its inputs keeps one in
    `HELD_OUT` for evaluation, so that none of these is ever trained on.

    Attributes:
      held_out: rows to evaluate on.
    """

    held_out: int = 512

    def __post_init__(self):
        super().__post_init__()
        self._require('held_out', self.held_out > 0, 'a whole number above 0')

    @abc.abstractmethod
    def draw(self, rng: np.random.Generator, context: int) -> Made:
        """A row of `context` tokens, of either split."""

    def rows(self, split: str) -> int:
        return EPOCH if split == 'train' else self.held_out

    def row(self, split: str, place: int, key: tuple[int, ...], context: int) -> Made:
        rng = np.random.default_rng(key)
        for _ in range(TRIES):
            made = self.draw(rng, context)
            kept = zlib.crc32(made.inputs.astype('<i4').tobytes()) % HELD_OUT == 0
            if kept == (split != 'train'):
                return made
        accepted = f'what gives more different rows: of {TRIES:,} none is for this split'
        raise ConfigError('objective.kind', self.kind, accepted)
