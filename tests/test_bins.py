"""Packing: every item once, nothing over the brim, best fit as in the textbook; plans on disk."""

import pickle

import numpy as np
import pytest

from data import best_fit, plans
from data import bins as module
from data.bins import Bins, pack
from data.plans import META, planned


def lengths_of(count, most, seed=0):
    rng = np.random.default_rng(seed)
    return np.minimum(rng.lognormal(np.log(most) - 2, 1.2, count).astype(int) + 1, most)


def pairs_of(count, most, seed=0):
    """Like translations: the longer the one, the longer the other."""
    rng = np.random.default_rng(seed)
    source = rng.gamma(4, 7, count).astype(int) + 2
    target = np.maximum(2, source * rng.normal(1.05, 0.25, count)).astype(int)
    return np.minimum(np.stack([source, target], axis=1), most)


def order_of(sizes, seed=1):
    return np.random.default_rng(seed).permutation(len(sizes))


def plain_first_fit(sizes, capacities, order, window):
    rows, room = [], []
    for item in order.tolist():
        for row in range(max(0, len(rows) - window), len(rows)):
            if (room[row] >= sizes[item]).all():
                break
        else:
            rows.append([])
            room.append(np.array(capacities))
            row = len(rows) - 1
        room[row] = room[row] - sizes[item]
        rows[row].append(item)
    return rows


def plain_best_fit(sizes, capacity):
    """How much room is left in each row, by one item after the other."""
    room = []
    for size in sorted(sizes, reverse=True):
        fits = [r for r in room if r >= size]
        if fits:
            room.remove(min(fits))
        room.append((min(fits) if fits else capacity) - size)
    return sorted(room)


CASES = {
    'lengths': (lengths_of(3000, 512), 512),
    'whole rows': (np.full(40, 64), 64),
    'all of one': (np.ones(1000, int), 64),
    'uniform': (np.random.default_rng(0).integers(1, 101, 2000), 100),
    'with nothing': (np.random.default_rng(0).integers(0, 5, 200), 9),
    'pairs': (pairs_of(3000, 128), (128, 128)),
    'uneven pairs': (pairs_of(3000, 128) * [3, 1], (512, 160)),
    'three': (np.random.default_rng(0).integers(0, 20, (900, 3)), (40, 30, 50)),
    'an item': (np.array([3]), 7),
    'no items': (np.zeros(0, int), 7),
    'no pairs': (np.zeros((0, 2), int), (7, 7)),
}


@pytest.mark.parametrize('how', module.PACKERS)
@pytest.mark.parametrize('name', CASES)
def test_every_item_is_in_one_row_and_fits(name, how):
    sizes, capacities = CASES[name]
    order = order_of(sizes)
    bins = pack(sizes, capacities, how, order)
    assert sorted(bins.items.tolist()) == list(range(len(sizes)))
    assert bins.items.dtype == bins.starts.dtype == np.int64
    assert bins.starts[0] == 0 and bins.starts[-1] == len(sizes)
    assert all(len(bins[row]) for row in range(len(bins)))
    by_row = [sizes[bins[row]].sum(0) for row in range(len(bins))]
    assert all((total <= np.array(capacities)).all() for total in by_row)
    again = pack(sizes, capacities, how, order)
    assert all((again.arrays()[k] == v).all() for k, v in bins.arrays().items())
    if len(sizes):
        filled = np.sum(by_row, axis=0) / (len(bins) * np.array(capacities))
        assert bins.fill == pytest.approx(tuple(np.atleast_1d(filled)))
    for row in (-1, len(bins)):
        with pytest.raises(IndexError):
            bins[row]


@pytest.mark.parametrize('name', ['lengths', 'uniform', 'pairs', 'three', 'with nothing'])
@pytest.mark.parametrize('window', [1, 3, 512])
def test_first_fit_is_that(monkeypatch, name, window):
    monkeypatch.setattr(module, 'OPEN', window)
    sizes, capacities = CASES[name]
    sizes, order = sizes[:900], order_of(sizes[:900])
    bins = pack(sizes, capacities, 'first_fit', order)
    wanted = plain_first_fit(sizes, capacities, order, window)
    assert [bins[row].tolist() for row in range(len(bins))] == wanted


@pytest.mark.parametrize('name', ['lengths', 'uniform', 'all of one', 'whole rows'])
@pytest.mark.parametrize('count', [1, 10, 700])
def test_best_fit_is_best_fit_decreasing(name, count):
    sizes, capacity = CASES[name]
    sizes = sizes[:count]
    bins = pack(sizes, capacity, 'best_fit')
    left = sorted(capacity - int(sizes[bins[row]].sum()) for row in range(len(bins)))
    assert left == plain_best_fit(sizes.tolist(), capacity)


def test_best_fit_leaves_less_empty_than_first_fit():
    for name in ('lengths', 'uniform', 'pairs', 'uneven pairs', 'three'):
        sizes, capacities = CASES[name]
        order = order_of(sizes)
        best, first = (
            len(pack(sizes, capacities, how, order)) for how in ('best_fit', 'first_fit')
        )
        assert best <= first, name
    assert pack(*CASES['lengths'], 'best_fit').fill[0] > 0.99


@pytest.mark.parametrize('name', ['pairs', 'uneven pairs', 'three'])
def test_best_fit_looks_at_some_kinds_at_a_time(monkeypatch, name):
    sizes, capacities = CASES[name]
    wide = pack(sizes, capacities, 'best_fit')
    monkeypatch.setattr(best_fit, 'KINDS', 64)
    narrow = pack(sizes, capacities, 'best_fit')
    assert sorted(narrow.items.tolist()) == list(range(len(sizes)))
    assert all((sizes[narrow[r]].sum(0) <= capacities).all() for r in range(len(narrow)))
    assert narrow.items.tolist() != wide.items.tolist()
    assert len(narrow) < 1.03 * len(wide)


