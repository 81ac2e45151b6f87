"""The command line: import, answer, fine-tune, go on, export. Whole processes, as a user's."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.hf.directories import tensors, with_tokenizer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group('hf_runs')]
ROOT = Path(__file__).parents[2]
WORDS = 'the quick brown fox jumps over the lazy dog, and sleeps. '


def run(*words, code=0):
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': '1'},
        timeout=500,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert 'Traceback' not in done.stderr
    return done.stdout if code == 0 else done.stderr.strip().splitlines()[-1]


def train(config, workdir, code=0, **fields):
    small = {
        'steps': 6,
        'batch_size': 8,
        'context': 16,
        'log_every': 1,
        'eval_every': 3,
        'checkpoint_every': 3,
        'log.tensorboard': 'false',
        'sample.prompts': '()',
        'learning_rate': 0.003,
    }
    fields = small | {name.replace('__', '.'): value for name, value in fields.items()}
    overrides = [f'--config.{name}={value}' for name, value in fields.items()]
    return run(
        'train.py', f'--config=configs/{config}.py', f'--workdir={workdir}', *overrides, code=code
    )


def losses(workdir):
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    return {(r['step'], r['split']): r['loss'] for r in map(json.loads, lines)}


@pytest.fixture(scope='module')
def decoder(tmp_path_factory):
    return with_tokenizer('gpt2/lm', tmp_path_factory.mktemp('hf') / 'gpt2', framed=False)


@pytest.fixture(scope='module')
def encoder(tmp_path_factory):
    return with_tokenizer('bert/masked', tmp_path_factory.mktemp('hf') / 'bert', framed=True)


@pytest.fixture(scope='module')
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp('text') / 'text.txt'
    path.write_text(WORDS * 60)
    return path


@pytest.fixture(scope='module')
def sentences(tmp_path_factory):
    """Two classes that one letter tells apart."""
    rng = np.random.default_rng(0)
    words = WORDS.replace(',', '').replace('.', '').replace('z', '').split()
    lines = [
        json.dumps({'text': ' '.join(rng.choice(words, 2)) + ' z' * label, 'label': str(label)})
        for label in (0, 1) * 60
    ]
    path = tmp_path_factory.mktemp('sentences') / 'sentences.jsonl'
    path.write_text('\n'.join(lines) + '\n')
    return path


@pytest.mark.long
def test_import_answer_evaluate_export(decoder, text, tmp_path):
    imported = tmp_path / 'run'
    data = f'--config.data.path={text}'
    imported.mkdir()
    (imported / 'config.json').write_text('{')  # an import that was killed
    said = run('-m', 'transformer.hf', 'import', decoder, f'--workdir={imported}', data)
    assert 'GPT2LMHeadModel' in said and 'next_token' in said
    ask = ('--prompt=the quick', '--max_tokens=12', '--temperature=0')
    mine = run('generate.py', f'--workdir={imported}', *ask)
    assert mine == run('generate.py', f'--hf={decoder}', *ask)
    assert 'loss' in run('eval.py', f'--workdir={imported}')
    run('-m', 'transformer.hf', 'export', imported, tmp_path / 'out')
    before, after = tensors(decoder), tensors(tmp_path / 'out')
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    config = json.loads((decoder / 'config.json').read_text())
    assert config == json.loads((tmp_path / 'out' / 'config.json').read_text())
    # What it is not: a run to go on with, or one that is overwritten.
    error = train('finetune_lm', imported, code=1, data__path=text, init=decoder)
    assert f'--config.init={imported}' in error
    error = run('-m', 'transformer.hf', 'import', decoder, f'--workdir={imported}', code=1)
    assert 'holds a run already' in error


@pytest.mark.long
def test_fine_tune_a_decoder_go_on_and_export(decoder, text, tmp_path):
    whole, halves = tmp_path / 'whole', tmp_path / 'halves'
    said = train('finetune_lm', whole, init=decoder, data__path=text)
    assert 'fresh: nothing' in said
    copy = shutil.copytree(decoder, tmp_path / 'copy')
    train('finetune_lm', halves, init=copy, data__path=text)
    found = losses(whole)
    assert found[6, 'train'] < found[1, 'train']
    assert found == losses(halves)
    # The second half again, from the checkpoint of the first; what it began with is gone.
    shutil.rmtree(halves / 'checkpoints' / '6')
    shutil.rmtree(copy)
    train('finetune_lm', halves, init=copy, data__path=text)
    assert found == losses(halves)
    run('-m', 'transformer.hf', 'export', whole, tmp_path / 'out', '--checkpoint=latest')
    before, after = tensors(decoder), tensors(tmp_path / 'out')
    assert before.keys() == after.keys()
    assert not any(np.array_equal(before[name], after[name]) for name in before)


def test_fine_tune_a_classifier_from_a_directory_and_from_a_run(encoder, sentences, tmp_path):
    fields = {'data__path': sentences, 'data__encoding': 'utf-8', 'steps': 60, 'eval_every': 30}
    fields |= {'checkpoint_every': 60, 'log_every': 20, 'steps': 120, 'learning_rate': 0.01}
    dropouts = ('hidden_dropout_prob', 'attention_probs_dropout_prob')
    fields |= {f'model__hf__{name}': 0.0 for name in dropouts}
    direct = tmp_path / 'direct'
    said = train('finetune_classify', direct, init=encoder, **fields)
    # The file is of a masked model: it has no pooler and no classes.
    assert 'fresh: head/classes/bias, head/classes/kernel, head/dense/bias, head/dense' in said
    assert losses(direct)[120, 'validation'] < 0.3
    answer = run('generate.py', f'--workdir={direct}', '--prompt=the fox z', '--json')
    assert json.loads(answer)['completion'].startswith('1 ')
    run('-m', 'transformer.hf', 'export', direct, tmp_path / 'out')
    config = json.loads((tmp_path / 'out' / 'config.json').read_text())
    assert config['architectures'] == ['BertForSequenceClassification']
    assert config['id2label'] == {'0': '0', '1': '1'}

    from transformer import hf

    loaded = hf.load(tmp_path / 'out')
    batch = loaded.tokenizer(['the fox z', 'the fox'])
    assert np.asarray(loaded(**batch).logits).argmax(-1).tolist() == [1, 0]

    again = tmp_path / 'again'
    said = train('finetune_classify', again, init=direct, **fields | {'steps': 1})
    assert 'fresh: nothing' in said
    assert losses(again)[1, 'train'] < 0.3


def test_settings_by_their_own_names(decoder, text, tmp_path):
    error = train(
        'finetune_lm',
        tmp_path / 'a',
        code=1,
        init=decoder,
        data__path=text,
        model__hf__activation_function='swoosh',
    )
    assert "activation_function='swoosh'" in error
    error = train(
        'finetune_lm', tmp_path / 'b', code=1, init=decoder, data__path=text, model__hf__n_heads=3
    )
    assert 'n_heads=3' in error and "did you mean 'n_head'" in error
    error = train('finetune_lm', tmp_path / 'c', code=1, data__path=text)
    assert 'there is no directory DIR' in error
    error = train('finetune_lm', tmp_path / 'd', code=1, init=decoder, data__path=text, context=64)
    assert 'config.context=64' in error and '24' in error


def test_an_encoder_is_no_decoder(encoder, text, tmp_path):
    error = train('finetune_lm', tmp_path / 'a', code=1, init=encoder, data__path=text)
    assert 'is_decoder=False' in error and 'accepted: True' in error
    error = train('span_corruption', tmp_path / 'b', code=1, init=encoder, data__path=text)
    assert "objective.kind='span_corruption'" in error and 'masked' in error


@pytest.mark.long
def test_spans_with_an_imported_t5(text, tmp_path):
    t5 = with_tokenizer('t5/lm', tmp_path / 't5', framed=False, sentinels=9)
    fields = {'init': t5, 'data__path': text, 'objective__sentinels': 9, 'context': 24}
    said = train('span_corruption', tmp_path / 'run', **fields, steps=8, eval_every=8)
    assert 'fresh: nothing' in said
    found = losses(tmp_path / 'run')
    assert found[8, 'train'] < found[1, 'train']
    ask = ('--prompt=the quick <extra_id_0> fox', '--temperature=0', '--max_tokens=4')
    assert run('generate.py', f'--workdir={tmp_path / "run"}', *ask)
    run('-m', 'transformer.hf', 'export', tmp_path / 'run', tmp_path / 'out')
    assert tensors(t5).keys() == tensors(tmp_path / 'out').keys()


@pytest.mark.long
def test_images_with_an_imported_vit(tmp_path):
    from tests import tiny
    from transformer import hf
    from transformer import model as models
    from transformer.hf import native
    from transformer.models import VisionOptions
    from transformer.models.assemble import Sizes

    small = {'width': 16, 'depth': 2, 'heads': 2, 'hidden': 24, 'mlp': 'gelu'}
    options = VisionOptions(**small, image=8, patch=4, channels=1)
    model = models.make(options.build(Sizes(0, 0, head='class', classes=10)))
    made = native.architecture_of(model.config, 'class', tuple('abcdefghij'))
    hf.save(hf.Pretrained(model, tiny.filled(model), None, made), tmp_path / 'vit')
    fields = {'init': tmp_path / 'vit', 'steps': 80, 'eval_every': 20, 'batch_size': 32}
    said = train('vit_digits', tmp_path / 'run', **fields)
    # The digits' classes have other names.
    assert 'fresh: head/classes/bias, head/classes/kernel' in said
    found = losses(tmp_path / 'run')
    assert found[80, 'validation'] < found[20, 'validation']
