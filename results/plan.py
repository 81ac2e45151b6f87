"""Which trainings an experiment takes, in which order, and how each is started."""

import dataclasses
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from results.paper import Arm, Paper
from transformer.errors import UserError

ROOT = Path(__file__).parents[1]
SEED, PATH = 'seed', 'data.path'


@dataclasses.dataclass(frozen=True)
class Training:
    """An arm with a seed.

    Attributes:
      workdir: of `train.py`.
      changes: all `--config.FIELD=VALUE`, by field.
    """

    arm: Arm
    seed: int
    workdir: Path
    changes: Mapping[str, str]

    @property
    def name(self) -> str:
        return f'{self.arm.name}, seed {self.seed}'

    @property
    def state(self) -> Path:
        """Where `results.train` keeps what it knows of this training, beside the workdir."""
        return self.workdir.with_name(f'{self.workdir.name}.json')

    @property
    def words(self) -> list[str]:
        """The command that trains."""
        fields = [f'--config.{field}={value}' for field, value in self.changes.items()]
        start = [sys.executable, 'train.py', f'--config={self.arm.config}']
        return [*start, f'--workdir={self.workdir}', *fields]

    def after(self, command: str) -> list[str]:
        """The words of one of the arm's `after`."""
        words = (w.replace('{workdir}', str(self.workdir)) for w in shlex.split(command))
        return [sys.executable, *words]


def stem(name: str, size: str) -> str:
    """Of the files of a size: its result, its picture, its runs."""
    return f'{name}_{size}' if size else name


def arms_of(paper: Paper, size: str) -> Sequence[Arm]:
    """The arms of a size.

    Raises:
      UserError: there is no such size.
    """
    if size not in paper.sizes:
        known = ', '.join(repr(s) for s in paper.sizes)
        raise UserError(f'--size={size}: {paper.name} has the sizes {known}')
    return paper.sizes[size]


def in_order(arms: Sequence[Arm], only: Sequence[str] = ()) -> list[Arm]:
    """The arms, each after the one that it starts from, which comes along where `only` names it.

    Args:
      only: names, or their `slug`, which has no commas.

    Raises:
      UserError: `only` names an arm that there is not.
      ValueError: an arm starts from none of the others, or from itself in the end.
    """
    by_name = {arm.name: arm for arm in arms}
    by_slug = {slug(arm.name): arm.name for arm in arms}
    if len({slug(arm.name) for arm in arms}) < len(arms):
        raise ValueError(f'two arms have the same name: {", ".join(arm.name for arm in arms)}')
    for name in only:
        if slug(name) not in by_slug:
            raise UserError(f'--only={name}: no such arm; known: {", ".join(by_slug)}')
    chosen: dict[str, Arm] = {}

    def choose(name: str, before: tuple[str, ...]) -> None:
        if name in before or name not in by_name:
            raise ValueError(f'arm {before[-1]} cannot start from {name}')
        if by_name[name].start:
            choose(by_name[name].start, (*before, name))
        chosen.setdefault(name, by_name[name])

    for name in [by_slug[slug(name)] for name in only] or by_name:
        choose(name, ())
    return list(chosen.values())


def trainings(
    paper: Paper,
    size: str,
    seeds: int,
    runs: Path,
    overrides: Mapping[str, str],
    only: Sequence[str] = (),
) -> list[Training]:
    """All trainings of an experiment, seed by seed, in the order in which they can be done.

    Args:
      overrides: `--config.FIELD=VALUE` of the user; they win over the arms' own.

    Raises:
      UserError: no such size or arm; a field that is not the user's; data that are to be given.
    """
    if SEED in overrides:
        raise UserError(f'--config.seed={overrides[SEED]}: give --seeds=N, for 0 to N - 1')
    if paper.data and PATH not in overrides:
        raise UserError(f'{paper.name} needs --config.data.path: {paper.data}')
    arms = in_order(arms_of(paper, size), only)
    made = []
    for seed in range(seeds):
        folders = {a.name: runs / stem(paper.name, size) / f'{slug(a.name)}-{seed}' for a in arms}
        for arm in arms:
            changes = {SEED: str(seed)} | {k: str(v) for k, v in arm.changes.items()}
            if arm.start:
                changes['init'] = str(folders[arm.start])
            made.append(Training(arm, seed, folders[arm.name], changes | dict(overrides)))
    return made


def slug(name: str) -> str:
    """A name as part of a path."""
    return re.sub(r'[^\w.]+', '_', name)


def portable(word: str) -> str:
    """A word of a command line with all paths in it reduced to their last component."""
    return re.sub(r'(?<![\w:/.~-])(~|\.{0,2})/(?:[^\s/\'",=]+/)*(?=[^\s/])', '', word)
