"""Whole runs as a user starts them: processes, signals, files, exit codes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
WORDS = ('the', 'quick', 'brown', 'fox', 'jumps', 'over', 'a', 'lazy', 'dog', 'and', 'sleeps')
SMALL = {
    'steps': 24,
    'batch_size': 4,
    'context': 16,
    'log_every': 1,
    'eval_every': 8,
    'checkpoint_every': 4,
    'model.width': 16,
    'model.depth': 2,
    'model.heads': 2,
    'model.dropout': 0.1,
    'data.tokenizer': 'characters',
    'data.vocab': 0,
    'log.tensorboard': 'false',
    'sample.prompts': '()',
}


@pytest.fixture(scope='module')
def text(tmp_path_factory):
    rng = random.Random(0)
    path = tmp_path_factory.mktemp('text') / 'text.txt'
    path.write_text(' '.join(rng.choice(WORDS) for _ in range(1200)))
    return path


def command(workdir, text, **fields):
    fields = SMALL | {'data.path': text} | {k.replace('__', '.'): v for k, v in fields.items()}
    overrides = [f'--config.{name}={value}' for name, value in fields.items()]
    script = [sys.executable, 'train.py', '--config=configs/quickstart.py']
    return [*script, f'--workdir={workdir}', *overrides]


def environment(devices=1):
    return os.environ | {'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': str(devices)}


def run(words, code=0, devices=1):
    done = subprocess.run(
        words,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=environment(devices),
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
    if code:
        assert 'Traceback' not in done.stderr
    return done


def train(workdir, text, code=0, devices=1, **fields):
    return run(command(workdir, text, **fields), code, devices)


# One process: its imports take longer than a refusal.
REFUSED = """
import importlib, json, sys
from transformer import cli
script = importlib.import_module(sys.argv[1])
for flags in json.loads(sys.argv[2]):
    sys.argv[1:] = flags
    try:
        cli.run(script.main)
    except SystemExit as end:
        assert end.code == 1, flags
        print('---', file=sys.stderr)
"""


def refusals(script, commands, devices=1):
    """The error of each command of a script, all of which end with code 1."""
    words = [sys.executable, '-c', REFUSED, script, json.dumps(commands)]
    done = run(words, devices=devices)
    assert 'Traceback' not in done.stderr
    *said, rest = done.stderr.split('---\n')
    assert (len(said), rest) == (len(commands), '')
    return said


def started(workdir, text, **fields):
    return subprocess.Popen(
        command(workdir, text, **fields), cwd=ROOT, text=True, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def metrics(workdir, split='train'):
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    return [r for r in map(json.loads, lines) if r['split'] == split]


def losses(workdir, split='train'):
    records = metrics(workdir, split)
    steps = [r['step'] for r in records]
    assert steps == sorted(set(steps)), 'each step once, in order'
    return {r['step']: r['loss'] for r in records}


def wait_for_step(process, workdir, step):
    while process.poll() is None:
        path = workdir / 'metrics.jsonl'
        if path.exists() and f'"step": {step},' in path.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(process.stderr.read()[-3000:])


def parameters(workdir):
    """The newest checkpoint's checksums: equal if and only if every bit of the state is."""
    newest = max((workdir / 'checkpoints').glob('[0-9]*'), key=lambda p: int(p.name))
    return newest.name, json.loads((newest / 'meta' / 'metadata').read_text())['checksums']


@pytest.fixture(scope='module')
def whole(text, tmp_path_factory):
    """An uninterrupted run."""
    workdir = tmp_path_factory.mktemp('whole')
    return workdir, train(workdir, text)


