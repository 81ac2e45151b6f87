"""What an experiment plans, keeps and believes."""

import dataclasses
import json
from pathlib import Path

import pytest

from results import columns, papers, plan, record, settings
from results.paired import gaps
from results.paper import Arm, Number
from tests import made_results
from transformer.errors import UserError

ARMS = [Arm('b', 'configs/b.py', start='a'), Arm('a', 'configs/a.py'), Arm('c d', 'configs/c.py')]
CHAIN = dataclasses.replace(made_results.PAPER, sizes={'': ARMS, 'full': ARMS[1:]})


def planned(paper=CHAIN, size='', seeds=2, overrides=(), only=()):
    return plan.trainings(paper, size, seeds, Path('/runs'), dict(overrides), only)


def test_an_arm_comes_after_the_one_that_it_starts_from():
    found = planned()
    assert [(t.arm.name, t.seed) for t in found] == [
        (name, seed) for seed in (0, 1) for name in ('a', 'b', 'c d')
    ]
    assert '--config.init=/runs/made/a-1' in found[4].words
    assert not any('init' in word for word in found[3].words)
    assert [t.workdir.name for t in found[:3]] == ['a-0', 'b-0', 'c_d-0']
    assert planned(size='full')[0].workdir == Path('/runs/made_full/a-0')
    assert [t.arm.name for t in planned(seeds=1, only=['b'])] == ['a', 'b']
    assert [t.arm.name for t in planned(seeds=1, only=['c_d'])] == ['c d']  # no blank, no comma


def test_what_the_user_sets_wins():
    arm = Arm('a', 'configs/a.py', {'steps': 5, 'model.mixers': ('mamba',)}, after={'x': ''})
    paper = dataclasses.replace(CHAIN, sizes={'': [arm]})
    (found,) = planned(paper, seeds=1, overrides={'steps': '7'})
    assert found.words[1:3] == ['train.py', '--config=configs/a.py']
    fields = ['--config.seed=0', '--config.steps=7', "--config.model.mixers=('mamba',)"]
    assert found.words[4:] == fields
    words = found.after('eval.py --workdir={workdir} --save="a b" \'{"x": 1}\'')
    assert words[1:] == ['eval.py', '--workdir=/runs/made/a-0', '--save=a b', '{"x": 1}']


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        ({'size': 'huge'}, "--size=huge: made has the sizes '', 'full'"),
        ({'only': ['z']}, '--only=z: no such arm; known: b, a, c_d'),
        ({'overrides': {'seed': '3'}}, '--config.seed=3: give --seeds=N'),
        ({'paper': dataclasses.replace(CHAIN, data='a text')}, 'needs --config.data.path: a text'),
    ],
)
def test_what_cannot_be_planned(wrong, message):
    with pytest.raises(UserError, match=message):
        planned(**wrong)


def test_arms_that_cannot_be():
    for arms in (
        [Arm('a', 'x', start='b'), Arm('b', 'x', start='a')],
        [Arm('a', 'x', start='z')],
        [Arm('a b', 'x'), Arm('a_b', 'x')],
    ):
        with pytest.raises(ValueError, match='arm'):
            plan.in_order(arms)


def test_a_command_without_paths():
    for word, kept in {
        '--config.data.path=/home/me/text.txt': '--config.data.path=text.txt',
        '--config.data.path=../mine/multi30k/': '--config.data.path=multi30k/',
        '--runs=~/runs': '--runs=runs',
        "--x={'a': {'path': '/x/y/z'}}": "--x={'a': {'path': 'z'}}",
        '--config.data.path=gs://bucket/a/b': '--config.data.path=gs://bucket/a/b',
        '--config.init=org/model': '--config.init=org/model',
    }.items():  # fmt: skip
        assert plan.portable(word) == kept


def test_what_a_run_was_trained_with():
    arms = [
        Arm('text', 'configs/pretraining.py', {'model.width': 32}),
        Arm('classes', 'configs/pretraining.py:classes', {'steps': 7}, start='text'),
    ]
    text, classes = (settings.of(arm, arms) for arm in arms)
    assert text['model.width'] == classes['model.width'] == 32
    assert (classes['steps'], classes['data.tokenizer']) == (7, 'init')
    assert text['objective.kind'] == 'masked' and classes['objective.kind'] == 'classification'
    for free in ('seed', 'data.path', 'data.workers', 'log_every', 'model.attention'):
        assert free not in text
    paper = dataclasses.replace(CHAIN, sizes={'': arms})
    run = dataclasses.replace(made_results.run('text'), config=text | {'steps': 5, 'gone': 1})
    command = 'python -m results.run made'
    (said,) = settings.outdated(paper, '', command, [run])
    assert said.startswith('text, seed 0, was trained with config.steps=5; configs/pretraining.py')
    assert not list(settings.outdated(paper, '', f'{command} --config.steps=5', [run]))


def test_an_unknown_experiment():
    with pytest.raises(UserError, match='shakespear: no such .* did you mean shakespeare.* heads'):
        papers.load('shakespear')


