"""What preflight says, estimates and searches."""

import dataclasses
import json
import subprocess
import sys
import time
import types

import pytest

import preflight
from tests.compiler import needs_compiler, optimised
from transformer import summary
from transformer.errors import ConfigError
from transformer.experiment import Experiment, default_config
from transformer.preflight import (
    check,
    devices,
    hlo_buffers,
    kinds,
    memory,
    program,
    search,
    table,
    task,
)

pytestmark = pytest.mark.xdist_group('preflight')
TINY = ['--config=configs/quickstart.py', '--config.data.vocab=512', '--config.context=128']
TINY += ['--config.model.width=64', '--config.model.depth=2', '--config.model.heads=2']
TINY += ['--config.model.attention=xla', '--config.batch_size=4']


# What it says


def run(capsys, *words):
    with optimised():
        code = preflight.main([*words])
    out, err = capsys.readouterr()
    return code, out, err


@needs_compiler
def test_what_fits(capsys):
    code, out, _ = run(capsys, *TINY, '--topology=v5e:2x2', '--config.mesh.fsdp=2', '--json')
    found = json.loads(out)
    assert code == 0 and found['fits'] is True and not found['estimate']
    assert out.count('\n') == 1
    assert 0 < found['hbm_gib'] < found['usable_hbm_gib'] < found['chip_hbm_gib'] == 16
    assert found['compile_seconds'] > 0 and len(found['largest_buffers']) == 5
    assert found['mesh'] | {'data': 2, 'fsdp': 2} == found['mesh'] and found['devices'] == 4
    along = {axes for kind in found['collective_bytes'].values() for axes in kind}
    assert along and all(set(axes.split('+')) <= {'data', 'fsdp'} for axes in along)
    # Parameters are split in two, but for norms; of Adam there is twice as much.
    m, whole = found['memory_gib'], found['parameters'] * 4 / 2**30
    assert m['parameters'] == pytest.approx(whole / 2, rel=0.02)
    assert m['optimizer'] == pytest.approx(2 * m['parameters'], rel=0.01)
    parts = ('arguments', 'outputs', 'activations', 'temporaries', 'code')
    assert sum(m[part] for part in parts) == pytest.approx(found['hbm_gib'])
    text = check.text(found)
    assert 'verdict        fits' in text and 'FLOPs a byte' in text and 'ESTIMATE' not in text


@needs_compiler
def test_what_does_not_fit(capsys):
    words = [*TINY, '--config.batch_size=65536', '--topology=v5e:1x1']
    code, out, _ = run(capsys, *words)
    assert code == 1
    assert 'does not fit, by' in out and 'more chips' in out and 'remat=dots' in out
    code, out, _ = run(capsys, *words, '--json')
    found = json.loads(out)
    assert code == 1 and found['fits'] is False and found['collective_bytes'] is None
    assert found['hbm_gib'] - found['usable_hbm_gib'] == pytest.approx(-found['headroom_gib'])


@needs_compiler
def test_decoding_has_caches(capsys):
    words = [*TINY, '--topology=v5e:2x2', '--config.batch_size=8', '--decode', '--json']
    code, out, _ = run(capsys, *words, '--config.mesh.tensor=2')
    found = json.loads(out)
    assert code == 0 and found['step'] == 'decode'
    # 2 layers of keys and values, rows over data and heads over tensor, and a few small arrays.
    caches = 2 * 2 * (8 // 2) * (2 // 2) * 128 * 32 * 2 / 2**30
    assert found['memory_gib']['kept'] == pytest.approx(caches, rel=0.15)


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--topology=v5e:2x4'], '--config is required'),
        (['--config=configs/quickstart.py'], '--topology is required'),
        (['--config=configs/quickstart.py', '--topology=v9:2'], 'unknown; known kinds'),
        (['--config=configs/quickstart.py', '--topology=h100x3'], 'config.batch_size=16'),
        (['--config=configs/masked_lm.py', '--topology=h100x1', '--decode'], 'writes no text'),
        (['--config=configs/quickstart.py', '--topolgy=h100'], 'unrecognized'),
    ],
)
def test_mistakes_are_told_apart_from_what_does_not_fit(capsys, words, said):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, '') and said in err and err.startswith('error: ')


def test_gpus_are_estimated_and_it_says_so(capsys):
    code, out, _ = run(capsys, *TINY, '--topology=h100x1')
    assert code == 0 and 'ESTIMATE' in out and 'collectives' not in out
    words = [*TINY, '--config.batch_size=1_000_000', '--topology=h100x1']
    code, out, _ = run(capsys, *words, '--json')
    found = json.loads(out)
    assert code == 1 and found['estimate'] and not found['fits']
    assert found['collective_bytes'] is None and found['chip_hbm_gib'] == 80
    code, out, _ = run(capsys, *TINY, '--topology=h100x1', '--decode', '--json')
    assert code == 0 and json.loads(out)['memory_gib']['kept'] > 0


