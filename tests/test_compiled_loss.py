"""Training GPT-2 on one chip of a v5e, by its compiler: what is in the program, and what is not."""

import functools
import math
import re

import pytest

from configs import gpt2
from tests.compiler import needs_compiler, optimised
from transformer.experiment import Experiment
from transformer.preflight import kinds, memory, program, task
from transformer.preflight.devices import tpus

pytestmark = [needs_compiler, pytest.mark.slow, pytest.mark.xdist_group('compiled')]
VOCAB = 50_257


@functools.cache
def compiled(**fields):
    """(the compiled training step of GPT-2's 124 M, what it takes of a chip)."""
    config = gpt2.get_config()
    config.update(fields)
    place = kinds.topology('v5e:1x1')
    experiment = Experiment.from_config(config)
    case = program.case(experiment, place, task.task_of(experiment), tpus(place), writes=False)
    with optimised():
        lowered, state, _ = program.lowered_train(case)
        executable = lowered.compile()
    held = memory.state_of(state, None)
    found = memory.measured(
        executable.memory_analysis(), executable.as_text(), held, case.topology.kind
    )
    return executable.as_text(), found


def largest(text, last=None):
    """Elements of the largest array in the program, or of those whose last axis is so long."""
    shapes = {
        tuple(map(int, dims.split(','))) for dims in re.findall(r'\b[a-z]+\d+\[([\d,]+)\]', text)
    }
    return max(math.prod(shape) for shape in shapes if last in (None, shape[-1]))


LONG = pytest.param({'batch_size': 1, 'context': 32_768}, marks=pytest.mark.meshes)


@pytest.mark.parametrize('fields', [pytest.param({}, marks=pytest.mark.long), LONG])
def test_gpt2_fits_one_chip_without_its_scores(fields):
    """A batch of 32 rows of 1,024, and one row of 32,768, without full rematerialisation."""
    assert gpt2.get_config().remat != 'full'
    text, found = compiled(**fields)
    assert found.fits
    assert text.count('custom_call_target="tpu_custom_call"') >= 3  # attention, and its gradients
    tokens = 32 * 1024
    assert largest(text, VOCAB) <= tokens * VOCAB / 16  # of one chunk, and the table
    assert largest(text) < tokens * VOCAB
