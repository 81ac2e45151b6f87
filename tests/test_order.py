"""Order by index: shares hold in every window, each example comes once an epoch."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from data import order as module
from data.order import BLOCK, KEPT, LEAST_SHARE, Order, shares, shuffled
from transformer.data_config import source_fields
from transformer.errors import ConfigError

WINDOW = 100_000
MANY = np.random.default_rng(0).random(90) ** 6 + 1e-4
GOLDEN = [(0, 633, 0), (1, 15238, 0), (0, 75, 0), (0, 837, 0), (0, 794, 707070)]
MIXTURES = {
    'one': [3.0],
    'even': [1, 1],
    'tiny': [1, 1e-4],
    'ratios': [1, 1e-9, 1e-3, 0.5],
    'equal many': [1] * 99,
    'many': list(MANY),
    'thousands': list(np.random.default_rng(1).random(3000) ** 9 + 1e-6),
    'a zero': [2, 0, 1],
}


def order_of(weights, seed=0, size=1000, epochs=()):
    return Order([size + k for k in range(len(weights))], weights, epochs, seed)


# Shares


@pytest.mark.parametrize('name', MIXTURES)
@pytest.mark.parametrize('seed', [0, 1])
def test_every_window_has_its_shares(name, seed):
    order = order_of(MIXTURES[name], seed)
    asked = np.array(MIXTURES[name]) / np.sum(MIXTURES[name])
    assert order.shares() == pytest.approx(asked)
    rng = np.random.default_rng(seed)
    begins = [0, 1, 17, 10**6, 10**12, *rng.integers(0, 10**7, 20), *rng.integers(0, 10**12, 10)]
    for begin in begins:
        got = order.counts(int(begin) + WINDOW) - order.counts(int(begin))
        assert got.sum() == WINDOW
        assert np.abs(got / WINDOW - asked).max() < 0.001


@pytest.mark.parametrize('name', ['tiny', 'ratios', 'many', 'thousands', 'a zero', 'equal many'])
def test_counts_are_those_of_the_examples(name):
    order = order_of(MIXTURES[name], 3)
    for first in (0, 5 * BLOCK - 3, 10**12 - 2000):
        got = order.counts(first)
        for i in range(first, first + 2 * BLOCK + 5):
            if (i - first) % 97 == 0:
                assert (order.counts(i) == got).all()
            got[order.at(i).source] += 1
        assert (order.counts(i + 1) == got).all()


def test_a_source_of_weight_0_never_comes():
    order = order_of([1, 0, 2])
    assert order.counts(10**12)[1] == 0
    assert {order.at(i).source for i in range(500)} == {0, 2}


def test_ticks_follow_one_another():
    order = order_of(MIXTURES['many'], 2, size=10)
    seen = np.zeros(len(MANY), int)
    for i in range(3 * BLOCK):
        source, place, epoch = order.at(i)
        assert epoch == seen[source] // (10 + source) and 0 <= place < 10 + source
        seen[source] += 1


# Epochs


def test_limited_sources_stop_and_others_take_over():
    order = Order([1000, 500, 800], [5, 3, 2], [1, 0.5, 0], 1)
    assert order.total is None
    counts = order.counts(10**6)
    assert counts.tolist() == [1000, 250, 10**6 - 1250]
    # After 250 / 0.3 examples the second is used up: 5 and 2 parts of 7 from there.
    then = order.counts(1300) - order.counts(900)
    assert np.abs(then - 400 * np.array([5, 0, 2]) / 7).max() <= 2
    assert order.at(10**6).source == 2


def test_shares_are_those_of_the_sources_left_in_every_window():
    sizes, weights = [10**6, 10**6, 10**6, 10**6], [8, 4, 2, 1]
    order = Order(sizes, weights, [1, 1, 1, 0], 5)

    def left(i):
        return [n < size or k == 3 for k, (n, size) in enumerate(zip(order.counts(i), sizes))]

    compared = 0
    for begin in range(0, 4 * 10**6, 25_000):
        got = order.counts(begin + WINDOW) - order.counts(begin)
        if left(begin) == left(begin + WINDOW):
            compared += 1
            asked = np.array(weights) * left(begin)
            assert np.abs(got / WINDOW - asked / asked.sum()).max() < 0.001
    assert compared > 100


@pytest.mark.parametrize('block', [7, BLOCK])
def test_a_limited_mixture_has_each_example_of_its_epochs(monkeypatch, block):
    monkeypatch.setattr(module, 'BLOCK', block)
    sizes, epochs = [100, 31, 7, 1], [1, 2, 0.5, 3]
    order = Order(sizes, [1, 1e-6, 5, 2], epochs, 4)
    assert order.total == 100 + 62 + 4 + 3
    seen = [order.at(i) for i in range(order.total)]
    assert len(set(seen)) == order.total
    for source, (size, passes) in enumerate(zip(sizes, epochs)):
        mine = [one for one in seen if one.source == source]
        for epoch in range(int(passes)):
            places = sorted(one.place for one in mine if one.epoch == epoch)
            assert places == list(range(size))
    for beyond in (order.total, -1):
        with pytest.raises(IndexError):
            order.at(beyond)
    assert order.counts(10**9).tolist() == order.counts(order.total).tolist() == [100, 62, 4, 3]


# Shuffle


@pytest.mark.parametrize('size', [1, 2, 3, 1000, 1024, 1025, 5000])
def test_an_epoch_is_a_new_permutation_of_all_examples(size):
    order = Order([size], seed=7)
    epochs = [[order.at(e * size + i) for i in range(size)] for e in range(3)]
    for number, epoch in enumerate(epochs):
        assert sorted(one.place for one in epoch) == list(range(size))
        assert {(one.source, one.epoch) for one in epoch} == {(0, number)}
    if size > 3:
        assert epochs[0] != [one._replace(epoch=0) for one in epochs[1]]
        other = [Order([size], seed=8).at(i) for i in range(size)]
        assert other != epochs[0]
        places = np.array([one.place for one in epochs[0]])
        near = np.abs(np.diff(places)) == 1
        assert near.mean() < 0.05  # the shuffle is of the whole source


@pytest.mark.parametrize('size', [1025, 16385, 65536, 65537, 65538, 131073, 262145])
def test_a_permutation_of_any_size(size):
    """The library's own loses a place where the last one is a power of 4."""
    for seed in (0, 12345):
        assert len({shuffled(i, size, seed) for i in range(size)}) == size


