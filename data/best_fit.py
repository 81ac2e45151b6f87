"""Best fit: the row with the least room that is enough, https://arxiv.org/abs/2404.10830.

Both ways work on kinds of items, those of equal sizes, and never on single ones.
"""

import bisect

import numpy as np

KINDS = 2048  # of items of several sizes that are looked at together


def of_one_size(sizes: np.ndarray, capacity: int) -> tuple[np.ndarray, np.ndarray]:
    """Best fit decreasing: the largest item first, each into the row with the least room it fits.

    Rows with the same room are alike, and the row that has just taken an item is the tightest for
    the next of its kind: so all of a kind go into all rows of a kind at once.

    Args:
      sizes: [N], none above `capacity`; equal ones are taken as they come.

    Returns:
      Items in the order they are taken, and the row of each, int64 [N].
    """
    order = np.argsort(-sizes, kind='stable')
    ordered = sizes[order]
    edges = _edges(np.diff(ordered) != 0, len(ordered))
    rows = np.empty(len(order), np.int64)
    shelves, begun = _Shelves(int(sizes.min(initial=capacity))), 0
    for begin, end in zip(edges[:-1], edges[1:]):
        size = int(ordered[begin])
        while begin < end:
            room = shelves.tightest(size)
            each = (capacity if room is None else room) // size if size else end - begin
            wanted = -(-(end - begin) // each)
            if room is None:
                room, taken = capacity, np.arange(begun, begun + wanted)
                begun += wanted
            else:
                taken = shelves.take(room, wanted)
            count = min(end - begin, each * len(taken))
            rows[begin : begin + count] = np.repeat(taken, each)[:count]
            begin += count
            full, last = divmod(count, each)
            shelves.put(room - each * size, taken[:full])
            shelves.put(room - last * size, taken[full:])
    return order, rows


class _Shelves:
    """Rows by the room that they have left.

    Args:
      least: the smallest size of any item; rows with less room are full.
    """

    def __init__(self, least: int):
        self._rows: dict[int, list[np.ndarray]] = {}
        self._rooms: list[int] = []  # ascending
        self._least = least

    def tightest(self, size: int) -> int | None:
        """The least room that is enough."""
        place = bisect.bisect_left(self._rooms, size)
        return self._rooms[place] if place < len(self._rooms) else None

    def take(self, room: int, count: int) -> np.ndarray:
        """At most `count` of the rows with this room, the last ones put there first."""
        kept, taken = self._rows[room], []
        while kept and count:
            last = kept.pop()
            if len(last) > count:
                kept.append(last[:-count])
                last = last[-count:]
            taken.append(last)
            count -= len(last)
        if not kept:
            del self._rows[room]
            del self._rooms[bisect.bisect_left(self._rooms, room)]
        return np.concatenate(taken)

    def put(self, room: int, rows: np.ndarray) -> None:
        if not len(rows) or room < self._least:
            return
        if room not in self._rows:
            bisect.insort(self._rooms, room)
            self._rows[room] = []
        self._rows[room].append(rows)


def of_several_sizes(sizes: np.ndarray, capacities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row after row: the largest item left, then time and again the one that fits best.

    That is the one which leaves least, and alike on all sides: an uneven row is soon full on one
    side and half empty on the other. A row so filled is repeated as often as there are items of its
    kinds. `KINDS` of them are looked at together, large and small; others follow as these are used
    up.

    Args:
      sizes: [N, K], none above `capacities`; equal ones are taken as they come.
      capacities: [K].

    Returns:
      As of `of_one_size`.
    """
    # In whole numbers: shares of a row, times the product of all capacities.
    others = [int(np.prod(np.delete(capacities, k))) for k in range(len(capacities))]
    scaled, full = sizes * others, int(np.prod(capacities))
    order = np.lexsort((*sizes.T[::-1], -scaled.max(axis=1, initial=0)))
    ordered = scaled[order]
    edges = np.array(_edges((np.diff(ordered, axis=0) != 0).any(axis=1), len(ordered)))
    kinds, begins, counts = ordered[edges[:-1]], edges[:-1].copy(), np.diff(edges)
    parts = max(1, -(-len(kinds) // (KINDS // 2)))
    waiting = [np.arange(part, len(kinds), parts) for part in range(parts)][::-1]
    rows, begun, pool = np.empty(len(order), np.int64), 0, np.zeros(0, np.int64)
    while True:
        pool = pool[counts[pool] > 0]
        if waiting and len(pool) <= KINDS // 2:
            pool = np.sort(np.concatenate([pool, waiting.pop()]))
        if not len(pool):
            return order, rows
        chosen = _row(kinds[pool], counts[pool], full)
        members = {int(pool[place]): count for place, count in chosen.items()}
        times = min(int(counts[kind]) // count for kind, count in members.items())
        for kind, count in members.items():
            begin, taken = begins[kind], times * count
            rows[begin : begin + taken] = np.repeat(np.arange(begun, begun + times), count)
            begins[kind] += taken
            counts[kind] -= taken
        begun += times


def _row(kinds: np.ndarray, counts: np.ndarray, full: int) -> dict[int, int]:
    """How many of which kinds share a row, the first kind among them.

    Args:
      kinds: [P, K], sizes as shares of `full`.
      counts: [P], how many there are of each, at least one.
    """
    columns, counts = list(kinds.T), counts.copy()
    room, chosen, place = [full] * len(columns), {}, 0
    while True:
        chosen[place] = chosen.get(place, 0) + 1
        counts[place] -= 1
        left = []
        for k, column in enumerate(columns):
            room[k] -= int(column[place])
            left.append(room[k] - column)
        most, least = left[0], left[0]
        for each in left[1:]:
            most, least = np.maximum(most, each), np.minimum(least, each)
        worse = sum(left) + most - least
        fits = (least >= 0) & (counts > 0)
        place = int(np.where(fits, worse, np.iinfo(np.int64).max).argmin())
        if not fits[place]:
            return chosen


def _edges(change: np.ndarray, count: int) -> list[int]:
    """Where each run of equal items begins, and where the last one ends."""
    return [0, *(np.flatnonzero(change) + 1).tolist(), count] if count else [0]
