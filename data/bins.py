"""Sequences of different lengths, put together in rows."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from data import best_fit

OPEN = 512  # rows that first fit may still put something into: bounds the time for large data sets
KINDS = 4096  # of rows, by the room they have, that best fit of several sizes keeps open

FULL = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True)
class Bins:
    """Items put together in rows.

    Attributes:
      items: int64 [N], in the order of rows.
      starts: int64 [R + 1], where in `items` each row begins, and where the last one ends.
      used: int64 [K], sums of each size of all items.
      capacities: int64 [K], of a row.
    """

    items: np.ndarray
    starts: np.ndarray
    used: np.ndarray
    capacities: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        if not 0 <= row < len(self):
            raise IndexError(f'row {row} of {len(self)}')
        return self.items[self.starts[row] : self.starts[row + 1]]

    @property
    def fill(self) -> tuple[float, ...]:
        """Share of the capacity that is used, of each size."""
        room = max(len(self), 1) * self.capacities
        return tuple((self.used / room).tolist())

    def arrays(self) -> dict[str, np.ndarray]:
        """What `Bins(**arrays)` takes, for `data.plans`."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def pack(
    sizes: np.ndarray,
    capacities: int | Sequence[int],
    how: str = 'first_fit',
    order: np.ndarray | None = None,
) -> Bins:
    """Puts items together in rows, in all their sizes at once.

    Args:
      sizes: [N] or [N, K], K sizes of each of N items, none above its capacity.
      capacities: of a row, one number or K.
      how: 'first_fit': each item in turn goes into the first row that has room, of the last `OPEN`.
        'best_fit': the largest first, each where it leaves the least room (`data.best_fit`).
      order: in which items are taken, those of equal sizes with best fit; None: as they come.

    Raises:
      ValueError: an unknown way; an item that does not fit a row.
    """
    if how not in PACKERS:
        raise ValueError(f'{how!r} is no way to pack; known: {", ".join(PACKERS)}')
    capacities = np.atleast_1d(np.asarray(capacities, np.int64))
    sizes = np.asarray(sizes, np.int64).reshape(-1, len(capacities))
    wrong = np.flatnonzero((sizes < 0).any(1) | (sizes > capacities).any(1))
    if len(wrong):
        found = f'item {wrong[0]} of sizes {sizes[wrong[0]].tolist()}'
        raise ValueError(f'{found} does not fit a row of {capacities.tolist()}')
    order = np.arange(len(sizes)) if order is None else np.asarray(order, np.int64)
    order, rows = PACKERS[how](sizes, capacities, order)
    by_row = np.argsort(rows, kind='stable')
    count = int(rows.max()) + 1 if len(rows) else 0
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))])
    return Bins(order[by_row], starts.astype(np.int64), sizes.sum(0), capacities)


def _first_fit(
    sizes: np.ndarray, capacities: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Items in the order they are taken, and the row of each."""
    rows = np.empty(len(order), np.int64)
    room = np.empty((1024, len(capacities)), np.int64)
    room[0] = capacities
    count, one = 0, len(capacities) == 1  # rows begun; row `count` is a new one, ever ready
    for i, item in enumerate(order.tolist()):
        low = max(0, count - OPEN)
        size = sizes[item]
        open_rows = room[low : count + 1]
        fits = open_rows[:, 0] >= size[0] if one else (open_rows >= size).all(axis=1)
        place = low + int(fits.argmax())
        room[place] -= size
        rows[i] = place
        if place == count:
            count += 1
            if count == len(room):
                room = np.concatenate([room, np.empty_like(room)])
            room[count] = capacities
    return order, rows


def _best_fit(
    sizes: np.ndarray, capacities: np.ndarray, order: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Items in the order they are taken, and the row of each."""
    taken = sizes[order]
    if len(capacities) == 1:
        places, rows = best_fit.of_one_size(taken[:, 0], int(capacities[0]))
    else:
        places, rows = best_fit.of_several_sizes(taken, capacities)
    return order[places], rows


PACKERS = {'first_fit': _first_fit, 'best_fit': _best_fit}