def test_pairs_fill_the_fuller_side_of_rows():
    sizes = pairs_of(30_000, 128)
    assert max(pack(sizes, (128, 128), 'best_fit').fill) > 0.99
    assert max(pack(sizes, (512, 512), 'best_fit').fill) > 0.995


def test_the_order_decides_among_equal_items():
    sizes = np.array([5, 5, 5, 5, 2, 2])
    for how in module.PACKERS:
        one = pack(sizes, 10, how, np.array([3, 2, 1, 0, 5, 4]))
        assert set(one[0].tolist()) == {2, 3}
    assert set(pack(sizes, 10, 'best_fit')[0].tolist()) == {0, 1}


def test_many_items_are_packed_in_few_steps(monkeypatch):
    """The work is by kinds of items and rows, not by items."""
    steps = []
    tightest = best_fit._Shelves.tightest
    monkeypatch.setattr(
        best_fit._Shelves, 'tightest', lambda self, size: steps.append(1) or tightest(self, size)
    )
    bins = pack(lengths_of(500_000, 1024), 1024, 'best_fit')
    assert bins.fill[0] > 0.995 and len(steps) < 20_000


def test_items_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r'item 1 of sizes \[9\] does not fit a row of \[8\]'):
        pack(np.array([3, 9]), 8)
    with pytest.raises(ValueError, match=r'item 0 of sizes \[3, 9\]'):
        pack(np.array([[3, 9]]), (8, 8), 'best_fit')
    with pytest.raises(ValueError, match='item 0'):
        pack(np.array([-1]), 8)
    with pytest.raises(ValueError, match='known: first_fit, best_fit'):
        pack(np.array([1]), 8, 'worst_fit')


# Plans


def a_plan(calls=None):
    def make():
        if calls is not None:
            calls.append(1)
        return pack(lengths_of(100, 64), 64, 'best_fit').arrays()

    return make


def test_a_plan_is_made_once(tmp_path):
    calls, key = [], {'digest': 'abc', 'length': 64, 'how': 'best_fit'}
    made = planned(tmp_path, key, a_plan(calls))
    again = planned(tmp_path, dict(reversed(key.items())), a_plan(calls))
    assert len(calls) == 1
    wanted = a_plan()()
    for found in (made, again, planned(None, key, a_plan())):
        assert found.keys() == wanted.keys()
        assert all((found[k] == v).all() and found[k].dtype == v.dtype for k, v in wanted.items())
    assert isinstance(again['items'], np.memmap) and not again['items'].flags.writeable
    assert Bins(**again).fill == Bins(**wanted).fill
    planned(tmp_path, key | {'length': 65}, a_plan(calls))
    assert len(calls) == 2
    assert len(list((tmp_path / 'plans').iterdir())) == 2  # nothing is left aside


def test_empty_arrays_are_kept(tmp_path):
    for _ in range(2):
        found = planned(tmp_path, {}, lambda: {'none': np.zeros((0, 3), np.int32)})
        assert found['none'].shape == (0, 3) and found['none'].dtype == np.int32


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def spoil(path):
    path.write_bytes(path.read_bytes().replace(b'<i8', b'<i4'))


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    'damage',
    [
        lambda home: cut(home / 'items.npy'),
        lambda home: spoil(home / 'items.npy'),
        lambda home: flip(home / 'items.npy'),
        lambda home: (home / 'starts.npy').unlink(),
        lambda home: (home / META).unlink(),
        lambda home: cut(home / META),
        lambda home: (home / META).write_text('[]'),
        lambda home: (home / META).write_text('{"key": 3}'),
    ],
)
def test_a_damaged_plan_is_made_again(tmp_path, damage):
    calls = []
    planned(tmp_path, {}, a_plan(calls))
    (home,) = (tmp_path / 'plans').iterdir()
    damage(home)
    for _ in range(2):
        found = planned(tmp_path, {}, a_plan(calls))
        assert (found['items'] == a_plan()()['items']).all()
    assert len(calls) == 2


def test_a_plan_that_fails_leaves_nothing(tmp_path):
    def fails():
        raise OSError('disk full')

    with pytest.raises(OSError, match='disk full'):
        planned(tmp_path, {}, fails)
    with pytest.raises(ValueError, match='no room'):
        planned(tmp_path, {}, lambda: {'a': np.zeros(3), 'b': Unsaved()})
    assert not list(tmp_path.glob('plans/*'))
    assert (planned(tmp_path, {}, a_plan())['items'] == a_plan()()['items']).all()


def test_a_plan_that_cannot_be_kept_is_used_all_the_same(tmp_path):
    (tmp_path / 'plans').write_text('no directory')
    calls = []
    for _ in range(2):
        assert (planned(tmp_path, {}, a_plan(calls))['items'] == a_plan()()['items']).all()
    assert len(calls) == 2


def test_a_large_plan_is_verified_when_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(plans, 'LITTLE', 0)
    planned(tmp_path, {}, a_plan())
    assert plans.damaged(tmp_path) == []
    (home,) = (tmp_path / 'plans').iterdir()
    flip(home / 'items.npy')
    assert plans.damaged(tmp_path) == [home]


def test_a_plan_on_disk_is_pickled_as_its_path(tmp_path):
    def make():
        return {'many': np.arange(100_000)}

    kept, held = planned(tmp_path, {}, make), planned(None, {}, make)
    assert len(pickle.dumps(kept)) < 1000 < len(pickle.dumps(held))
    for plan in (kept, held):
        assert (pickle.loads(pickle.dumps(plan))['many'] == make()['many']).all()


class Unsaved:
    def __array__(self, *_, **__):
        raise ValueError('no room')