@pytest.mark.parametrize(
    ('axis', 'within'), [('data', 0.01), ('fsdp', 0.01), ('tensor', 0.7), ('context', 0.05)]
)
def test_estimates_follow_the_mesh(axis, within):
    def found(count, **mesh):
        topology = kinds.topology(f'h100x{count}')
        config = default_config()
        config.update({'batch_size': 8, 'data': {'vocab': 512}, 'mesh': {'data': 1} | mesh})
        return check.Check(topology)(Experiment.from_config(config))['memory_gib']

    one, split = found(1), found(2, **{axis: 2})
    assert split['activations'] == pytest.approx(one['activations'] / 2, rel=within)
    ways = 2 if axis in ('fsdp', 'tensor') else 1
    assert split['optimizer'] == pytest.approx(one['optimizer'] / ways, rel=0.01)


def test_a_pipeline_keeps_all_its_microbatches():
    def activations(accumulation):
        config = default_config()
        config.update({'batch_size': 8, 'accumulation': accumulation})
        config.mesh.update({'data': 1, 'stage': 2})
        found = check.Check(kinds.topology('h100x2'))(Experiment.from_config(config))
        return found['memory_gib']['activations']

    assert activations(2) == activations(4)


def test_state_is_counted_as_it_lies():
    config = default_config()
    config.update({'mesh': {'data': 2, 'fsdp': 4}, 'data': {'vocab': 512}})
    experiment = Experiment.from_config(config)
    eight = kinds.topology('h100x8')
    case = program.case(
        experiment, eight, task.task_of(experiment), devices.stand_ins(eight), False
    )
    state = program.train_state(case)
    found = memory.state_of(state, None)
    assert found['parameters'] == summary.bytes_per_device(state.params)
    assert found['optimizer'] == summary.bytes_per_device(state.opt_state) and not found['host']
    assert found['parameters'] < summary.parameter_count(state.params) * 4 / 3.9


def test_what_waits_in_the_hosts_memory_is_not_the_devices():
    def found(offload):
        config = default_config()
        config.update({'batch_size': 8, 'optimizer': {'offload': offload}})
        return check.Check(kinds.topology('h100x8'))(Experiment.from_config(config))

    kept, away = found(False), found(True)
    moved = away['memory_gib']['host']
    assert moved == pytest.approx(kept['memory_gib']['optimizer'], rel=1e-4)
    assert kept['hbm_gib'] - away['hbm_gib'] == pytest.approx(moved)
    assert not kept['memory_gib']['host']


def test_the_peak_counts_and_not_all_that_there_is_in_a_step():
    names = ('argument', 'output', 'alias', 'temp', 'generated_code')
    names = [f'{name}_size_in_bytes' for name in names]
    analysis = dict(zip(names, (1000, 900, 800, 7000, 50)))
    analysis |= {f'host_{name}': 0 for name in names} | {'peak_memory_in_bytes': 4100}
    state = {'parameters': 300, 'optimizer': 600, 'kept': 0, 'host': 0}
    text = 'HloModule m\n\nENTRY %main (x: f32[]) -> f32[] {\n  ROOT %x = f32[] parameter(0)\n}\n'
    kind = kinds.KINDS['v5e']
    found = memory.measured(types.SimpleNamespace(**analysis), text, state, kind)
    assert (found.arguments, found.outputs, found.temporaries, found.code) == (1000, 100, 3000, 50)
    assert found.total == 4150 and found.fits and found.activations == 0


def test_the_compilers_errors_are_read():
    brief = 'the total memory required for HLO temporaries (21.50G) exceeds available HBM (15.75G).'
    assert memory.used(brief) == (21.5 * 2**30, 15.75 * 2**30)
    long = (
        'Ran out of memory in memory space hbm. Used 18.29G of 15.48G hbm. Exceeded hbm capacity '
        'by 2.81G.\n\n  Largest program allocations in hbm:\n\n  1. Size: 3.00G\n     Operator: '
        'op_name="jit(f)/dot"\n     Shape: f32[3,4]{1,0:T(8,128)}\n     Unpadded size: 3.00G\n'
        '     ==========================\n\n  2. Size: 512.0M\n     Shape: bf16[7]{0}\n     =====\n'
    )
    assert memory.used(long) == (int(18.29 * 2**30), int(15.48 * 2**30))
    assert memory.allocations(long) == [
        hlo_buffers.Buffer(3 * 2**30, 'f32[3,4]', 'jit(f)/dot'),
        hlo_buffers.Buffer(2**29, 'bf16[7]', 'not named'),
    ]
    assert memory.used('something else') == (0, 0)


# What it searches


@dataclasses.dataclass(frozen=True)
class Tried:
    batch_size: int
    remat: str = 'none'


