"""A validation split out of records that have none."""

import bisect
from collections.abc import Sequence

import numpy as np

from transformer.data_config import SourceConfig
from transformer.errors import ConfigError

SEED = 0  # the split belongs to the data: runs with different seeds share it


def held_out(count: int, config: SourceConfig, name: str) -> np.ndarray:
    """Indices to validate on, int64, ascending: one out of each of equal stretches of records.

    Which one of a stretch, a hash of its number says: nothing is drawn or kept for the others. Each
    side gets one record at least.

    Raises:
      ConfigError: there are too few records for two sides.
    """
    held = min(max(1, round(config.validation_fraction * count)), count - 1)
    if held < 1:
        what = 'a line of JSON, a row of a table or a document each'
        accepted = f'a share that leaves records on both sides of {name}: it has {count} ({what})'
        raise ConfigError('data.validation_fraction', config.validation_fraction, accepted)
    # In integers: exact for any count. Stretch k is from k * count // held to the next.
    edges = np.arange(held + 1, dtype=np.int64)
    edges = edges * (count // held) + edges * (count % held) // held
    widths = np.diff(edges)
    return edges[:-1] + (_mixed(np.arange(held)) % widths.astype(np.uint64)).astype(np.int64)


def remaining(held: np.ndarray, place: int) -> int:
    """The index of the record at `place` among those that are not held out."""
    # held[n] - n that are not held out precede held[n]: ascending, so it can be searched.
    return place + bisect.bisect_right(range(len(held)), place, key=lambda n: int(held[n]) - n)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """SplitMix64, https://doi.org/10.1145/2714064.2660195."""
    x = (numbers.astype(np.uint64) + np.uint64(SEED + 1)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def stratified(
    labels: Sequence[int], config: SourceConfig, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train and to validate on, ascending; each class is split in the same proportion.

    Raises:
      ConfigError: a share that leaves one of the splits empty.
    """
    labels = np.asarray(labels)
    held = np.zeros(len(labels), bool)
    rng = np.random.default_rng(SEED)
    for label in np.unique(labels):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        count = max(1, round(config.validation_fraction * len(of_class)))
        held[of_class[: min(count, len(of_class) - 1)]] = True
    if held.all() or not held.any():
        accepted = f'a share that leaves records on both sides of {name} ({len(labels)} records)'
        raise ConfigError('data.validation_fraction', config.validation_fraction, accepted)
    return np.flatnonzero(~held), np.flatnonzero(held)