def test_a_run_leaves_everything_behind(whole):
    workdir, done = whole
    assert list(losses(workdir)) == list(range(1, 25))
    assert list(losses(workdir, 'validation')) == [8, 16, 24]
    assert (workdir / 'loss.png').read_bytes().startswith(b'\x89PNG')
    record = metrics(workdir)[-1]
    wanted = {'loss', 'perplexity', 'bits_per_byte', 'grad_norm', 'learning_rate'}
    assert wanted | {'tokens_per_second'} <= set(record)
    assert losses(workdir)[24] < losses(workdir)[1]
    for words in ('parameters ', 'FLOPs', 'a step', 'GiB', 'mesh ', 'jax 0', 'gzip -9', 'xz -9'):
        assert words in done.stdout
    config = json.loads((workdir / 'config.json').read_text())
    assert (config['steps'], config['model']['width']) == (24, 16)
    task = json.loads((workdir / 'task.json').read_text())
    letters = {c for word in WORDS for c in word} | {' '}
    assert len(letters) <= task.pop('vocab') <= len(letters) + 2  # and what ends a document
    assert task == {'classes': [], 'target_context': 0}


def test_eval_gives_the_number_of_the_training_run(whole):
    workdir, _ = whole
    measured = losses(workdir, 'validation')
    for which in ('best', 'latest', '24'):
        done = run(
            [sys.executable, 'eval.py', f'--workdir={workdir}', f'--checkpoint={which}', '--json']
        )
        found = json.loads(done.stdout)
        assert abs(found['loss'] - measured[found['step']]) < 1e-6
    plain = run([sys.executable, 'eval.py', f'--workdir={workdir}']).stdout
    assert 'bits_per_byte' in plain
    best = min(measured, key=measured.get)
    assert f'step {best} ' in plain
    done = run([sys.executable, 'eval.py', f'--workdir={workdir}', '--split=test'], code=1)
    assert '--split=test: accepted: validation (config.data.test_split)' in done.stderr


def test_eval_changes_how_it_measures(whole):
    """Batches and backends change no number, longer rows do; the parts of rows are all there is."""
    workdir, _ = whole
    script = [sys.executable, 'eval.py', f'--workdir={workdir}', '--json']
    done = run(
        [*script, '--config.batch_size=7', '--config.model.attention=reference', '--parts=2']
    )
    found = json.loads(done.stdout)
    assert abs(found['loss'] - losses(workdir, 'validation')[found['step']]) < 1e-5
    mean = (found['loss/part_1'] + found['loss/part_2']) / 2
    assert abs(found['loss'] - mean) < 0.05 and found['loss'] != mean
    longer = json.loads(run([*script, '--config.context=32', '--decode=2']).stdout)
    assert longer['tokens'] == found['tokens'] and longer['loss'] != found['loss']
    assert longer['decode/cache_bytes'] == 2 * 2 * 32 * 16 * 2 * 4  # K, V, layers ... float32
    assert longer['decode/tokens_per_second'] > 0
    done = run([*script, '--parts=17'], code=1)
    assert '--parts=17: accepted: 0 to 16, the tokens of a row' in done.stderr


def test_generate(whole, tmp_path):
    workdir, _ = whole
    script = [sys.executable, 'generate.py', f'--workdir={workdir}']
    done = run([*script, '--prompt=the ', '--max_tokens=40', '--seed=1'])
    assert done.stdout.startswith('the ')
    assert len(done.stdout) == len('the ') + 40 + 1
    prompts = tmp_path / 'prompts.txt'
    prompts.write_text('the\na quick brown\n')
    done = run([*script, f'--prompts={prompts}', '--json', '--temperature=0', '--max_tokens=5'])
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r['prompt'] for r in records] == ['the', 'a quick brown']
    assert all(r['tokens'] == len(r['completion']) == 5 for r in records)
    faster = ['--temperature=0', '--max_tokens=5', f'--prompts={prompts}', '--json']
    done = run([*script, *faster, f'--draft={workdir}', '--draft_tokens=2'])
    assert [json.loads(line) for line in done.stdout.splitlines()] == records
    done = run([*script, *faster, '--quantize=int8'])
    assert all(json.loads(line)['tokens'] == 5 for line in done.stdout.splitlines())
    bad = {
        "'int4'": ['--prompt=a', '--quantize=int4'],
        'a prompt is empty': ['--prompt='],
        "'Q' at position 0": ['--prompt=Q'],
        'has 17 tokens; accepted: at most the context of the model, 16': ['--prompt=' + 'a' * 17],
        'best, latest, or a step': ['--prompt=a', '--checkpoint=999'],
        'none.txt': ['--prompts=none.txt'],
        'max_tokens 0 cannot be used': ['--prompt=a', '--max_tokens=0'],
        'no beam search': ['--prompt=a', '--beam=2'],
    }
    for message, said in zip(bad, refusals('generate', [[script[2], *b] for b in bad.values()])):
        assert message in said


