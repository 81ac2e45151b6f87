"""Batches on the devices ahead of the step: the same ones, in order, and nothing left behind."""

import itertools
import threading

import jax
import numpy as np
import pytest

from transformer import sharding
from transformer.experiment import MeshConfig
from transformer.prefetch import Ahead


@pytest.fixture(scope='module')
def mesh():
    return sharding.make_mesh(MeshConfig(data=4, context=2))


def numbered(count=None):
    """Batches that say which they are."""
    for n in itertools.count() if count is None else range(count):
        yield {'inputs': np.full((1, 8, 4), n, np.int32), 'source': np.full((1, 8), n, np.int32)}


def threads():
    return [thread for thread in threading.enumerate() if thread.name == 'prefetch']


def test_the_same_batches_laid_out_in_order(mesh):
    with Ahead(numbered(20), mesh) as ahead:
        got = list(ahead)
        assert next(ahead, None) is None  # and once more
    assert len(got) == 20
    for batch, plain in zip(got, numbered()):
        for name, x in sharding.put_batch(plain, mesh).items():
            assert batch[name].sharding == x.sharding
            np.testing.assert_array_equal(batch[name], x)
    assert not threads()


@pytest.mark.parametrize('size', [1, 3])
def test_it_goes_no_further_ahead_than_asked(mesh, size):
    made, enough = [], threading.Semaphore(0)

    def batches():
        for batch in numbered():
            made.append(1)
            enough.release()
            yield batch

    with Ahead(batches(), mesh, size) as ahead:
        for _ in range(size + 1):
            assert enough.acquire(timeout=30)  # without one being asked for
        assert not enough.acquire(timeout=0.2)
        next(ahead)
        assert enough.acquire(timeout=30)
        assert not enough.acquire(timeout=0.2)
    assert len(made) <= size + 3
    assert not threads()


def test_an_error_comes_at_its_batch_and_once(mesh):
    def batches():
        yield from numbered(3)
        raise OSError('the disk is gone')

    ahead = Ahead(batches(), mesh)
    for n in range(3):
        assert int(next(ahead)['source'][0, 0]) == n
    with pytest.raises(OSError, match='the disk is gone'):
        next(ahead)
    with pytest.raises(StopIteration):
        next(ahead)
    assert not threads()


def test_a_batch_that_does_not_fit_the_mesh_is_an_error(mesh):
    ahead = Ahead([{'inputs': np.zeros((1, 7, 4), np.int32)}], mesh)
    with pytest.raises(ValueError, match='partitioned 4 times, but the dimension size is 7'):
        next(ahead)
    assert not threads()


def test_closing(mesh):
    """With nothing taken, with the buffer full, twice, and while a batch is being made."""
    for taken in (0, 1, 5):
        ahead = Ahead(numbered(), mesh)
        for _ in range(taken):
            next(ahead)
        ahead.close()
        ahead.close()
        with pytest.raises(StopIteration):
            next(ahead)
        assert not threads()
    begun, go_on = threading.Event(), threading.Event()
    made = []

    def slow():
        for batch in numbered():
            begun.set()
            assert go_on.wait(30)
            made.append(1)
            yield batch

    ahead = Ahead(slow(), mesh)
    assert begun.wait(30)
    closing = threading.Thread(target=ahead.close)
    closing.start()
    go_on.set()
    closing.join(30)
    assert not closing.is_alive() and not threads()
    assert len(made) <= 3  # it did not go on making batches
    before = len(made)
    ahead.close()
    assert len(made) == before


def test_the_thread_asks_for_no_more_after_closing(mesh):
    asked = []
    source = (asked.append(n) or batch for n, batch in enumerate(numbered()))
    with Ahead(source, mesh) as ahead:
        next(ahead)
    before = len(asked)
    next(source)  # nobody else is reading it
    assert len(asked) == before + 1


def test_compiled_steps_take_them(mesh):
    add = jax.jit(lambda total, batch: total + batch['source'].sum())
    total = 0
    with Ahead(numbered(6), mesh) as ahead:
        for batch in ahead:
            total = add(total, batch)
    assert int(total) == 8 * sum(range(6))


def test_a_buffer_of_none(mesh):
    with pytest.raises(ValueError, match='size=0: at least 1'):
        Ahead(numbered(1), mesh, 0)
