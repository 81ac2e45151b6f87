"""Runs of one arm, and two arms seed by seed."""

from collections.abc import Callable, Sequence

from results.paper import Run


def of(runs: Sequence[Run], arm: str) -> list[Run]:
    """The runs of an arm, by seed.

    Raises:
      ValueError: there are none.
    """
    found = sorted((run for run in runs if run.arm == arm), key=lambda run: run.seed)
    if not found:
        raise ValueError(f'no run of {arm}')
    return found


def gaps(runs: Sequence[Run], one: str, other: str, value: Callable[[Run], float]) -> list[float]:
    """What one arm has more than the other, seed by seed.

    Raises:
      ValueError: they were not trained with the same seeds.
    """
    both = of(runs, one), of(runs, other)
    if [r.seed for r in both[0]] != [r.seed for r in both[1]]:
        raise ValueError(f'{one} and {other} have other seeds')
    return [value(a) - value(b) for a, b in zip(*both)]