@pytest.mark.long
def test_ten_kills_change_not_one_bit(text, tmp_path):
    """kill -9 at random moments, from the first imports to the middle of a save."""
    fields = {'steps': 160, 'eval_every': 40}
    reference, killed = tmp_path / 'reference', tmp_path / 'killed'
    train(reference, text, **fields)
    rng = random.Random(7)
    for kill in range(10):
        with started(killed, text, **fields) as process:
            if kill % 3:
                done = max(losses(killed), default=0) if (killed / 'metrics.jsonl').exists() else 0
                wait_for_step(process, killed, done + rng.randrange(1, 12))
                time.sleep(rng.random() * 0.1)
            else:
                time.sleep(rng.uniform(1, 4))
            assert process.poll() is None, 'it ended before it was killed'
            process.kill()
    steps = losses(killed)
    assert 0 < max(steps) < 160
    done = train(killed, text, **fields)
    assert 'resumed' in done.stdout
    assert losses(killed) == losses(reference)
    assert losses(killed, 'validation') == losses(reference, 'validation')
    assert parameters(killed) == parameters(reference)


@pytest.mark.long
def test_devices_and_microbatches_may_change_on_the_way(text, whole, tmp_path):
    """One device, then four, then two in two microbatches: the same to float tolerance."""
    reference, _ = whole
    # `steps` shapes the schedule, so the run is ended by a signal, not by fewer steps.
    for devices, accumulation, until in ((1, 1, 8), (4, 1, 16), (2, 2, None)):
        fields = {'accumulation': accumulation}
        process = subprocess.Popen(
            command(tmp_path, text, **fields), cwd=ROOT, env=environment(devices),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if until:
            wait_for_step(process, tmp_path, until)
            process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=300)
        assert process.returncode in ((128 + signal.SIGTERM, 0) if until else (0,)), err
        assert f'devices        {devices} x' in out
    got, want = losses(tmp_path), losses(reference)
    assert got.keys() == want.keys()
    assert max(abs(got[n] - want[n]) for n in want) < 1e-4


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_leave(text, whole, tmp_path, number):
    process = started(tmp_path, text, steps=100_000, checkpoint_every=0, eval_every=0)
    wait_for_step(process, tmp_path, 5)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert 'saving after this step' in err
    assert 'the same command goes on from there' in out
    step, _ = parameters(tmp_path)
    assert int(step) == max(losses(tmp_path))


def test_a_second_run_in_the_same_directory_refuses(text, tmp_path):
    process = started(tmp_path, text, steps=100_000)
    try:
        wait_for_step(process, tmp_path, 1)
        done = train(tmp_path, text, code=1)
        assert f'in use by another run (process {process.pid})' in done.stderr
    finally:
        process.kill()
        process.communicate()


def test_another_model_in_the_same_directory_refuses(text, whole):
    workdir, _ = whole
    before = parameters(workdir)
    done = train(workdir, text, code=1, model__width=32)
    assert 'config.model.width=32' in done.stderr
    assert 'accepted: 16' in done.stderr
    done = train(workdir, text, code=1, objective__smoothing=0.1)
    assert 'config.objective.smoothing=0.1' in done.stderr
    assert parameters(workdir) == before
    edited = text.with_name('edited.txt')
    edited.write_text(text.read_text().replace('fox', 'fax'))
    done = train(workdir, text, code=1, **{'data.path': edited})
    assert 'the training data is not the one' in done.stderr
    again = train(workdir, text, log_every=5)
    assert 'config.log_every: 1 -> 5' in again.stdout
    assert 'the run is complete' in again.stdout


