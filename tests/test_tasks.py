"""Made-up tasks: what their rows hold, that splits share none, that they fit the rest."""

import dataclasses
import itertools
import json
import sys
import types

import numpy as np
import pytest

from data import feed, load, made_up
from data import prepare as preparing
from data.show import __main__ as showing
from tests.test_train import run
from transformer import workdir
from transformer.errors import ConfigError, UserError
from transformer.experiment import Experiment, default_config
from transformer.models import DecoderOptions
from transformer.preflight import task as preflight
from transformer.tasks import TASKS, Drawn
from transformer.tasks.addition import ModularAddition
from transformer.tasks.base import EPOCH, register
from transformer.tasks.recall import Recall
from transformer.tasks.repeats import Repeats

# One of each, small, with a length that it has.
SMALL = {
    'modular_addition': (ModularAddition(modulus=7, share=0.4), 3),
    'repeats': (Repeats(tokens=9, least=2, most=5, held_out=6), 12),
    'recall': (Recall(tokens=12, pairs=3, held_out=6), 16),
}
KINDS = list(SMALL)


def made(kind, seed=0):
    task, context = SMALL[kind]
    return made_up.feed(types.SimpleNamespace(objective=task, context=context, seed=seed))


def batches(found, first, count, rows=None):
    options = {'batch_size': 4, 'accumulation': 2, 'prefetch': 2, 'rows': rows}
    iterator = feed.train_batches(found, first=first, **options)
    taken = list(itertools.islice(iterator, count))
    iterator.close()
    return taken


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def test_every_task_is_here():
    assert set(SMALL) == set(TASKS)
    with pytest.raises(TypeError, match="'recall' already means Recall"):
        register(dataclasses.make_dataclass('Other', [], bases=(Recall,), frozen=True))


@pytest.mark.parametrize('kind', KINDS)
def test_rows_are_functions_of_their_arguments(kind):
    (task, context), rows, again = SMALL[kind], made(kind).train.rows, made(kind).train.rows
    assert same(rows.at(1), again.at(1)) and same(rows.draw(1, 2, 3), again.draw(1, 2, 3))
    if isinstance(task, Drawn):  # anew in every epoch and for every seed
        assert not same(rows.draw(1, 2, 3), rows.draw(1, 3, 3))
        assert not same(rows.draw(1, 2, 3), rows.draw(1, 2, 4))
    for row in (rows.at(0), rows.draw(len(rows) - 1, 0, 0)):
        floats = {'weights': np.float32}
        assert all(x.shape == (context,) for x in row.values())
        assert all(x.dtype == floats.get(name, np.int32) for name, x in row.items())
        assert row['weights'].any() and row['inputs'].max() < task.vocab == len(task.pieces)
        assert row['targets'].min() >= 0 and row['targets'].max() < task.vocab
        assert row['positions'].tolist() == list(range(context)) and row['segment_ids'].all()


@pytest.mark.parametrize('kind', KINDS)
def test_training_resumes_and_splits_over_processes(kind):
    found = made(kind, seed=1)
    whole = batches(found, 0, 6)
    assert whole[0]['weights'].shape[:2] == (2, 2)
    assert all(same(a, b) for a, b in zip(batches(found, 4, 2), whole[4:]))
    for row in range(2):
        for batch, part in zip(whole, batches(found, 0, 6, np.array([row]))):
            assert all(np.array_equal(part[k], x[:, row : row + 1]) for k, x in batch.items())


@pytest.mark.parametrize('kind', ['repeats', 'recall'])
def test_no_row_is_trained_on_and_evaluated_on(kind):
    task, context = SMALL[kind]
    if kind == 'repeats':  # few rows: without care all of them would be in both splits
        task, context = Repeats(tokens=5, least=2, most=3, held_out=60), 4
    rows = {}
    for split, key in (('train', 1), ('validation', 2)):
        drawn = (task.row(split, i, (i, key), context).inputs for i in range(600))
        rows[split] = {tuple(row.tolist()) for row in drawn}
    assert not rows['train'] & rows['validation']
    if kind == 'repeats':
        assert len(rows['train']) + len(rows['validation']) == 5 * 4 + 5 * 4 * 3
        assert len(rows['validation']) > 2


def test_the_digest_follows_the_rows():
    found = [made(kind) for kind in KINDS]
    other = made_up.feed(types.SimpleNamespace(objective=Recall(pairs=2), context=16, seed=0))
    assert len({one.digest for one in [*found, other]}) == 4
    assert [made(kind).digest for kind in KINDS] == [one.digest for one in found]


