"""What the TPU compiler makes of training steps: what travels, and how memory follows the mesh.

Nothing runs: programs are compiled for slices that are not here, and read.
"""

import functools
import importlib.util

import pytest

from transformer.experiment import Experiment, default_config
from transformer.preflight import hlo, kinds, program, task
from transformer.preflight.devices import tpus

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec('libtpu') is None,
        reason='the compiler for TPUs is missing: pip install -e ".[tpu]"',
    ),
    pytest.mark.xdist_group('compiled'),
]
VOCAB, CONTEXT = 32_000, 512
MODEL = {'width': 1024, 'depth': 2, 'heads': 8, 'tied': False}
# Gathers stay gathers: XLA would make rings of permutes of some, which overlap with products.
PLAIN = {'xla_jf_spmd_threshold_for_windowed_einsum_mib': '100000'}


@functools.lru_cache(maxsize=None)
def compiled(topology, mesh, fields=(), model=()):
    """(case, state, executable) of a decoder's training step."""
    config = default_config()
    config.update({'context': CONTEXT, 'remat': 'full', **dict(fields)})
    config.model.update(MODEL | dict(model))
    config.mesh.update({'data': 1, **dict(mesh)})
    config.data.vocab = VOCAB
    place = kinds.topology(topology)
    experiment = Experiment.from_config(config)
    case = program.case(experiment, place, task.task_of(experiment), tpus(place), writes=False)
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


@pytest.mark.parametrize('chips', [4, 64, 256])
def test_fsdp_divides_parameters_and_optimizer_state(chips):
    few, many = state_bytes(fsdp(16)), state_bytes(fsdp(chips))
    assert abs(many * chips / (few * 16) - 1) < 0.02