def test_each_place_is_as_likely_as_any_other():
    firsts = np.array([Order([10], seed=seed).at(0).place for seed in range(2000)])
    counts = np.bincount(firsts, minlength=10)
    assert np.abs(counts - 200).max() < 4.5 * np.sqrt(200 * 0.9)


def test_sources_of_equal_size_have_different_orders():
    order = Order([50, 50], [1, 1], seed=0)
    seen = [order.at(i) for i in range(100)]
    both = [[one.place for one in seen if one.source == k] for k in (0, 1)]
    assert sorted(both[0]) == sorted(both[1]) and both[0] != both[1]


# Cost, and the same everywhere


def test_far_examples_cost_no_more_than_near_ones(monkeypatch):
    order = order_of(MIXTURES['many'], 1)
    made = []
    ticks = Order._ticks

    def counted(self, first, last):
        found = ticks(self, first, last)
        made.append(len(found[1]))
        return found

    monkeypatch.setattr(Order, '_ticks', counted)
    for i in (0, 10_000_000 * 4096, 10**14):
        made.clear()
        order.at(i)
        assert len(made) == 1 and made[0] <= BLOCK + 4 * (len(MANY) + 1)
        order.at(i + 1)
        assert len(made) == 1 or (i + 1) % BLOCK == 0
    assert order._block.cache_info().maxsize == KEPT


def test_any_way_through_gives_the_same():
    order = order_of(MIXTURES['many'], 1)
    places = np.random.default_rng(0).integers(0, 50 * BLOCK, 300).tolist()
    one_by_one = {i: order_of(MIXTURES['many'], 1).at(i) for i in places[:20]}
    copy = pickle.loads(pickle.dumps(order))
    assert all(order.at(i) == copy.at(i) for i in places)
    assert all(order.at(i) == found for i, found in one_by_one.items())


def test_the_stream_is_settled():
    """Runs resume only as long as these stay."""
    order = Order([1000, 50_000, 7], [0.7, 0.29, 0.01], [0, 0, 2], 3)
    got = [tuple(order.at(i)) for i in (0, 1, 2, 99, 10**9)]
    assert got == GOLDEN
    script = f'from data.order import Order\nprint([tuple(Order{order._arguments}.at(10**9))])'
    done = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(GOLDEN[-1:])


# Temperature, bad input


def test_temperature():
    assert shares([10, 1000], [1, 1]) == (0.5, 0.5)
    assert shares([10, 1000], [3, 1], 0.0) == (0.75, 0.25)
    assert shares([10, 1000], [1, 1], 1.0) == pytest.approx([1 / 101, 100 / 101])
    assert shares([100, 10_000], [1, 1], 2.0) == pytest.approx([1 / 11, 10 / 11])
    assert shares([100, 10_000], [2, 1], 2.0) == pytest.approx([2 / 12, 10 / 12])
    assert shares([10, 10**9], [1, 1], 1e9) == pytest.approx([0.5, 0.5])
    assert shares([10, 1000, 5], [1, 1, 0], 1.0)[2] == 0
    assert sum(shares([3, 10**12, 7], [1, 2, 3], 3.0)) == pytest.approx(1)


@pytest.mark.parametrize('weight', [-1.0, float('nan'), float('inf')])
def test_weights_that_cannot_be_are_named(weight):
    with pytest.raises(ConfigError, match='at least 0') as raised:
        Order([5, 5], [1, weight], names=('books', 'code'))
    assert raised.value.field == 'data.mixture.code.weight'


def test_other_bad_input():
    with pytest.raises(ConfigError, match='one at least is above 0'):
        shares([5, 5], [0, 0])
    with pytest.raises(ConfigError, match='no rows') as raised:
        shares([5, 0], [1, 1], names=('a', 'b'))
    assert raised.value.field == 'data.mixture.b.weight'
    assert shares([5, 0], [1, 0]) == (1, 0)
    with pytest.raises(ConfigError, match='its share of the rows'):
        shares([5, 5], [1, LEAST_SHARE / 2])
    with pytest.raises(ConfigError, match='its share of the rows would be'):
        shares([2, 10**9], [1, 1], 0.01)
    for temperature in (-1, float('nan'), float('inf')):
        with pytest.raises(ConfigError, match='temperature'):
            shares([5], [1], temperature)
    for epochs in (-1, float('nan'), float('inf')):
        with pytest.raises(ConfigError, match='epochs'):
            Order([5], [1], [epochs])
    with pytest.raises(ValueError):
        Order([5, 6], [1])


@pytest.mark.parametrize(
    ('entry', 'field'),
    [({'weight': '2'}, 'weight'), ({'path': 3}, 'path'), ({'epochs': True}, 'epochs')],
)
def test_values_of_another_type_in_a_mixture_are_named(entry, field):
    with pytest.raises(ConfigError, match='accepted: a ') as raised:
        source_fields({'books': entry})
    assert raised.value.field == f'data.mixture.books.{field}'
