"""What the TPU compiler makes of training steps: what travels, and how memory follows the mesh.

Nothing runs: programs are compiled for slices that are not here, and read.
"""

import functools

import pytest

from tests.compiler import needs_compiler, optimised
from transformer import summary
from transformer.experiment import Experiment, default_config
from transformer.preflight import hlo, kinds, program, task
from transformer.preflight.devices import tpus

pytestmark = [needs_compiler, pytest.mark.xdist_group('compiled')]
MORE = (pytest.mark.meshes, pytest.mark.slow)  # `pytest -m meshes` has them
VOCAB, CONTEXT = 32_000, 256
MODEL = {'width': 1024, 'depth': 2, 'heads': 8, 'tied': False}
# Gathers stay gathers: XLA would make rings of permutes of some, which overlap with products.
PLAIN = {'xla_jf_spmd_threshold_for_windowed_einsum_mib': '100000'}


@functools.cache
def compiled(topology, mesh, fields=(), model=(), vocab=VOCAB):
    """(case, state, executable) of a decoder's training step."""
    config = default_config()
    config.update({'context': CONTEXT, **dict(fields)})
    config.model.update(MODEL | dict(model))
    config.mesh.update({'data': 1, **dict(mesh)})
    config.data.vocab = vocab
    place = kinds.topology(topology)
    experiment = Experiment.from_config(config)
    case = program.case(experiment, place, task.task_of(experiment), tpus(place), writes=False)
    with optimised():
        lowered, state, _ = program.lowered_train(case)
        return case, state, lowered.compile(PLAIN)


def fsdp(chips):
    shape = {4: '2x2', 16: '4x4', 64: '8x8', 256: '16x16'}[chips]
    return compiled(f'v5e:{shape}', (('fsdp', chips),), (('batch_size', chips),))


def exchanges(of):
    case, _, executable = of
    return hlo.collectives(executable.as_text(), case.mesh.shape)


def state_bytes(of):
    """Of parameters and optimizer state, by the compiler: all arguments but the batch."""
    _, _, executable = of
    row = 5 * 4 * CONTEXT
    return executable.memory_analysis().argument_size_in_bytes - row


@pytest.mark.parametrize('chips', [16, *(pytest.param(n, marks=MORE) for n in (4, 64, 256))])
def test_fsdp_divides_parameters_and_optimizer_state(chips):
    of = fsdp(chips)
    whole = 3 * 4 * summary.parameter_count(of[1].params)  # and two moments, float32
    assert abs(state_bytes(of) * chips / whole - 1) < 0.02


def test_fsdp_gathers_parameters_only():
    of = fsdp(16)
    params = of[1].params
    layers = summary.parameter_count(params['stack']['repeat'])
    tables = summary.parameter_count(params) - layers
    gathered = sum(one.bytes * one.count for one in exchanges(of) if one.kind == 'all-gather')
    # In bfloat16: layers in the forward and in the backward pass, tables once for both.
    expected = 2 * (2 * layers + tables)
    assert abs(gathered / expected - 1) < 0.05


@pytest.mark.meshes
@pytest.mark.slow
def test_programs_do_not_grow_with_the_slice():
    few, many = (of[2].as_text() for of in (fsdp(16), fsdp(256)))
    assert len(many) < 1.5 * len(few)


@pytest.mark.long
def test_tensor_exchanges_what_a_block_needs():
    """Two sums of activations a block in each direction; logits are never gathered."""
    of = compiled('v5e:2x2', (('tensor', 4),), (('batch_size', 4),))
    depth, width = MODEL['depth'], MODEL['width']
    whole = 4 * CONTEXT * width * 2  # activations, bfloat16
    found = exchanges(of)
    of_blocks = [one for one in found if '/block_0/' in one.op_name and one.bytes >= whole]
    assert {one.kind for one in of_blocks} == {'all-reduce'}
    assert sum(one.count * one.bytes for one in of_blocks) == 4 * depth * whole
    logits = 4 * CONTEXT * VOCAB * 4 // 4  # float32, a chip's part
    assert max(one.bytes for one in found) < logits


@pytest.mark.meshes
@pytest.mark.slow
def test_context_divides_activations():
    """Sequences so long that nothing else counts."""
    long, small = (('batch_size', 1), ('context', 16_384)), (('width', 256), ('heads', 4))

    def activations(chips, shape):
        _, _, executable = compiled(
            f'v5e:{shape}', (('context', chips),), long, (*small, ('depth', 8)), vocab=256
        )
        memory = executable.memory_analysis()
        return memory.peak_memory_in_bytes - memory.argument_size_in_bytes

    assert abs(4 * activations(4, '2x2') / activations(1, '1x1') - 1) < 0.1
