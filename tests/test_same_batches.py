"""Step n sees the same rows, whoever makes them, on whatever machine, however it came to n."""

import subprocess
import sys

import numpy as np
import pytest

from tests.same_batches import BATCH, batches, digest, made

COUNT = 1000
# Of the first 1,000 batches, on all machines and versions of Python: a change here is a change of
# the order, which breaks the resumption of every run.
GOLDEN = {
    ('next_token', 'concat'): '31a851457b2c4c30',
    ('next_token', 'best_fit'): '1c1fa7bc5a0cce69',
    ('masked', 'concat'): 'f6b519e3882be0d4',
    ('span_corruption', 'concat'): '098cd09d813e6bab',
}


@pytest.fixture(scope='module')
def feed():
    return made()


@pytest.fixture(scope='module')
def whole(feed):
    return batches(feed, 0, COUNT)


@pytest.mark.parametrize(('kind', 'packing'), GOLDEN)
def test_the_same_on_every_machine(kind, packing):
    assert digest(batches(made(kind, packing), 0, COUNT)) == GOLDEN[kind, packing]


@pytest.mark.parametrize('processes', [2, 4, 8])
def test_the_union_of_processes_is_the_stream(feed, whole, processes):
    shares = np.split(np.arange(BATCH), processes)
    parts = [batches(feed, 0, COUNT, rows=rows) for rows in shares]
    union = [
        {k: np.concatenate([part[n][k] for part in parts], axis=1) for k in whole[0]}
        for n in range(COUNT)
    ]
    assert digest(union) == digest(whole)


def test_a_restart_at_any_step(feed, whole):
    for first in (1, 2, 16, 333, 998):
        assert digest(batches(feed, first, 2)) == digest(whole[first : first + 2])


@pytest.mark.slow
@pytest.mark.parametrize(('workers', 'first'), [(1, 7), (4, 0)])
def test_workers_change_nothing(whole, workers, first):
    command = [sys.executable, '-m', 'tests.same_batches']
    command += [str(first), str(COUNT - first), str(workers)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    assert done.stdout.split()[-1] == digest(whole[first:])


def test_every_source_has_its_share(whole):
    source = np.concatenate([batch['source'].reshape(-1) for batch in whole])
    assert abs((source == 0).mean() - 1 / 3.5) < 0.001
