"""The largest batch, and the lightest rematerialisation, that fit."""

import dataclasses
from collections.abc import Callable
from typing import Any

# From what is fastest to what takes the least room.
POLICIES = ('none', 'dots', 'minimal', 'full', 'offload')
MOST = 1 << 14  # rows a device


def search(
    experiment: Any,
    unit: int,
    check: Callable[[Any], dict[str, Any]],
    say: Callable[[str], None],
    policies: tuple[str, ...] = POLICIES,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The findings on the best experiment, and what was tried.

    The batch begins at the config's, and doubles while the step fits under any policy, or halves
    until it does; of the largest, the lightest policy that fits is taken.

    Args:
      unit: the smallest batch: a row for each place of a batch in the mesh and each microbatch.
      check: the findings on an experiment.
      say: told of each try.
      policies: values of `config.remat`, the lightest first.

    Returns:
      The findings, and all tries. Where not even the smallest batch fits, those of the last try.
    """
    tried, last = [], {}

    def attempt(rows: int, policy: str) -> dict[str, Any]:
        found = check(dataclasses.replace(experiment, batch_size=rows, remat=policy))
        last.update(found)
        tried.append({name: found[name] for name in ('batch_size', 'remat', 'fits', 'hbm_gib')})
        says = 'fits' if found['fits'] else 'does not fit'
        say(f'tried          batch {rows:,}, remat {policy}: {says}, {found["hbm_gib"]:.2f} GiB')
        return found

    def lightest(rows: int, first: int) -> dict[str, Any] | None:
        """The findings with the lightest policy that fits, not lighter than number `first`."""
        attempts = (attempt(rows, policy) for policy in policies[first:])
        return next((found for found in attempts if found['fits']), None)

    rows = max(unit, experiment.batch_size // unit * unit)
    best = lightest(rows, 0)
    while best is None and rows > unit:
        rows = max(unit, rows // 2 // unit * unit)
        best = lightest(rows, 0)
        if best is not None:
            return best, tried
    if best is None:
        return last, tried
    while rows < unit * MOST:
        # What does not fit a smaller batch does not fit a larger one.
        more = lightest(2 * rows, policies.index(best['remat']))
        if more is None:
            break
        best, rows = more, 2 * rows
    return best, tried
