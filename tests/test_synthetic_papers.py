"""What the experiments on made-up tasks say of runs, and how an induction head is found."""

import json

import numpy as np

from results.paper import Run
from results.papers import grokking, induction, recall
from tests.test_results_papers import verdicts
from transformer import inspect
from transformer.inspect.maps import AttentionMap
from transformer.tasks.repeats import Repeats


def curves(arm, seed=0, after=None, **losses):
    """A run with these (step, value) of `loss`, or of `accuracy`, by split."""
    records = [
        {'step': step, 'split': split, 'loss': value, 'accuracy': value}
        for split, points in losses.items()
        for step, value in points
    ]
    return Run(arm, seed, records, after or {}, 1000, 1.0)


def grokked(arm, known, late, seed=0):
    train = [(known - 1, 0.5), (known, 0.009), (known + 1, 0.02)]
    return curves(arm, seed, train=train, validation=[(known, 5.0), (late, 0.001)])


def judged(paper, runs, tmp_path):
    return [holds for holds in verdicts(paper, runs, tmp_path).values() if holds is not None]


def test_grokking(tmp_path):
    good = [grokked('0.5', 250, 900, s) for s in (0, 1)] + [
        grokked('0.4', 260, 3000, s) for s in (0, 1)
    ]
    numbers = grokking.PAPER.measure(good)
    assert [n.values[0] for n in numbers[:3]] == [250, 900, 900 / 250]
    assert judged(grokking.PAPER, good, tmp_path) == [True] * 5
    bad = [grokked('0.5', 100, 200), grokked('0.4', 500, 900)]
    assert judged(grokking.PAPER, bad, tmp_path) == [False] * 5


def test_what_never_generalises_did_not_grok(tmp_path):
    """A run that does not come there counts with its steps, which are within the bounds."""

    def stuck(share, steps):
        known = [(250, 0.5), (260, 0.009), (steps, 0.002)]
        return curves(share, train=known, validation=[(260, 5.0), (steps, 6.0)])

    runs = [stuck('0.5', 1800), stuck('0.4', 4500)]
    assert [n.values[0] for n in grokking.PAPER.measure(runs)] == [260, 1800, 260, 4500]
    assert judged(grokking.PAPER, runs, tmp_path) == [True, False, True, False]


def test_induction(tmp_path):
    head = {'layer': 1, 'head': 2, 'period': 3, 'weights': np.eye(5).tolist()}
    jump = [(100, 0.1), (400, 0.2), (450, 0.35), (500, 0.95), (1000, 0.99)]
    slow = [(100, 0.1), (200, 0.4), (900, 0.92), (1000, 0.93)]
    flat = [(100, 0.1), (1000, 0.15)]

    def runs(one, two, scores):
        after = [{'head': head | {'score': score}} for score in scores]
        return [
            curves('one', after=after[0], validation=one),
            curves('two', after=after[1], validation=two),
        ]

    good = runs(flat, jump, (0.1, 0.9))
    assert judged(induction.PAPER, good, tmp_path) == [True] * 5
    assert induction.PAPER.measure(good)[2].values == [(500 - 450) / 1000]
    assert judged(induction.PAPER, runs(jump, slow, (0.6, 0.3)), tmp_path) == [False] * 5
    never = runs(flat, flat, (0.1, 0.9))
    assert judged(induction.PAPER, never, tmp_path) == [True, False, False, True, True]


def test_recall(tmp_path):
    def runs(attention, of_states):
        made = []
        for mixer in recall.MIXERS:
            for width, value in zip((64, 96), of_states if mixer in recall.STATES else attention):
                made.append(curves(f'{mixer}-{width}', validation=[(10, 0.1), (20, value)]))
        return made

    assert judged(recall.PAPER, runs((0.99, 1.0), (0.3, 0.8)), tmp_path) == [True] * 5
    bad = runs((0.5, 0.9), (0.8, 0.85))
    assert judged(recall.PAPER, bad, tmp_path) == [False] * 5


def test_an_induction_head_is_found(monkeypatch):
    """Among heads that look elsewhere, in the second layer."""
    rows = [Repeats().draw(np.random.default_rng(i), 64).inputs for i in range(induction.ROWS)]
    periods = [induction.period_of(row) for row in rows]
    assert all(np.array_equal(row[p:], row[:-p]) for row, p in zip(rows, periods))
    weights_BNTS = np.zeros((len(rows), 2, 64, 64))
    for b, p in enumerate(periods):
        weights_BNTS[b, 0, np.arange(1, 64), np.arange(63)] = 1  # on the token before
        weights_BNTS[b, 1, np.arange(p, 64), np.arange(1, 64 - p + 1)] += 0.5
        # What followed the token before last counts, too.
        weights_BNTS[b, 1, np.arange(2 * p, 64), np.arange(1, 64 - 2 * p + 1)] = 0.25
        weights_BNTS[b, 1, np.arange(p, 2 * p), np.arange(1, p + 1)] += 0.25
    other = np.full_like(weights_BNTS, 1 / 64)
    maps = [AttentionMap('stack', i, 'mixer', w) for i, w in enumerate((other, weights_BNTS))]
    monkeypatch.setattr(inspect, 'attention', lambda *given: maps)
    best = json.loads(json.dumps(induction.best_of(None, None, np.stack(rows))))
    assert (best['layer'], best['head'], best['score']) == (1, 1, 0.75)
    assert best['period'] == periods[0] and np.shape(best['weights']) == (64, 64)
