"""Trainings of an experiment as processes: gone on with, refused, recorded."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from results import attend, plan, provenance, record, run, settings, training
from results.paper import Arm
from tests import made_results
from transformer import cli, workdir
from transformer.errors import UserError

SMALL = {
    'steps': 6,
    'batch_size': 2,
    'context': 8,
    'log_every': 1,
    'eval_every': 3,
    'checkpoint_every': 3,
    'model.width': 16,
    'model.depth': 1,
    'model.heads': 2,
    'data.tokenizer': 'characters',
    'data.vocab': 0,
    'log.tensorboard': False,
    'sample.prompts': (),
}
ECHO = (
    '-c \'import json, os; print("read"); print(json.dumps({"files": os.listdir("{workdir}")}))\''
)
ARMS = [
    Arm('two', 'configs/quickstart.py', SMALL | {'learning_rate': 1e-2}, 'one', {'look': ECHO}),
    Arm('one', 'configs/quickstart.py', SMALL),
]
PAPER = dataclasses.replace(made_results.PAPER, sizes={'': ARMS}, seeds=1)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / 'text.txt'
    path.write_text('the quick brown fox jumps over the lazy dog and sleeps ' * 30)
    return path


def reproduce(tmp_path, text, **options):
    fields = {'paper': PAPER, 'size': '', 'seeds': 0, 'only': [], 'typed': 'python x'} | options
    run.reproduce(
        runs=tmp_path / 'runs', overrides={'data.path': str(text)}, results=tmp_path, **fields
    )


@pytest.mark.long
def test_an_experiment_from_nothing_to_its_result(tmp_path, text, monkeypatch, capsys, request):
    # Ctrl-C while the first arm trains: it saves, and the same command goes on.
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background: ignored
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, ignored))
    first = plan.trainings(PAPER, '', 1, tmp_path / 'runs', {'data.path': str(text)})[0]
    metrics, pressed = first.workdir / workdir.METRICS, []
    wait = attend.subprocess.Popen.wait

    def watched(process, timeout=None):
        while process.poll() is None and not pressed:
            if metrics.exists() and '"step": 1,' in metrics.read_text():
                pressed.append(os.kill(os.getpid(), signal.SIGINT))
            time.sleep(0.02)
        return wait(process, timeout)

    monkeypatch.setattr(attend.subprocess.Popen, 'wait', watched)
    with pytest.raises(KeyboardInterrupt):
        reproduce(tmp_path, text)
    monkeypatch.undo()
    before = training.read(first)
    assert not before['done'] and before['seconds'] > 0 and before['machine']
    capsys.readouterr()
    reproduce(tmp_path, text)
    assert 'resumed        from step' in (first.workdir / training.LOG).read_text()
    found = record.read(tmp_path / 'made.json', PAPER)
    assert [r.arm for r in found.runs] == ['one', 'two']
    one, two = found.runs
    assert one.seconds > before['seconds']
    assert [step for step, _ in one.curve('loss', 'train')] == list(range(1, 7))
    # The second arm begins with the first one's parameters.
    assert two.curve('loss', 'train')[0][1] < one.curve('loss', 'train')[0][1] - 0.2
    assert {'config.json', 'checkpoints'} <= set(two.after['look']['files'])
    assert one.parameters == workdir.read_summary(first.workdir)['parameters'] > 1000
    assert two.config.items() >= {'learning_rate': 1e-2, 'model.width': 16}.items()
    for r in found.runs:
        assert r.config == settings.of(next(a for a in ARMS if a.name == r.arm), ARMS)
    assert {made['machine'] for made in found.made} == {provenance.record.processor()}
    assert (tmp_path / 'made.png').read_bytes().startswith(b'\x89PNG')
    assert 'NOT reproduced' in capsys.readouterr().out
    # Nothing is trained twice, and nothing of another kind is taken for it.
    monkeypatch.setattr(training, 'attend', None)
    reproduce(tmp_path, text)
    changed = [dataclasses.replace(a, changes=a.changes | {'learning_rate': 1.0}) for a in ARMS]
    paper = dataclasses.replace(PAPER, sizes={'': changed})
    with pytest.raises(UserError, match=r'one-0 was trained with config.learning_rate=0.003'):
        reproduce(tmp_path, text, paper=paper)


def test_a_failed_training_shows_its_end(tmp_path, text, capsys):
    arm = Arm('one', 'configs/quickstart.py', {'model.depht': 3})
    paper = dataclasses.replace(PAPER, sizes={'': [arm]})
    with pytest.raises(UserError, match='seed 0 ended with code 1.*log.txt ends') as error:
        reproduce(tmp_path, text, paper=paper)
    assert 'did you mean config.model.depth' in str(error.value)
    assert not (tmp_path / 'made.json').exists()


def test_seconds_of_all_starts_are_added(tmp_path, monkeypatch):
    arm = Arm('one', 'configs/quickstart.py', {})
    (planned,) = plan.trainings(dataclasses.replace(PAPER, sizes={'': [arm]}), '', 1, tmp_path, {})
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(training.time, 'monotonic', lambda: float(next(clock)))
    monkeypatch.setattr(training, '_check_config', lambda _: None)
    codes = [143, 0]
    made = {'parameters': 5, 'platform': 'gpu', 'devices': 2, 'device': 'B', 'versions': 'jax 1'}

    def attended(words, log, tick):
        workdir.save_config(planned.workdir, cli.load_config(arm.config))
        (planned.workdir / 'checkpoints' / '3').mkdir(parents=True, exist_ok=True)
        workdir.save_summary(planned.workdir, made)
        tick()
        tick()
        if code := codes.pop(0):
            raise SystemExit(code)
        return code

    monkeypatch.setattr(training, 'attend', attended)
    with pytest.raises(SystemExit):
        training.ensure(planned)
    training.ensure(planned)
    training.ensure(planned)
    found, origin = training.collect(planned)
    assert (found.seconds, found.parameters) == (40.0, 5)
    assert origin['machine'] == f'2 x B, {provenance.record.processor()}'
    assert origin['versions'] == 'jax 1'


def test_signals_reach_the_process_once(tmp_path):
    child = (
        'import signal, sys, time\n'
        'signal.signal(signal.SIGTERM, lambda *_: (print("saving", flush=True), sys.exit(143)))\n'
        'print("up", flush=True)\n'
        'time.sleep(60)'
    )
    log = tmp_path / 'log'
    parent = (
        'from pathlib import Path\n'
        'import sys\n'
        'from results.attend import attend\n'
        f'attend([sys.executable, "-c", {child!r}], Path({str(log)!r}), lambda: None)'
    )
    started = subprocess.Popen([sys.executable, '-c', parent], cwd=plan.ROOT)
    while not log.exists() or 'up' not in log.read_text():
        assert started.poll() is None
        time.sleep(0.02)
    started.send_signal(signal.SIGTERM)
    assert started.wait(30) == 143
    assert log.read_text() == 'up\nsaving\n'


def test_what_comes_after_must_print_an_object(tmp_path):
    arm = Arm('one', 'configs/quickstart.py', after={'look': '-c "print([1])"'})
    (planned,) = plan.trainings(dataclasses.replace(PAPER, sizes={'': [arm]}), '', 1, tmp_path, {})
    planned.workdir.mkdir(parents=True)
    with pytest.raises(UserError, match='look of one, seed 0: .* printed no JSON object'):
        training._after(planned, 'look', arm.after['look'])
    with pytest.raises(UserError, match='look of one, seed 0 ended with code 3'):
        training._after(planned, 'look', '-c "raise SystemExit(3)"')


def test_a_damaged_note_is_named(tmp_path):
    arm = Arm('one', 'configs/quickstart.py')
    (planned,) = plan.trainings(dataclasses.replace(PAPER, sizes={'': [arm]}), '', 1, tmp_path, {})
    (planned.workdir / 'checkpoints' / '3').mkdir(parents=True)
    planned.state.write_text('{"done"')
    with pytest.raises(UserError, match='one-0.json cannot be read'):
        training.read(planned)


def test_measured_anew(tmp_path, capsys):
    file = tmp_path / 'made.json'
    record.write(made_results.result(), file)
    content = json.loads(file.read_text())
    content['numbers'].pop()
    file.write_text(json.dumps(content))
    run.measure(made_results.PAPER, '', tmp_path)
    assert record.read(file, made_results.PAPER) == made_results.result()
    assert (tmp_path / 'made.png').stat().st_size < 150_000
    assert 'loss | nats: 1.25  (1.25 1.25)  published: 1.0  reproduced' in capsys.readouterr().out


def test_the_commit_says_whether_code_was_changed(tmp_path, monkeypatch):
    def git(*words):
        who = ['-c', 'user.name=x', '-c', 'user.email=x', '-c', 'commit.gpgsign=false']
        subprocess.run(['git', *who, *words], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(provenance, 'ROOT', tmp_path)
    monkeypatch.setenv('GIT_CEILING_DIRECTORIES', str(tmp_path.parent))
    assert provenance.commit() == provenance.UNKNOWN
    git('init')
    for name in ('code.py', 'results/a.json', 'docs/page.md'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('1')
    git('add', '.')
    git('commit', '-m', 'first')
    plain = provenance.commit()
    assert len(plain) == 12
    for name in ('results/a.json', 'docs/page.md', 'notes.txt'):
        (tmp_path / name).write_text('2')
        assert provenance.commit() == plain
    (tmp_path / 'code.py').write_text('2')
    assert provenance.commit() == f'{plain}+changes'
    git('checkout', 'code.py')
    (tmp_path / 'new.py').write_text('1')
    assert provenance.commit() == f'{plain}+changes'


def test_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['run', '--list'])
    assert run.main() == 0
    listed = capsys.readouterr().out
    assert 'shakespeare --size=full' in listed and 'heads' in listed
    monkeypatch.setattr(sys, 'argv', ['run', 'shakespeare', '--config.data.path=/x/y.txt'])
    assert run.command() == 'python -m results.run shakespeare --config.data.path=y.txt'
    for words, message in {
        ('nothing',): 'nothing: no such experiment; known: ',
        ('shakespeare', '--seeds=-1'): '--seeds=-1: accepted',
        ('shakespeare', '--config=configs/x.py'): 'an experiment has its own',
        ('heads',): 'heads needs --config.data.path: a folder',
    }.items():
        monkeypatch.setattr(sys, 'argv', ['run', *words])
        with pytest.raises(UserError, match=message):
            run.main()
