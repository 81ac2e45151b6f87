"""What one experiment of docs/papers.md is: trainings, what is read from them, and a picture.

A file of `results/papers/` holds one `PAPER`. `results.run` trains it, `results.table` shows it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Arm:
    """One training run of an experiment, once for each seed.

    Attributes:
      name: short; a key of the picture's legend.
      config: as `train.py --config`.
      changes: `--config.FIELD=VALUE`, by field.
      start: another arm, whose parameters this one begins with (`config.init`).
      after: commands that run when it is trained, by name: what follows `python`, with {workdir}
        in it; each prints one JSON object, which is kept.
    """

    name: str
    config: str
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    start: str = ''
    after: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Run:
    """What is left of a training run.

    Attributes:
      arm: its name.
      seed: `config.seed`.
      records: of `metrics.jsonl`, in order: {'step', 'split', name: value}.
      after: what the arm's commands printed, by name.
      parameters: of the model.
      seconds: of the training, starts and pauses included.
      config: the fields that it was trained with, by their whole names, as `settings.kept`.
    """

    arm: str
    seed: int
    records: Sequence[Mapping[str, Any]]
    after: Mapping[str, Mapping[str, Any]]
    parameters: int
    seconds: float
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def last(self, name: str, split: str = 'validation') -> float:
        """The last value of that name.

        Raises:
          ValueError: there is none, or it is not finite.
        """
        values = [r[name] for r in self.records if r['split'] == split and name in r]
        if values and not isinstance(values[-1], (int, float)):
            raise ValueError(f'run {self.arm} of seed {self.seed} ends with {name} {values[-1]}')
        return self.curve(name, split)[-1][1]

    def best(self, name: str = 'loss', split: str = 'validation') -> float:
        """The lowest value of that name."""
        return min(value for _, value in self.curve(name, split))

    def curve(self, name: str, split: str = 'validation') -> list[tuple[int, float]]:
        """(step, value) of all records that have a number of that name.

        Raises:
          ValueError: none has.
        """
        found = [
            (r['step'], r[name])
            for r in self.records
            if r['split'] == split and isinstance(r.get(name), (int, float))
        ]
        if not found:
            raise ValueError(f'run {self.arm} of seed {self.seed} has no {split} {name}')
        return found


@dataclasses.dataclass(frozen=True)
class Number:
    """One row of the table.

    Attributes:
      what: with its unit: 'validation loss, nats a character'.
      values: ours, one a seed (or one in all).
      published: as its source has it, with the conditions; '' where there is none.
      least, most: between which the mean of `values` is to lie for the claim to be reproduced;
        None: no bound.
      source: where `published` stands, if not in the paper's first source; '': nowhere to link to.
    """

    what: str
    values: Sequence[float]
    published: str = ''
    least: float | None = None
    most: float | None = None
    source: str | None = None

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values)

    @property
    def holds(self) -> bool | None:
        """Whether it is reproduced; None where nothing was to be."""
        if self.least is None and self.most is None:
            return None
        above = self.least is None or self.mean >= self.least
        return above and (self.most is None or self.mean <= self.most)


@dataclasses.dataclass(frozen=True)
class Paper:
    """An experiment.

    Attributes:
      name: of its file, its results and its picture.
      title: what it is about, in the table.
      claim: what was published, in a sentence or two.
      source: where: an address, or several after ', '; the numbers are of the first.
      sizes: arms by size: '' runs on two CPU cores, 'full' is for an accelerator.
      measure: (runs of one size) -> numbers. A pure function: the table calls it again.
      draw: (matplotlib figure, runs) -> None.
      seeds: how many random starts.
      remark: what else a reader should know: what was tried, what differs from the source.
      data: what `--config.data.path` is to name; '' where nothing is to be given.
      keep: of training records, the fields that `measure` and `draw` read; of evaluations all stay.
      points: training records of a run that stay, at most, evenly spread from first to last.
    """

    name: str
    title: str
    claim: str
    source: str
    sizes: Mapping[str, Sequence[Arm]]
    measure: Callable[[Sequence[Run]], Sequence[Number]]
    draw: Callable[[Any, Sequence[Run]], None]
    seeds: int = 1
    remark: str = ''
    data: str = ''
    keep: Sequence[str] = ('loss', 'accuracy')
    points: int = 200
