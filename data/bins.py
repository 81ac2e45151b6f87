"""Sequences of different lengths: kept end to end, and put together in rows."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

OPEN = 512  # rows that a sequence may still go into: bounds the time for large data sets


class Ragged:
    """Arrays of different lengths, end to end in one.

    Args:
      arrays: integer arrays.
      dtype: of what is kept.
    """

    def __init__(self, arrays: Iterable[np.ndarray], dtype: np.dtype):
        parts = [np.asarray(array, dtype) for array in arrays]
        self.lengths = np.array([len(part) for part in parts], np.int64)
        self._ends = np.cumsum(self.lengths)
        self._flat = np.concatenate(parts) if parts else np.zeros(0, dtype)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> np.ndarray:
        end = self._ends[index]
        return self._flat[end - self.lengths[index] : end].astype(np.int32)

    def digest(self) -> str:
        """Of the content and of where each array ends."""
        made = hashlib.blake2b(self._flat.tobytes(), digest_size=16)
        made.update(self.lengths.tobytes())
        return made.hexdigest()


def first_fit(sizes: np.ndarray, capacities: Sequence[int], order: np.ndarray) -> list[list[int]]:
    """Puts each item in the first row that has room for it, in all its sizes at once.

    Args:
      sizes: [N, K], K sizes of each of N items, none above its capacity.
      capacities: K capacities of a row.
      order: in which the items are taken.

    Returns:
      The items of each row.
    """
    bins: list[list[int]] = []
    room = np.zeros((0, len(capacities)), np.int64)  # of the last rows
    for item in order:
        fits = np.flatnonzero((room >= sizes[item]).all(axis=1))
        if len(fits):
            place = int(fits[0])
        else:
            bins.append([])
            room = np.concatenate([room[-OPEN + 1 :], np.array([capacities])])
            place = len(room) - 1
        room[place] -= sizes[item]
        bins[len(bins) - len(room) + place].append(int(item))
    return bins
