"""`config.loss_chunk`: a training step and an evaluation are the same, whatever it is."""

import jax
import numpy as np
import pytest

from tests import tiny
from tests.test_parallel import KEEP
from transformer import evaluators, losses, paths, sharding, step
from transformer.errors import ConfigError
from transformer.experiment import MeshConfig

A, B = 2, 4  # microbatches, rows of each
# Families, and what splits them: rows, places, tokens and layers. 5 divides nothing.
CASES = [
    ('gemma', {'vocab': 41}, {'data': 2, 'tensor': 2}),
    ('bert', {}, {'fsdp': 2, 'context': 2}),
    ('t5', {'decoder_depth': 2, 'microbatches': A}, {'stage': 2, 'fsdp': 2, 'tensor': 2}),
]


def trained(name, sizes, chunk, axes):
    """Numbers and gradients of a training step, and what an evaluator says."""
    experiment = tiny.experiment(
        batch_size=A * B, accumulation=A, loss_chunk=chunk, objective__smoothing=0.1
    )
    shape = dict.fromkeys(sharding.AXES, 1) | axes
    devices = jax.devices()[: int(np.prod(list(shape.values())))]
    mesh = sharding.make_mesh(MeshConfig(**shape), devices=devices)
    model = tiny.member(name, context_ways=shape['context'], **sizes)
    params, zero = jax.device_get(tiny.filled(model)), np.int32(0)
    state = step.TrainState(zero, params, KEEP.init(params), np.zeros(2, np.uint32), zero)
    layout = sharding.state_shardings(state, KEEP, mesh)
    state = jax.device_put(state, layout)
    batch = tiny.batch_for(model, A, B)
    scores = evaluators.Scores(
        model, experiment.objective, (), mesh, layout.params, (), experiment.loss_chunk
    )
    one = {key: x[:1] for key, x in batch.items()}
    said = dict(scores(state.params, [one]))
    update = step.jit_train_step(step.train_step_fn(model, KEEP, experiment), layout, mesh)
    state, numbers = update(state, sharding.put_batch(batch, mesh))
    return jax.device_get(numbers) | said, jax.device_get(state.opt_state)


@pytest.mark.parametrize(('name', 'sizes', 'axes'), CASES)
def test_chunks_change_no_number_and_no_gradient(name, sizes, axes):
    expected, grads = trained(name, sizes, 10**9, {})
    found, others = trained(name, sizes, 5, axes)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-4, err_msg=key)
    largest = max(np.abs(g).max() for g in jax.tree.leaves(grads))
    for path, a, b in zip(paths.names(grads), *map(jax.tree.leaves, (grads, others))):
        scale = max(np.abs(a).max(), 1e-2 * largest)
        assert np.abs(a - b).max() <= 2e-5 * scale, path


def test_a_chunk_of_fewer_tokens_is_taken():
    """So that the test above compares two ways."""
    head = tiny.member('gemma').config.head
    assert losses.way(head, (B, tiny.CONTEXT), 5).method == 'unscored'
    assert losses.way(head, (B, tiny.CONTEXT), 10**9).method == 'forward'


def test_what_it_cannot_be():
    with pytest.raises(ConfigError, match=r'config\.loss_chunk=-1.*whole number from 0'):
        tiny.experiment(loss_chunk=-1)
