"""The benchmarks: fair turns, honest numbers, and what they say where something is missing."""

import importlib
import json
import sys

import numpy as np
import pytest

from benchmarks import (
    batches,
    cases,
    checkpoint,
    compile,
    contest,
    decode,
    long_context,
    machine,
    memory,
    profiling,
    record,
    train,
)
from transformer.errors import UserError

SIDE = 'tests.benchmark_side'


def here(no_peer: str = '') -> machine.Machine:
    """A machine whose rates nobody measured."""
    return machine.Machine('test', 'cpu', 'cpu', 'float32', 1e9, 'said', 1e9, no_peer, ())


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a benchmark's `main` with flags; gives the objects of its JSON."""

    def of(module, *flags: str, no_peer: str = '') -> list[dict]:
        monkeypatch.setattr(machine, 'measure', lambda *args: here(no_peer))
        file = tmp_path / 'found.json'
        monkeypatch.setattr(sys, 'argv', ['benchmark', *flags, f'--json={file}'])
        assert module.main() == 0
        return record.read(file)

    return of


# Turns


def test_sides_alternate_and_the_order_turns_round():
    asked = []
    sides = {name: lambda name=name: asked.append(name) or len(asked) for name in ('ours', 'peer')}
    rounds = contest.alternate(sides, 3, rest=0)
    assert asked == ['ours', 'peer', 'peer', 'ours', 'ours', 'peer']
    assert rounds == contest.Rounds((1, 4, 5), (2, 3, 6))


def test_medians_and_spread():
    rounds = contest.Rounds((2.0, 9.0, 4.0), (4.0, 3.0, 16.0))
    assert rounds.medians == (4.0, 4.0)
    assert rounds.spread == {'ours': [2.0, 9.0], 'peer': [3.0, 16.0], 'ratio': [0.25, 3.0]}
    alone = contest.Rounds((2.0, 1.0))
    assert alone.medians == (1.5, None)
    assert alone.spread == {'ours': [1.0, 2.0]}


def test_a_side_keeps_its_process_and_what_it_made():
    with contest.Side('a', SIDE, {}, first=0) as a, contest.Side('b', SIDE, {}, first=10) as b:
        assert a.about['pid'] != b.about['pid']
        assert [a('count'), b('count'), a('count'), b('count')] == [1, 11, 2, 12]
        with pytest.raises(UserError, match='a: ValueError: a bug'):
            a('broken')
        assert a('count') == 3
        with pytest.raises(UserError, match='b ended: the last words'):
            b('die')


def test_a_side_that_cannot_be_made_says_why():
    with pytest.raises(UserError, match='ours: first=-1: accepted: at least 0'):
        contest.Side('ours', SIDE, {}, first=-1)


def test_memory_forgets_its_peak():
    before = memory.resident()
    held = np.ones(2**25)  # 256 MiB
    assert memory.peak() >= before + 0.9 * held.nbytes
    del held
    memory.forget()
    assert memory.peak() < before + 2**27


# Records


def test_a_record_has_what_a_table_needs(tmp_path, capsys):
    file = tmp_path / 'found.json'
    made = [
        record.make('step', 3.0, 4.0, 'ms', spread={'ratio': [0.7, 0.8]}),
        record.make('alone', 2e6, None, 'tokens/s', 'a machine'),
    ]
    record.finish(made, file)
    found = json.loads(file.read_text())
    assert [[r[f] for f in record.FIELDS[:5]] for r in found] == [
        ['step', 3.0, 4.0, 0.75, 'ms'],
        ['alone', 2e6, None, None, 'tokens/s'],
    ]
    assert found[0]['machine'] == record.processor()
    assert f'jax {importlib.metadata.version("jax")}' in found[0]['versions']
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].split() == ['step', '3', '4', 'ms', '0.75', '0.7', 'to', '0.8']
    assert printed[2].split() == ['alone', '2,000,000', '-', 'tokens/s', '-']
    rows = record.markdown(record.read(file))
    assert '| step | 3 ms | 4 ms | 0.75 (0.7 to 0.8) | `' in rows
    assert rows.count('On ') == 2  # two machines, two tables


def test_a_file_of_something_else_is_refused(tmp_path):
    file = tmp_path / 'other.json'
    for text in ('{"name": 1}', 'not JSON', '[{"name": "x", "ours": 1}]'):
        file.write_text(text)
        with pytest.raises(UserError, match='accepted: what --json writes'):
            record.read(file)
    with pytest.raises(UserError, match='No such file'):
        record.read(tmp_path / 'none.json')


# Bad input


BAD = [
    (train, '--model=gpt9', "'gpt9' is not known; known: shakespeare,"),
    (train, '--platform=abacus', 'accepted: cpu, gpu, tpu'),
    (train, '--repeats=0', 'accepted: at least 1'),
    (train, '--steps=-1', 'accepted: at least 0'),
    (train, '--config.model.attention=flush', 'accepted: one of auto, reference'),
    (train, '--config.model.widht=3', 'did you mean config.model.width'),
    (train, '--attention=xla', 'unrecognized arguments'),
    (decode, '--model=bert_mini', 'known: shakespeare, gpt2'),
    (decode, '--batch=1,0', 'accepted: whole numbers above 0'),
    (decode, '--new=0', 'accepted: at least 1'),
    (decode, '--quantize=int4', 'accepted: int8'),
    (long_context, '--lengths=64,32', 'accepted: growing numbers'),
    (long_context, '--config.context=64', 'nothing here reads it; accepted: --config.model'),
    (train, '--config.mesh.data=2', 'nothing here reads it'),
    (decode, '--config.learning_rate=1', 'nothing here reads it'),
    (long_context, '--model=gpt2,tiny', 'accepted: one name'),
    (checkpoint, '--directory=/nowhere/at/all', 'no such directory'),
    (compile, '--layers=12', 'accepted: two numbers'),
    (compile, '--topology=h100x8', 'accepted: TPUs'),
]