# Addition


def test_all_sums_are_there_once():
    task = ModularAddition(modulus=11, share=0.3)
    found = made_up.feed(types.SimpleNamespace(objective=task, context=3, seed=0))
    assert len(found.train.rows) == 36
    pairs = set()
    for split in (found.train, found.validation):
        for i in range(len(split.rows)):
            row = split.rows.at(i)
            a, b, equals = row['inputs'].tolist()
            assert equals == 11 and row['targets'][-1] == (a + b) % 11
            assert row['weights'].tolist() == [0, 0, 1]
            pairs.add((a, b))
    assert len(pairs) == 121 == len(found.train.rows) + len(found.validation.rows)
    other = dataclasses.replace(task, draw=1)
    assert [task.row('train', i, (), 3).inputs.tolist() for i in range(36)] != [
        other.row('train', i, (), 3).inputs.tolist() for i in range(36)
    ]


def test_a_batch_may_be_all_that_is_trained_on():
    found = made('modular_addition')
    count = len(found.train.rows)
    options = {'batch_size': count, 'accumulation': 1, 'first': 2, 'prefetch': 1}
    iterator = feed.train_batches(found, **options)
    for batch in itertools.islice(iterator, 3):
        assert len({tuple(row) for row in batch['inputs'][0].tolist()}) == count
    iterator.close()


# Repeats


def test_what_is_learnt_of_repeats_can_be_foreseen():
    task, periods = Repeats(tokens=40, least=3, most=9), set()
    for i in range(200):
        inputs, targets, weights = task.draw(np.random.default_rng(i), 24)
        assert np.array_equal(inputs[1:], targets[:-1])
        first = [inputs.tolist().index(token) for token in inputs]
        seen = np.array(first) < np.arange(24)
        assert np.array_equal(weights > 0, seen)
        # What followed the token when it came first.
        assert all(targets[t] == inputs[first[t] + 1] for t in np.flatnonzero(seen))
        periods.add(int((~seen).sum()))
    assert periods == set(range(3, 10))


# Recall


