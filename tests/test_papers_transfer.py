"""What is measured of runs of known outcome: pre-training, and several tasks as text to text."""

import functools
import json
import sys

import jax
import pytest
from matplotlib.figure import Figure

from configs import pretraining as pretraining_config
from configs import text_to_text as tasks_config
from results.paper import Run
from results.papers import pretraining, text_to_text
from tests.test_train import run as command
from transformer import paths, restore
from transformer.experiment import Experiment

VOCAB = 50


def held(paper, runs):
    """Whether each number holds, by what it is; the picture can be drawn."""
    paper.draw(Figure(), runs)
    return {number.what: number for number in paper.measure(runs)}


# Pre-training


def pretrained(**accuracies):
    """Runs of two seeds; the second gets 1 point more, after masked tokens 3 more."""
    made = []
    for seed in range(2):
        for arm, value in (accuracies | {'masked tokens': 0, 'next tokens': 0}).items():
            arm = arm.replace('_', ', ')
            more = seed * (0.03 if arm == 'encoder, masked' else 0.01)
            records = [
                {'step': step, 'split': 'validation', 'loss': 2.0, 'accuracy': found + more}
                for step, found in ((50, 0.99), (100, value))
            ]
            made.append(Run(arm, seed, records, {}, 1, 1.0))
    return made[::-1]  # in any order


def test_the_gain_is_that_of_each_seed():
    runs = pretrained(encoder=0.75, encoder_masked=0.77, decoder=0.74, decoder_next=0.76)
    found = held(pretraining.PAPER, runs)
    assert found['encoder from scratch, accuracy, %'].mean == pytest.approx(75.5)
    assert sorted(found['gain by masked tokens, points'].values) == pytest.approx([2, 4])
    assert sorted(found['gain by next tokens, points'].values) == pytest.approx([2, 2])
    assert sorted(found['masked above next tokens, points'].values) == pytest.approx([1, 3])
    assert all(number.holds is not False for number in found.values())
    runs = pretrained(encoder=0.75, encoder_masked=0.742, decoder=0.74, decoder_next=0.76)
    failed = [
        what for what, number in held(pretraining.PAPER, runs).items() if number.holds is False
    ]
    assert failed == ['gain by masked tokens, points', 'masked above next tokens, points']


@functools.lru_cache
def shapes(stage):
    """Of the parameters, by path."""
    experiment = Experiment.from_config(pretraining_config.get_config(stage))
    model = restore.build_model(experiment, VOCAB, 2)
    found = jax.eval_shape(
        lambda key: model.init(key, model.example(), method='forward')['params'], jax.random.key(0)
    )
    return {path: x.shape for path, x in paths.leaves(found).items() if 'head' not in path}


def test_all_stages_are_one_model_but_for_what_a_token_sees():
    stages = list(pretraining_config.STAGES)
    assert len(stages) == 4 and all(shapes(stage) == shapes('') for stage in stages)
    configs = [pretraining_config.get_config(stage) for stage in stages]
    assert len({(c.context, c.data.vocab, c.data.tokenizer, c.model.pool) for c in configs}) == 1
    assert configs[0].batch_size * configs[0].steps == configs[1].batch_size * configs[1].steps


# Text to text


def tried(polarity, translation):
    """Runs of two seeds: scores of the model of all tasks, and of one."""
    made = []
    for seed in (1, 0):
        for arm, place in (('all', 0), ('polarity', 1), ('translation', 1)):
            said = {'exact_match/polarity': polarity[place] + seed}
            said |= {'bleu/translation': translation[place] + (seed if arm == 'all' else 0)}
            made.append(Run(arm, seed, [], {'validation': said}, 1, 1.0))
    return made


def test_one_model_is_compared_with_those_of_one_task():
    found = held(text_to_text.PAPER, tried((75, 76), (29, 30)))
    assert found['polarity, in one above alone'].values == [-1, -1]
    assert found['translation, in one above alone'].values == [0, -1]
    assert all(number.holds is not False for number in found.values())
    found = held(text_to_text.PAPER, tried((55, 76), (29, 30)))
    failed = [what for what, number in found.items() if number.holds is False]
    assert failed == ['classes written right, %, all tasks in one', 'polarity, in one above alone']


