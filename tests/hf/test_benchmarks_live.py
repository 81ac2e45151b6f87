"""Benchmarks with their peer: both sides are the same model."""

import pytest

pytest.importorskip('torch', reason='compares with torch and transformers: pip install both')
pytest.importorskip('transformers', reason='compares with transformers: pip install it')

from benchmarks import cases, decode, train
from benchmarks.pair import Pair
from tests.test_benchmarks import here, run  # noqa: F401 (a fixture)

pytestmark = pytest.mark.live
SMALLER = {
    'bert_mini': {'batch_size': '2', 'context': '16', 'model.width': '32'},
    't5_mini': {'batch_size': '2', 'context': '16', 'target_context': '8', 'model.width': '32'},
}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '1')


def test_a_training_step_and_its_peer(run, capsys):  # noqa: F811
    time, most = run(train, '--model=tiny', '--repeats=2', '--steps=2')
    for r in (time, most):
        assert r['ratio'] == pytest.approx(r['ours'] / r['peer'])
    low, high = time['spread']['ratio']
    assert 0 < low <= high
    words = capsys.readouterr().out.split()
    first = words.index('loss')
    losses = [float(words[first + i].rstrip(',')) for i in (1, 3, 7, 9)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)  # before any update
    assert losses[2] == pytest.approx(losses[3], abs=1e-4)  # after three
    assert abs(losses[2] - losses[0]) > 1e-3


def test_decoding_and_its_peer(run, capsys):  # noqa: F811
    flags = ('--model=tiny', '--batch=1,2', '--prompt=8', '--new=12', '--repeats=1')
    found = run(decode, *flags)
    assert len(found) == 6  # speed, share of the bandwidth and memory, of two batches
    assert all(r['ratio'] > 0 for r in found)
    assert capsys.readouterr().out.count('100.0% of the tokens are the same') == 2


@pytest.mark.long
@pytest.mark.parametrize('name', SMALLER)
def test_the_other_families_learn_the_same(name, capsys):
    args = {'model': name, 'overrides': SMALLER[name]}
    with Pair('training', here(), ('spec', 'optimizer', 'dtype'), **args) as pair:
        assert train.warm_up(name, pair, 1) == 1
        losses = [told['losses'] for told in pair.each('run', steps=2).values()]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert cases.CASES[name].options.dropout == 0
