"""Whole runs on a mixture: killed, resumed, with workers, and what their metrics say."""

import ast
import json
import sys

import pytest

from tests.test_train import WORDS, losses, metrics, parameters, run, started, train, wait_for_step

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('mixture')]


@pytest.fixture(scope='module')
def mixture(tmp_path_factory):
    """A folder of text and JSON lines, three to one."""
    home = tmp_path_factory.mktemp('sources')
    (home / 'books').mkdir()
    for i in range(12):
        (home / 'books' / f'{i}.txt').write_text(' '.join(WORDS[i % 7 :] * (i + 3)))
    lines = (json.dumps({'body': f'{i} {WORDS[i % 11]} ' * 9}) for i in range(60))
    (home / 'web.jsonl').write_text('\n'.join(lines))
    books = {'path': str(home / 'books'), 'weight': 3.0}
    return repr({'books': books, 'web': {'path': str(home / 'web.jsonl'), 'text_field': 'body'}})


def fields(mixture):
    # The path of SMALL would be a second source.
    return {'data.path': '', 'data.mixture': mixture, 'data.packing': 'best_fit'}


@pytest.fixture(scope='module')
def whole(mixture, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('whole') / 'run'
    train(workdir, '', **fields(mixture))
    return workdir


def test_metrics_tell_the_sources_apart(whole):
    records = metrics(whole)
    assert all({'tokens/books', 'tokens/web'} <= r.keys() for r in records)
    total = {name: sum(r[f'tokens/{name}'] for r in records) for name in ('books', 'web')}
    assert sum(total.values()) == sum(r['tokens'] for r in records)
    assert total['books'] > 1.5 * total['web'] > 0
    both = [r for r in records if r['tokens/books'] and r['tokens/web']]
    for r in both:
        parts = sum(r[f'loss/{name}'] * r[f'tokens/{name}'] for name in ('books', 'web'))
        assert parts / r['tokens'] == pytest.approx(r['loss'], rel=1e-5)
    assert all({'loss/books', 'loss/web'} <= r.keys() for r in metrics(whole, 'validation'))


@pytest.mark.parametrize('workers', [0, 1])
def test_killed_and_resumed(mixture, whole, tmp_path, workers):
    workdir = tmp_path / 'run'
    options = fields(mixture) | {'data.workers': workers}
    process = started(workdir, '', **options)
    try:
        wait_for_step(process, workdir, 11)
    finally:
        process.kill()
        process.communicate(timeout=30)  # until all that write to its pipes are gone: its workers
    train(workdir, '', **options)
    assert losses(workdir) == losses(whole)
    assert parameters(workdir) == parameters(whole)


def test_evaluated_by_source(whole):
    done = run([sys.executable, 'eval.py', f'--workdir={whole}', '--json'])
    found = json.loads(done.stdout.splitlines()[-1])
    best = min(metrics(whole, 'validation'), key=lambda r: r['loss'])
    for name in ('loss', 'loss/books', 'loss/web'):
        assert found[name] == pytest.approx(best[name], abs=1e-9)


def test_more_steps_than_the_epochs_give(mixture, tmp_path):
    limited = ast.literal_eval(mixture)
    for source in limited.values():
        source['epochs'] = 0.1
    done = train(tmp_path / 'run', '', 1, **fields(repr(limited)))
    assert 'config.steps=24 cannot be used; accepted: at most' in done.stderr