def test_a_task_alone_has_as_many_rows_as_among_the_others():
    everything = tasks_config.get_config()
    weights = {name: entry.weight for name, entry in everything.data.mixture.items()}
    for task in text_to_text.SCORES:
        alone = tasks_config.get_config(task)
        assert alone.batch_size == everything.batch_size
        assert alone.steps == everything.steps * weights[task] / sum(weights.values())
        others = {n: e.weight for n, e in alone.data.mixture.items() if n != task}
        assert alone.data.mixture[task].weight == 1 and set(others.values()) == {0.0}


# Whole runs, as a user starts them


def script(name, config, workdir, **fields):
    words = [sys.executable, name, f'--workdir={workdir}', *config]
    return command([*words, *(f'--config.{k.replace("__", ".")}={v}' for k, v in fields.items())])


@pytest.fixture(scope='module')
def reviews(tmp_path_factory):
    folder = tmp_path_factory.mktemp('reviews')
    for name, word in (('r.pos', 'good'), ('r.neg', 'bad')):
        lines = [f'a {word} film number {i}\n' for i in range(40)]
        (folder / name).write_text(''.join(lines))
    return folder


@pytest.mark.long
@pytest.mark.xdist_group('transfer')
def test_a_decoder_is_pre_trained_and_then_taught_classes(reviews, tmp_path):
    small = {'steps': 6, 'eval_every': 6, 'checkpoint_every': 6, 'batch_size': 4, 'context': 16}
    small |= {'data__path': reviews, 'log__tensorboard': 'false', 'model__dropout': 0.0}
    small |= {'model__depth': 1}
    first, second = tmp_path / 'text', tmp_path / 'classes'
    config = ['--config=configs/pretraining.py:next_token']
    script('train.py', config, first, data__vocab=60, model__width=16, **small)
    config = ['--config=configs/pretraining.py:classes_decoder']
    said = script('train.py', config, second, init=first, **small).stdout
    assert 'fresh: head/classes/bias, head/classes/kernel\n' in said
    theirs, mine = (restore.load(d, None, 'latest') for d in (first, second))
    assert mine.classes == ('neg', 'pos') and theirs.experiment.model == mine.experiment.model


@pytest.mark.long
@pytest.mark.xdist_group('transfer')
def test_tasks_are_scored_one_by_one(reviews, tmp_path):
    pytest.importorskip('sacrebleu')
    pairs = tmp_path / 'pairs'
    pairs.mkdir()
    for split in ('train', 'val', 'test_2016_flickr'):
        (pairs / f'{split}.de').write_text('eins zwei\ndrei\n' * 6)
        (pairs / f'{split}.en').write_text('one two\nthree\n' * 6)
    places = {'polarity': reviews, 'spans': reviews, 'translation': pairs}
    fields = {f'data__mixture__{name}__path': path for name, path in places.items()}
    fields |= {'steps': 4, 'eval_every': 4, 'batch_size': 2, 'context': 64, 'target_context': 24}
    fields |= {'model__width': 16, 'model__hidden': 16, 'model__depth': 1, 'data__vocab': 420}
    fields |= {'log__tensorboard': 'false', 'sample__tokens': 4, 'log_every': 1}
    said = script('train.py', ['--config=configs/text_to_text.py'], tmp_path / 'run', **fields)
    assert 'polarity: ' in said.stdout
    said = script('eval.py', ['--json', '--checkpoint=latest'], tmp_path / 'run').stdout
    found = json.loads(said.splitlines()[-1])
    assert {'loss/polarity', 'loss/translation', 'loss/spans'} < found.keys()
    scores = {name for name in found if name.startswith(('bleu/', 'exact_match'))}
    tasks = ('polarity', 'translation')
    assert scores == {f'{score}/{task}' for score in ('bleu', 'exact_match') for task in tasks}
    assert all(0 <= found[name] <= 100 for name in scores)