def test_what_is_learnt_of_recall_was_told():
    task, gaps = Recall(tokens=64, pairs=4, power=0.01), []
    for i in range(300):
        inputs, targets, weights = task.draw(np.random.default_rng(i), 40)
        told = dict(zip(inputs[0:8:2].tolist(), inputs[1:8:2].tolist()))
        assert len(told) == len(set(told.values())) == 4
        assert max(told) < 32 <= min(told.values()) and min(told) > 0
        asked = np.flatnonzero(weights)
        assert {int(inputs[t]): int(targets[t]) for t in asked} == told
        assert (asked >= 8).all() and (asked % 2 == 0).all() and len(asked) == 4
        rest = np.delete(inputs[8:], asked - 8)
        assert not rest.any()
        gaps += (asked - 8).tolist()
    # Four of 16 places without replacement, chances nearly 1 / place.
    counts = np.bincount(np.array(gaps) // 2, minlength=16) / 300
    assert counts[0] > 0.7 > 0.35 > counts[8:].mean() and counts.sum() == pytest.approx(4)


# With the rest


def experiment(kind, **fields):
    config = default_config('decoder', kind)
    task, context = SMALL[kind]
    config.objective.update(dataclasses.asdict(task))
    config.update({'context': context} | fields)
    return Experiment.from_config(config)


@pytest.mark.parametrize(
    ('task', 'fields', 'field', 'accepted'),
    [
        (ModularAddition, {'modulus': 1}, 'modulus', 'from 2'),
        (ModularAddition, {'share': 1.0}, 'share', 'both sides'),
        (ModularAddition, {'share': 0.0}, 'share', 'both sides'),
        (ModularAddition, {'draw': -1}, 'draw', 'from 0'),
        (Repeats, {'least': 0}, 'least', 'above 0'),
        (Repeats, {'most': 7}, 'most', 'objective.least=8'),
        (Repeats, {'tokens': 31}, 'tokens', 'at least config.objective.most=32'),
        (Repeats, {'held_out': 0}, 'held_out', 'above 0'),
        (Recall, {'pairs': 0}, 'pairs', 'above 0'),
        (Recall, {'tokens': 17}, 'tokens', 'even number of at least 18'),
        (Recall, {'power': 0.0}, 'power', 'above 0'),
    ],
)
def test_what_cannot_be_is_refused(task, fields, field, accepted):
    with pytest.raises(ConfigError, match=accepted) as raised:
        task(**fields)
    assert raised.value.field == f'objective.{field}'


def test_rows_that_are_all_alike_do_not_hang():
    with pytest.raises(ConfigError, match='what gives more different rows: of 10,000 none is'):
        for split in ('train', 'validation'):  # there is one row, of one of them
            Repeats(tokens=1, least=1, most=1).row(split, 0, (0,), 8)


@pytest.mark.parametrize(
    ('kind', 'context', 'accepted'),
    [('modular_addition', 4, '3 for'), ('repeats', 5, 'at least 6'), ('recall', 17, 'even')],
)
def test_a_length_that_a_task_has_not_is_refused(kind, context, accepted):
    with pytest.raises(ConfigError, match=accepted) as raised:
        load.load(experiment(kind, context=context))
    assert raised.value.field == 'context'


@pytest.mark.parametrize(
    ('field', 'value'), [('path', 'some.txt'), ('vocab', 7), ('packing', 'best_fit')]
)
def test_what_is_not_read_is_refused(field, value):
    with pytest.raises(ConfigError, match='rows of config.objective.kind are made up') as raised:
        experiment('recall', data={field: value})
    assert raised.value.field == f'data.{field}'


def test_only_decoders_learn_tasks():
    config = default_config('encoder')
    config.objective = default_config('decoder', 'recall').objective
    with pytest.raises(ConfigError, match="config.model.family='encoder'"):
        Experiment.from_config(config)


@pytest.mark.parametrize('kind', KINDS)
def test_preflight_knows_the_rows(kind):
    found = preflight.task_of(experiment(kind))
    real = made(kind).train.rows.at(0)
    assert {k: (x.shape, x.dtype) for k, x in found.row.items()} == {
        k: (x.shape, x.dtype) for k, x in real.items()
    }
    assert (found.vocab, found.classes, found.assumed) == (SMALL[kind][0].vocab, 0, ())


CONFIG = """
from transformer.experiment import default_config

def get_config():
    config = default_config('decoder', 'recall')
    config.update({'context': 16, 'batch_size': 4, 'steps': 4, 'eval_every': 2, 'seed': 5})
    config.objective.update({'tokens': 12, 'pairs': 3, 'held_out': 6})
    config.model.update({'width': 8, 'depth': 1, 'heads': 1, 'mlp': 'none', 'norm': 'none'})
    config.log.tensorboard = False
    return config
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'recall.py'
    path.write_text(CONFIG)
    return f'--config={path}'


def test_rows_are_shown(monkeypatch, capsys, config):
    monkeypatch.setattr(sys, 'argv', ['show', config, '--n=2', '--json'])
    assert showing.main() == 0
    found = json.loads(capsys.readouterr().out)
    (side,) = found['examples'][0]['sides']
    runs = side['segments'][0]
    learnt = [part['text'] for part in runs if part['trained']]
    assert len(learnt) == 3 and all(text.startswith('v') for text in learnt)
    assert found['sources']['']['rows'] == EPOCH and 'images' not in found['sources']['']
    monkeypatch.setattr(sys, 'argv', ['show', config, '--n=1', '--split=validation'])
    assert showing.main() == 0 and '⟦v' in capsys.readouterr().out


def test_there_is_nothing_to_prepare(monkeypatch, config):
    monkeypatch.setattr(sys, 'argv', ['prepare', config])
    with pytest.raises(UserError, match='recall is made up: there is nothing to prepare'):
        preparing.main()


@pytest.mark.slow
def test_a_run_is_trained_evaluated_and_writes_no_text(config, tmp_path):
    directory = tmp_path / 'run'
    run([sys.executable, 'train.py', config, f'--workdir={directory}'])
    assert not (directory / workdir.TOKENIZER).exists()
    lines = (directory / 'metrics.jsonl').read_text().splitlines()
    last = [r for r in map(json.loads, lines) if r['split'] == 'validation'][-1]
    words = [sys.executable, 'eval.py', f'--workdir={directory}', '--checkpoint=4', '--json']
    found = json.loads(run(words).stdout.splitlines()[-1])
    assert found['loss'] == pytest.approx(last['loss'], abs=1e-9)
    assert found['tokens'] == 18  # three answers a row
    done = run([sys.executable, 'generate.py', f'--workdir={directory}', '--prompt=k1'], 1)
    assert 'a model of recall, which is no text; eval.py measures it' in done.stderr


def test_norms_may_be_left_out():
    options = DecoderOptions(norm='none')
    assert dataclasses.asdict(options.norm_config) == {}
    with pytest.raises(ConfigError, match='unless config.model has a norm'):
        DecoderOptions(norm='none', norm_eps=1e-3)
