"""Real runs of several processes: one story of training, leaving, dying and going on."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group('pod')

ROOT = Path(__file__).parents[1]
WORDS = ('the', 'quick', 'brown', 'fox', 'jumps', 'over', 'a', 'lazy', 'dog', 'and', 'sleeps')
STEPS = 60
SMALL = {
    'steps': STEPS,
    'batch_size': 8,
    'context': 16,
    'log_every': 1,
    'eval_every': 30,
    'checkpoint_every': 15,
    'learning_rate': 1e-3,
    'model.width': 16,
    'model.depth': 2,
    'model.heads': 2,
    'model.dropout': 0.1,
    'data.tokenizer': 'characters',
    'data.vocab': 0,
    'log.tensorboard': 'false',
    'sample.prompts': '("the",)',
    'sample.tokens': 2,
}


class Run:
    """The processes of a run, and what they print."""

    def __init__(self, folder, workdir, processes, devices, of_one=None, **fields):
        fields = SMALL | {'data.path': folder / 'text.txt'} | fields
        with socket.create_server(('', 0)) as server:
            address = f'localhost:{server.getsockname()[1]}'
        self.processes, self._files = [], []
        for index in range(processes):
            changed = fields | (of_one or {}) if index == processes - 1 else fields
            words = [f'--config.{name}={value}' for name, value in changed.items()]
            if processes > 1:
                words += [f'--coordinator={address}', f'--processes={processes}']
                words += [f'--process={index}']
            self._start([f'--workdir={workdir}', *words], folder, devices)

    def _start(self, words, folder, devices):
        script = [sys.executable, 'train.py', '--config=configs/quickstart.py']
        out, err = (folder / f'{time.monotonic_ns()}.{kind}' for kind in ('out', 'err'))
        variables = {
            'JAX_PLATFORMS': 'cpu',
            'JAX_NUM_CPU_DEVICES': str(devices),
            'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
            'XDG_CACHE_HOME': str(folder),
        }
        with out.open('w') as stdout, err.open('w') as stderr:
            process = subprocess.Popen(
                [*script, *words],
                cwd=ROOT,
                env=os.environ | variables,
                stdout=stdout,
                stderr=stderr,
            )
        self.processes.append(process)
        self._files.append((out, err))

    def out(self, index=0):
        return self._files[index][0].read_text()

    def err(self, index=0):
        return self._files[index][1].read_text()

    def ended(self, timeout=200):
        """All exit codes."""
        deadline = time.monotonic() + timeout
        try:
            return [p.wait(max(0.1, deadline - time.monotonic())) for p in self.processes]
        finally:
            for process in self.processes:
                process.kill()

    def at_step(self, workdir, step):
        """Returns once that step was logged."""
        while not (steps := losses(workdir)) or max(steps) < step:
            if any(process.poll() is not None for process in self.processes):
                said = [self.err(index)[-2000:] for index in range(len(self.processes))]
                raise AssertionError('\n'.join(said))
            time.sleep(0.01)


def losses(workdir):
    path = workdir / 'metrics.jsonl'
    lines = path.read_text().split('\n')[:-1] if path.exists() else []
    records = [record for record in map(json.loads, lines) if record['split'] == 'train']
    steps = [record['step'] for record in records]
    assert steps == list(range(1, len(steps) + 1)), 'each step once, in order'
    return {record['step']: record['loss'] for record in records}


def saved(workdir):
    return sorted(int(path.name) for path in (workdir / 'checkpoints').glob('[0-9]*'))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    rng = random.Random(0)
    folder = tmp_path_factory.mktemp('pod')
    (folder / 'text.txt').write_text(' '.join(rng.choice(WORDS) for _ in range(1200)))
    return folder


@pytest.fixture(scope='module')
def whole(folder):
    """The losses of a run that nothing interrupts, of one process."""
    run = Run(folder, folder / 'whole', 1, 8)
    assert run.ended() == [0], run.err()
    return losses(folder / 'whole')


def test_a_run_is_left_killed_and_ended_on_other_processes(folder, whole):
    workdir = folder / 'run'

    # Two processes, parameters split over both. One is asked to end: both do, after one step.
    run = Run(folder, workdir, 2, 4, **{'mesh.data': 1, 'mesh.fsdp': 8})
    run.at_step(workdir, 3)
    run.processes[1].send_signal(signal.SIGTERM)
    assert run.ended() == [143, 143], run.err(0) + run.err(1)
    assert '[process 1 of 2, ' in run.err(1)
    assert 'SIGTERM: saving after this step' in run.err(1)
    left = max(losses(workdir))
    assert 3 <= left < STEPS
    assert saved(workdir) == [left]
    assert f'stopped after step {left}, saved' in run.out(0)
    assert run.out(1) == ''

    # Four processes, another mesh. One is killed: all others say which, and end.
    run = Run(folder, workdir, 4, 2, **{'mesh.data': 2, 'mesh.fsdp': 4})
    run.at_step(workdir, left + 3)
    victim, killed = run.processes[2], time.monotonic()
    victim.kill()
    assert run.ended(60) == [1, 1, -9, 1]
    assert time.monotonic() - killed < 60
    line = rf'error: process 2 of 4 \(.*, pid {victim.pid}\) has died; the same command goes on'
    for index in (0, 1, 3):
        assert re.search(line, run.err(index)), run.err(index)
        assert 'Traceback' not in run.err(index)
    assert f'resumed        from step {left}' in run.out(0)

    # One process, yet another mesh, to the end; every loss is that of the run left alone.
    run = Run(folder, workdir, 1, 8)
    assert run.ended() == [0], run.err()
    assert 'resumed' in run.out()
    found = losses(workdir)
    assert found.keys() == whole.keys()
    assert found == pytest.approx(whole, rel=1e-6)


def test_the_end_of_process_0_ends_all(folder):
    run = Run(folder, folder / 'led', 3, 2, **{'mesh.data': 6, 'batch_size': 12})
    run.at_step(folder / 'led', 1)
    run.processes[0].kill()
    assert run.ended(60) == [-9, 1, 1]
    for index in (1, 2):
        line = f'error: process 0 of 3 (.*, pid {run.processes[0].pid}) has died'
        assert re.search(line.replace('(', r'\(').replace(')', r'\)'), run.err(index))


@pytest.mark.parametrize(
    ('of_one', 'message'),
    [
        (
            {'learning_rate': 2e-3},
            r'config.learning_rate is 0.001 in process 0 of 2 \(.*\) and 0.002 in process 1 of 2',
        ),
        ({'steps': 'many'}, "config.steps='many': wrong type; accepted: a whole number"),
    ],
)
def test_what_is_wrong_in_one_process_ends_all(folder, of_one, message):
    run = Run(folder, folder / 'wrong', 2, 1, of_one=of_one)
    assert run.ended(60) == [1, 1]
    for index in range(2):
        assert re.search(message, run.err(index)), run.err(index)
        assert f'[process {index} of 2, ' in run.err(index)
    assert not (folder / 'wrong').exists()


def test_a_directory_that_is_not_shared(folder):
    """Each process has its own working directory, in which `run` is another one."""
    code = (
        'import sys, pathlib, argparse\n'
        f'sys.path.insert(0, {str(ROOT)!r})\n'
        'from transformer import cli, launch, workdir\n'
        'def main():\n'
        '    to = cli.parser("")\n'
        '    launch.add_flags(to)\n'
        '    launch.start(cli.parse(to)[0])\n'
        '    with workdir.opened(pathlib.Path("run")): return 0\n'
        'cli.run(main)\n'
    )
    with socket.create_server(('', 0)) as server:
        address = f'localhost:{server.getsockname()[1]}'
    running = []
    for index in range(2):
        (folder / f'host_{index}').mkdir()
        flags = [f'--coordinator={address}', '--processes=2', f'--process={index}']
        running.append(
            subprocess.Popen(
                [sys.executable, '-c', code, *flags],
                cwd=folder / f'host_{index}',
                env=os.environ | {'JAX_PLATFORMS': 'cpu'},
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for process in running:
        said = process.communicate(timeout=90)[1]
        assert process.returncode == 1
        assert re.search(
            r'--workdir=run: .* not seen by process 1 of 2 .* all processes share', said
        )


def checkpoints(directory, action, processes=2):
    words = ['scripts/local_pod.sh', str(processes), '2', 'tests/pod_checkpoints.py']
    return subprocess.run(
        [*words, directory, action],
        cwd=ROOT,
        env=os.environ | {'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_checkpoint_damaged_for_one_process_is_so_for_all(tmp_path):
    directory = tmp_path / 'checkpoints'
    done = checkpoints(directory, 'save')
    assert done.returncode == 0, done.stderr
    done = checkpoints(directory, 'restore', 1)
    assert '0 | restored 2' in done.stdout, done.stderr
    parts = [p for p in (directory / '2').rglob('ocdbt.process_1/d/*') if 'params' in str(p)]
    for part in parts:  # what process 1 wrote, and reads
        part.write_bytes(part.read_bytes()[:90])
    assert parts
    done = checkpoints(directory, 'restore')
    assert done.returncode == 0, done.stderr
    assert '0 | restored 1' in done.stdout
    assert done.stdout.count('falling back to step 1') == 1
    assert list((tmp_path / 'damaged').iterdir())


def test_a_save_that_fails_in_one_process_ends_all(tmp_path):
    done = checkpoints(tmp_path, 'fail')
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    problem = f'error: the checkpoint of step 1 could not be saved in {tmp_path}: TypeError'
    assert any(line.startswith('1 | [process 1 of 2') and problem in line for line in lines)
    told = 'error: process 1 of 2 .* ended with an error: the checkpoint of step 1 could not be'
    assert any(re.match(rf'0 \| \[process 0 of 2, .*{told}', line) for line in lines)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_local_pod_tells_signals_and_exit_codes_on(tmp_path, number):
    script = tmp_path / 'waits.py'
    script.write_text(
        'import os, signal, sys, time\n'
        'def heard(number, _): heards.append(number)\n'
        'heards = []\n'
        'for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, heard)\n'
        'print("to err", file=sys.stderr)\n'
        'print(os.environ["JAX_NUM_CPU_DEVICES"], *sys.argv[1:])\n'
        'if "--fail" in sys.argv and "--process=1" in sys.argv: sys.exit(3)\n'
        'while not heards and "--fail" not in sys.argv: time.sleep(0.1)\n'
        'time.sleep(0.3)  # for a second one\n'
        'sys.exit(128 + sum(heards) if heards else 0)\n'
    )
    words = ['scripts/local_pod.sh', '2', '4', script]
    options = {'cwd': ROOT, 'text': True, 'env': os.environ | {'PYTHON': sys.executable}}
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
    session = {'start_new_session': True}  # as of a terminal
    # Where these tests are a job in the background, SIGINT is ignored, by children as well.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen([*words, '--flag'], **options, **pipes, **session) as running:
        said = sorted([running.stdout.readline(), running.stdout.readline()])
        os.killpg(running.pid, number)
        errors = running.communicate(timeout=60)[1]
    assert running.returncode == 128 + number
    assert sorted(errors.splitlines()) == ['0 | to err', '1 | to err']
    for index, line in enumerate(said):
        flags = rf'--coordinator=127.0.0.1:\d+ --processes=2 --process={index}'
        assert re.fullmatch(rf'{index} \| 4 --flag {flags}\n', line)
    assert subprocess.run([*words, '--fail'], **options, **pipes, check=False).returncode == 3
    assert subprocess.run(words[:2], **options, **pipes, check=False).returncode == 2