def test_bad_fields_end_before_anything_is_made(text, tmp_path):
    bad = {
        'did you mean config.learning_rate': {'learning_rat': 1},
        'config.model.width=16': {'model__heads': 3},
        'a multiple of 2 for 2 devices': {'batch_size': 5},
        'config.data.vocab=3': {'data__vocab': 3},
        "config.data.path='/no/such/text'": {'data__path': '/no/such/text'},
    }
    commands = [command(tmp_path / 'run', text, **fields)[2:] for fields in bad.values()]
    for message, said in zip(bad, refusals('train', commands, devices=2)):
        assert message in said
    assert not list((tmp_path / 'run').glob('checkpoints/*'))


def test_work_directories_that_cannot_be_written(text, tmp_path):
    (tmp_path / 'file').write_text('')
    done = train(tmp_path / 'file' / 'run', text, code=1)
    assert 'cannot be written to' in done.stderr
    for script in ('eval.py', 'generate.py'):
        words = [sys.executable, script, f'--workdir={tmp_path}/none']
        words += ['--prompt=a'] if script == 'generate.py' else []
        assert 'holds no run' in run(words, code=1).stderr


def test_a_loss_that_is_not_finite_stops_and_loses_nothing(text, tmp_path):
    train(tmp_path, text, steps=8)
    kept = parameters(tmp_path)
    fields = {'steps': 24, 'learning_rate': 1e30, 'optimizer.clip': 0.0, 'checkpoint_every': 1}
    done = train(tmp_path, text, code=1, **fields)
    assert 'the last good checkpoint is step' in done.stderr
    assert 'config.skip_nonfinite=true' in done.stderr
    step = int(done.stderr.split('last good checkpoint is step ')[1].split('.')[0])
    assert step >= 8
    assert kept
    done = train(tmp_path, text, skip_nonfinite='true', **fields)
    assert metrics(tmp_path)[-1]['skipped'] > 0


@pytest.mark.long
def test_a_full_disk_is_survived(text, tmp_path):
    """No file may grow beyond 8 KiB, as on a disk that is full; numbers are small, weights not."""
    limited = 'import resource, runpy, sys\n'
    limited += 'resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n'
    limited += 'sys.argv = sys.argv[1:]; sys.path.insert(0, ".")\n'
    limited += 'runpy.run_path("train.py", run_name="__main__")\n'
    train(tmp_path, text, steps=8, **{'model.width': 64})
    kept = parameters(tmp_path)
    words = command(tmp_path, text, **{'model.width': 64, 'log_every': 8})
    words = [sys.executable, '-c', limited, *words[1:]]
    done = subprocess.run(
        words,
        cwd=ROOT,
        env=environment() | {'GLIBC_TUNABLES': ''},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stderr[-3000:]
    assert 'could not be saved' in done.stderr
    assert 'newest good checkpoint is step 8' in done.stderr
    assert 'step     24' in done.stdout  # training itself went on to its end
    assert parameters(tmp_path) == kept
    done = train(tmp_path, text, **{'model.width': 64})
    assert 'resumed        from step 8' in done.stdout
    assert parameters(tmp_path)[0] == '24'


def test_damaged_newest_checkpoint(text, whole, tmp_path):
    train(tmp_path, text)
    folder = tmp_path / 'checkpoints' / '24'
    largest = max((p for p in folder.rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])
    done = train(tmp_path, text)
    assert 'checkpoints/24 is damaged' in done.stderr
    assert 'falling back to step 20' in done.stderr
    assert losses(tmp_path) == losses(whole[0])
    assert parameters(tmp_path) == parameters(whole[0])
