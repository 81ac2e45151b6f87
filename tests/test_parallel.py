"""Every kind of parallelism, alone and mixed: loss and every gradient are those of one device."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import tiny
from transformer import paths, sharding, step
from transformer.experiment import MeshConfig

A, B = 2, 8  # microbatches, rows of each
# As deep as two stages need.
FAMILIES = {
    'llama': {},
    'bert': {},
    't5': {'decoder_depth': 2},
    'vit': {},
    'switch': {'depth': 4},
    'mamba': {'depth': 4},
}
ALONE = ({'data': 8}, {'fsdp': 8}, {'tensor': 2}, {'context': 4}, {'expert': 4}, {'stage': 2})
MIXED = (
    {'data': 2, 'fsdp': 2, 'tensor': 2},
    {'fsdp': 2, 'context': 2, 'expert': 2},
    {'data': 2, 'stage': 2, 'tensor': 2},
    {'data': 2, 'context': 2, 'tensor': 2},
    {'stage': 2, 'fsdp': 2, 'context': 2},
    {'stage': 2, 'expert': 2, 'tensor': 2},
)

# An update that leaves the parameters and keeps the gradient where moments would be.
KEEP = optax.GradientTransformation(
    lambda params: jax.tree.map(jnp.zeros_like, params),
    lambda grads, state, params=None: (jax.tree.map(jnp.zeros_like, grads), grads),
)


def named(axes):
    return '-'.join(f'{axis}{size}' for axis, size in axes.items())


def without_experts(axes):
    """Their devices split rows where there are no experts."""
    more = axes.get('expert', 1)
    return {a: n for a, n in axes.items() if a != 'expert'} | ({'data': more} if more > 1 else {})


def gradients(name, split, **axes):
    """Loss and gradients of a training step over a mesh of just these axes.

    Args:
      split: whether sequences are, here or in what this is compared with.
    """
    sizes = {axis: axes.get(axis, 1) for axis in sharding.AXES}
    experiment = dataclasses.replace(
        tiny.experiment(batch_size=A * B, accumulation=A), mesh=MeshConfig(**sizes)
    )
    options, _ = tiny.FAMILIES[name]
    # Tight: with a capacity, which tokens are dropped hangs on all the others.
    capacity = {'expert_capacity': 0.8} if options.experts else {}
    # Attention to split sequences drops no weights.
    rate = 0.0 if split else 0.2
    model = tiny.member(
        name,
        dropout=rate,
        microbatches=A,
        context_ways=sizes['context'],
        **FAMILIES[name],
        **capacity,
    )
    devices = jax.devices()[: int(np.prod(list(sizes.values())))]
    mesh = sharding.make_mesh(experiment.mesh, options.experts, devices)
    zero = jnp.zeros((), jnp.int32)
    params = jax.device_get(tiny.drawn(model, 0.15))
    state = step.TrainState(zero, params, KEEP.init(params), jnp.zeros(2, jnp.uint32), zero)
    layout = sharding.state_shardings(state, KEEP, mesh)
    state = jax.device_put(jax.device_get(state), layout)
    update = step.jit_train_step(step.train_step_fn(model, KEEP, experiment), layout, mesh)
    state, numbers = update(state, sharding.put_batch(tiny.batch_for(model, A, B), mesh))
    return jax.device_get((numbers, state.opt_state))


@functools.lru_cache
def alone(name, split):
    return gradients(name, split)


def marks(name, axes):
    """What one family needs, and all for llama; `pytest -m meshes` has the rest."""
    some = (ALONE[3], MIXED[0]) if name != 'switch' else (ALONE[4], MIXED[1])
    rest = [] if name == 'llama' or axes in some else [pytest.mark.meshes, pytest.mark.slow]
    return [pytest.mark.xdist_group(f'parallel-{name}'), *rest]


@pytest.mark.parametrize(
    ('name', 'axes'),
    [
        pytest.param(name, axes, marks=marks(name, axes), id=f'{name}-{named(axes)}')
        for name in FAMILIES
        for axes in (*ALONE, *MIXED)
        if 'expert' not in axes or name == 'switch' or len(axes) > 1
    ],
)
def test_as_on_one_device(name, axes):
    split = 'context' in axes
    numbers, grads = alone(name, split)
    has_experts = tiny.FAMILIES[name][0].experts
    spread, others = gradients(name, split, **(axes if has_experts else without_experts(axes)))
    np.testing.assert_allclose(spread['loss'], numbers['loss'], rtol=1e-5)
    for key, value in numbers.items():
        np.testing.assert_allclose(spread[key], value, rtol=1e-4, err_msg=key)
    largest = max(np.abs(g).max() for g in jax.tree.leaves(grads))
    for path, g, other in zip(paths.names(grads), *map(jax.tree.leaves, (grads, others))):
        # What is nearly zero, as a key's bias, is a sum of large numbers, and so is its rounding.
        scale = max(np.abs(g).max(), 1e-2 * largest)
        assert np.abs(other - g).max() <= 1e-5 * scale, path