@pytest.mark.parametrize(('module', 'flag', 'message'), BAD, ids=[flag for _, flag, _ in BAD])
def test_bad_input_is_refused_before_anything_is_measured(module, flag, message, run):
    with pytest.raises(UserError) as error:
        run(module, flag)
    assert message in str(error.value)


def test_a_platform_that_is_not_here_is_refused():
    with pytest.raises(UserError, match='--platform=tpu: JAX sees no such device here'):
        machine.measure('tpu')


def test_a_missing_peer_is_named_with_its_install_line(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    assert contest.missing_peer() == (
        'torch and transformers not installed, no peer: pip install torch==2.13.0 transformers'
    )


def test_without_an_accelerator_it_says_what_it_runs_on():
    said = machine.describe(here('torch not installed, no peer: pip install torch'))
    assert 'runs on        test: JAX sees no accelerator' in said
    assert 'peer           torch not installed, no peer: pip install torch' in said


# Batches


@pytest.mark.parametrize('kind', batches.KINDS)
def test_batches_are_a_function_of_the_seed(kind):
    spec = {'kind': kind, 'batch': 4, 'context': 200, 'target': 20, 'vocab': 50}
    spec |= {'image': 8, 'channels': 3, 'classes': 5}
    one, two = batches.make(spec, 2), batches.make(spec, 2)
    for a, b in zip(one, two):
        assert all(np.array_equal(a[name], b[name]) for name in a)
    assert not np.array_equal(one[0]['targets'], one[1]['targets'])
    batch = one[0]
    assert batch['targets'].shape == batch['weights'].shape
    if kind == 'masked':
        assert 0.1 < batch['weights'].mean() < 0.2
        seen = batch['weights'] == 0
        assert np.array_equal(batch['inputs'][seen], batch['targets'][seen])
    if kind in ('next_token', 'encoder_decoder'):
        inputs = batch['decoder_inputs' if kind == 'encoder_decoder' else 'inputs']
        assert np.array_equal(inputs[:, 1:], batch['targets'][:, :-1])


# Traces


def test_time_inside_an_operation_is_not_counted_twice():
    events = [
        ('loop', 0, 100),
        ('dot', 10, 30),
        ('inner', 20, 5),
        ('add', 50, 10),
        ('after', 100, 7),
    ]
    found = dict(profiling.own_times(events))
    assert found == {'loop': 60, 'dot': 25, 'inner': 5, 'add': 10, 'after': 7}


def test_operations_are_named_by_their_place_in_the_model():
    path = 'jit(train_step)/transpose(jvp(Transformer.forward))/stack/while/body/closed_call'
    program = f"""
  %dot.7 = f32[8,16]{{1,0}} dot(%a, %b), metadata={{op_name="{path}/mlp/up/dot_general"}}
  ROOT fusion.1 = f32[] fusion(dot.7), metadata={{op_name="jit(train_step)/add"}}
  %copy = f32[8]{{0}} copy(%c)
"""
    found = profiling.op_names(program)
    assert found == {'dot.7': 'backward stack/mlp/up/dot_general', 'fusion.1': 'add'}


# Whole runs, without a peer


def test_a_training_step_without_a_peer(run, tmp_path, capsys):
    trace = tmp_path / 'trace'
    flags = ('--model=tiny', '--repeats=2', '--steps=2', f'--profile={trace}')
    time, most = run(train, *flags, no_peer='no peer here')
    L, D, V, T, B = 2, 32, 67, 32, 2
    # Kernels and biases of attention and MLP, norms, the last norm, the table of tokens.
    counted = L * (12 * D * D + 9 * D + 4 * D) + 2 * D + V * D
    assert time['flops'] == B * T * (6 * counted + 12 * L * D * T)
    seconds = time['ours'] / 1e3
    assert time['mfu'] == [pytest.approx(time['flops'] / seconds / 1e9), None]
    assert time['tokens_per_second'] == [pytest.approx(B * T / seconds), None]
    assert [r['peer'] for r in (time, most)] == [r['ratio'] for r in (time, most)] == [None, None]
    assert 0 < most['ours'] < 2000
    printed = capsys.readouterr().out
    assert '6 N + 12 layers' in printed
    assert 'ms a step' in printed and 'mlp' in printed
    assert list(trace.rglob('*.xplane.pb'))


def test_checkpoints_without_a_peer(run):
    found = run(checkpoint, '--model=tiny', '--repeats=1', no_peer='no peer here')
    assert [r['name'].split(', ')[1] for r in found] == ['save', 'save', 'restore']
    blocking, whole, restored = (r['ours'] for r in found)
    assert 0 < blocking <= whole
    assert restored > 0
    assert found[0]['bytes'] > 3 * 4 * 28_640  # parameters and two moments


def test_the_cases_are_the_published_models():
    sizes = {'shakespeare': 384, 'bert_mini': 256, 't5_mini': 384, 'vit_ti': 192, 'gpt2': 768}
    for name, width in sizes.items():
        assert cases.experiment(name, {}).model.width == width
    assert cases.experiment('shakespeare_dropout', {}).model.dropout == 0.2
    assert cases.experiment('shakespeare', {'batch_size': '3'}).batch_size == 3
