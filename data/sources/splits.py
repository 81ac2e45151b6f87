"""A validation split out of records that have none."""

from collections.abc import Sequence

import numpy as np

from transformer.errors import ConfigError
from transformer.experiment import DataConfig

SEED = 0  # the split belongs to the data: runs with different seeds share it


def stratified(
    labels: Sequence[int], config: DataConfig, name: str
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