@pytest.mark.parametrize(
    ('start', 'room', 'best'),
    [
        (8, 100, (108, 'full')),  # 112 rows would take 100.8
        (64, 10, (8, 'dots')),
        (8, 2000, (512, 'none')),
        (8, 3.9, (4, 'full')),  # the smallest batch there is
    ],
)
def test_the_search_finds_the_largest_batch_then_the_lightest_policy(start, room, best):
    factor = {'none': 2, 'dots': 1, 'full': 0.9}

    def one(tried):
        took = tried.batch_size * factor[tried.remat]
        most = 512
        fits = took <= room and tried.batch_size <= most
        return {**vars(tried), 'fits': fits, 'hbm_gib': took}

    said = []
    found, tried = search.search(Tried(start), 4, one, said.append, tuple(factor))
    assert (found['batch_size'], found['remat']) == best and found['fits']
    assert len(said) == len(tried) and all(line.startswith('tried') for line in said)


def test_a_search_without_success_says_so():
    one = lambda tried: {**vars(tried), 'fits': False, 'hbm_gib': 9.0}  # noqa: E731
    found, tried = search.search(Tried(8), 4, one, lambda line: None, ('none', 'full'))
    assert not found['fits'] and [t['batch_size'] for t in tried] == [8, 8, 4, 4]


def test_meshes_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match='config.mesh.fsdp'):
        config = default_config()
        config.mesh.fsdp = 3
        check.Check(kinds.topology('h100x8'))(Experiment.from_config(config))


# The table


def test_the_table_has_all_configs_and_marks_what_does_not_fit():
    cases = table.cases()
    assert {'configs/quickstart.py', 'configs/llama.py:7b', 'configs/switch.py:dense'} <= {*cases}
    one = {'fits': True, 'hbm_gib': 1.25, 'batch_size': 256, 'usable_hbm_gib': 15.75}
    one |= {'assumed': ['ten classes']}
    found = {(config, name): dict(one) for config in cases for name in table.TOPOLOGIES}
    found['configs/llama.py:7b', 'v5e:1x1'] |= {'fits': False, 'hbm_gib': 75.3}
    found['configs/switch.py', 'v5e:2x4'] = {'error': 'config.mesh.data=3 cannot be used'}
    page = table.page(found).splitlines()
    assert '| quickstart |' + ' 1.25 (256) |' * 6 in page
    assert '| llama:7b | **75.3** (256) |' + ' 1.25 (256) |' * 5 in page
    assert any(line.startswith('| switch |') and 'refused' in line for line in page)
    assert any(line.startswith('- chat, ') and line.endswith(': ten classes') for line in page)


def test_the_table_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    one = {'fits': True, 'hbm_gib': 2.0, 'batch_size': 16, 'usable_hbm_gib': 15.75, 'assumed': []}
    asked = []
    monkeypatch.setattr(table, 'cases', lambda: ['configs/a.py', 'configs/b.py'])
    monkeypatch.setattr(table, 'fitted', lambda *case: asked.append(case) or one)
    results = tmp_path / 'results.jsonl'
    results.write_text(json.dumps(['configs/a.py', 'v5e:1x1', one | {'hbm_gib': 1.0}]) + '\n')
    monkeypatch.setattr('sys.argv', ['table', f'--results={results}'])
    assert table.main() == 0
    assert len(asked) == 11 and ('configs/a.py', 'v5e:1x1') not in asked
    page = capsys.readouterr().out
    assert '| a | 1 (16) |' in page and '| b | 2 (16) |' in page
    assert table.main() == 0 and len(asked) == 11
    assert capsys.readouterr().out == page


def test_a_batch_grows_to_the_places_of_the_mesh():
    found = table.fitted('configs/quickstart.py', 'h100x32')
    assert found['batch_size'] == 32 and found['estimate']


@pytest.mark.parametrize(
    ('ends', 'code', 'said'),
    [
        ('lambda: 1', 1, ''),
        ('lambda: os.kill(os.getpid(), 11)', 2, 'error: the compiler ended by SIGSEGV; '),
        ('lambda: os.kill(os.getpid(), 9)', 2, 'error: the compiler ended by SIGKILL; as the sys'),
        ('lambda: os.kill(os.getpid(), 15)', 128 + 15, ''),
    ],
)
def test_a_compiler_that_crashes_is_told_from_what_does_not_fit(ends, code, said):
    program = f'import os, sys, preflight; sys.exit(preflight.watched({ends}))'
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
    assert done.returncode == code and done.stderr.startswith(said)
    assert bool(done.stderr) == bool(said)


def test_the_compiler_does_not_outlive_its_watcher():
    waits = 'lambda: (print(os.getpid(), flush=True), time.sleep(60))'
    program = f'import os, time, preflight; preflight.watched({waits})'
    begin = time.monotonic()
    command = [sys.executable, '-c', program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
        assert int(watcher.stdout.readline()) != watcher.pid
        watcher.kill()
        assert watcher.stdout.read() == ''  # at its end when the compiler's process is gone, too
    assert time.monotonic() - begin < 30