def test_thinned_records_are_the_same_curve():
    run = made_results.run(steps=1000)
    found = columns.thinned(run.records, ('loss',), 50)
    train = [r for r in found if r['split'] == 'train']
    assert len(train) == 50 and (train[0]['step'], train[-1]['step']) == (1, 1000)
    apart = [b['step'] - a['step'] for a, b in zip(train, train[1:])]
    assert max(apart) - min(apart) <= 1
    assert all(set(r) == {'step', 'split', 'loss'} for r in train)
    held = [r for r in run.records if r['split'] == 'validation']
    kept = [r for r in found if r['split'] == 'validation']
    assert [r['step'] for r in kept] == [r['step'] for r in held]
    assert kept[0]['loss'] == 0.416667 and kept[-1]['note'] == 'nan'
    assert sorted(columns.unpack(columns.pack(found)), key=str) == sorted(found, key=str)
    steps = [r['step'] for r in columns.unpack(columns.pack(found))]
    assert steps == sorted(steps)
    assert columns.short({'a': [float('nan'), 1 / 3, 2]}) == {'a': ['nan', 0.333333, 2]}
    assert len(columns.thinned(run.records[:30], ('loss',), 50)) == 30


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'made.json'
    record.write(made_results.result(), path)
    return path


def test_a_result_comes_back(file):
    written, found = made_results.result(), record.read(file, made_results.PAPER)
    assert found == written
    assert (found.seeds, found.seconds, found.origin('commit')) == ([0, 1], 120.0, 'abc123')
    assert found.numbers[0].holds and found.numbers[0].values == [1.25, 1.25]
    assert found.numbers[1].holds is None
    assert len(file.read_text()) < 20_000


def edited(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(UserError) as error:
        record.read(file, made_results.PAPER)
    assert str(error.value).startswith(f'{file}')
    return str(error.value)


def test_an_edited_run_is_refused(file):
    def change(content):
        content['runs'][1]['records']['validation']['loss'][-1] = 1.2

    assert 'sha256 is not that of its runs: one of them was edited by hand' in edited(file, change)


def test_an_edited_seed_is_refused(file):
    assert 'sha256' in edited(file, lambda content: content['runs'][0].update(seed=5))


@pytest.mark.parametrize(('field', 'value'), [('command', 'another'), ('size', 'full')])
def test_what_was_asked_for_cannot_be_edited(file, field, value):
    assert 'sha256' in edited(file, lambda content: content.update({field: value}))


def test_a_result_under_another_name_is_refused(file):
    other = file.rename(file.with_name('made_full.json'))
    with pytest.raises(UserError, match='made_full.json is the result of made; accepted: under'):
        record.read(other, made_results.PAPER)


def test_a_number_that_is_none_is_not_written(tmp_path):
    found = dataclasses.replace(made_results.result(), numbers=[Number('x', [1.0, float('nan')])])
    with pytest.raises(UserError, match='made: x is .1.0, nan.; not written'):
        record.write(found, tmp_path / 'made.json')
    run = made_results.run()
    run.records[-1]['loss'] = 'nan'
    with pytest.raises(ValueError, match='run one of seed 0 ends with loss nan'):
        run.last('loss')


@pytest.mark.parametrize(
    ('field', 'value'),
    [('values', [1.25, 1.2501]), ('published', '2'), ('most', 2), ('holds', False)],
)
def test_an_edited_number_is_refused(file, field, value):
    message = edited(file, lambda content: content['numbers'][0].update({field: value}))
    assert f'numbers[0].{field} is {value!r}, but its runs give' in message
    assert 'python -m results.run made --measure' in message


def test_a_missing_number_is_refused(file):
    message = edited(file, lambda content: content['numbers'].pop())
    assert 'there are 1 numbers, but its runs give 2' in message


@pytest.mark.parametrize('field', record.FIELDS)
def test_a_missing_field_is_named(file, field):
    assert f'{field} is missing or empty' in edited(file, lambda content: content.pop(field))


def test_a_missing_field_of_a_run_is_named(file):
    message = edited(file, lambda content: content['runs'][1].pop('commit'))
    assert 'runs[1].commit is missing or empty' in message
    message = edited(file, lambda content: content['runs'][0].update(machine=''))
    assert 'runs[0].machine is missing or empty' in message


def test_what_is_no_result(tmp_path, file):
    with pytest.raises(UserError, match='No such file'):
        record.read(tmp_path / 'none.json', made_results.PAPER)
    file.write_text('{')
    with pytest.raises(UserError, match='is no JSON'):
        record.read(file, made_results.PAPER)


def test_runs_without_what_is_measured(file):
    def measure(runs):
        return [Number('x', [run.last('recall') for run in runs])]

    paper = dataclasses.replace(made_results.PAPER, measure=measure)
    with pytest.raises(
        UserError, match='made does not find what it measures.*no validation recall'
    ):
        record.read(file, paper)


def test_arms_are_compared_seed_by_seed():
    runs = [made_results.run(arm, seed, loss=loss) for arm, seed, loss in (
        ('two', 1, 5.0), ('one', 0, 1.0), ('one', 1, 2.0), ('two', 0, 3.0),
    )]  # fmt: skip
    assert gaps(runs, 'two', 'one', lambda run: run.last('loss')) == [2.0, 3.0]
    with pytest.raises(ValueError, match='other seeds'):
        gaps(runs[:3], 'two', 'one', lambda run: run.last('loss'))
    with pytest.raises(ValueError, match='no run of three'):
        gaps(runs, 'three', 'one', lambda run: run.last('loss'))
