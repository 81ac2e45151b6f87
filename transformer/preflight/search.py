"""The largest batch, and the lightest rematerialisation, that fit."""

import dataclasses
from collections.abc import Callable
from typing import Any

# From what is fastest to what takes the least room.
POLICIES = ('none', 'dots', 'minimal', 'full', 'offload')
MOST = 1 << 14  # times the smallest batch


def search(
    experiment: Any,
    unit: int,
    check: Callable[[Any], dict[str, Any]],
    say: Callable[[str], None],
    policies: tuple[str, ...] = POLICIES,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The findings on the best experiment, and what was tried.

    The largest batch is the one that fits with the policy that takes the least room: doubled from
    the config's while it fits, or halved until it does, and then by halves between the two. Of the
    policies the lightest that fits is taken.

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

    def fits(rows: int) -> dict[str, Any] | None:
        attempts = (attempt(rows, policy) for policy in policies[-2:])
        return next((found for found in attempts if found['fits']), None)

    low, high = 0, MOST + 1  # in units: what fits, and what does not
    at, best = max(1, experiment.batch_size // unit), None
    while high - low > 1:
        found = fits(at * unit)
        if found is None:
            high = at
        else:
            low, best = at, found
        if not low:
            at //= 2
        elif high > MOST:
            at = min(2 * at, MOST)
        else:
            at = (low + high) // 2
        if not at:
            break
    if best is None:
        return last, tried
    lighter = policies[: policies.index(best['remat'])]
    attempts = (attempt(low * unit, policy) for policy in lighter)
    return next((found for found in attempts if found['fits']), best), tried
