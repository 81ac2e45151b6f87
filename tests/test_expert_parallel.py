"""Experts spread over a mesh: the numbers of one device, and tokens that are never gathered."""

import dataclasses
import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from transformer.context import Context
from transformer.errors import ConfigError
from transformer.moe import MoE, MoEConfig

AXES = ('data', 'stage', 'fsdp', 'expert', 'context', 'tensor')
MESHES = {
    'data 2, expert 4': (2, 1, 1, 4, 1, 1),
    'fsdp 2, expert 2, context 2': (1, 1, 2, 2, 2, 1),
    'data 2, expert 2, tensor 2': (2, 1, 1, 2, 1, 2),
    'data 8': (8, 1, 1, 1, 1, 1),
    'stage 2, expert 2, tensor 2': (1, 2, 1, 2, 1, 2),
}
B, T, D, F, E = 8, 8, 8, 16, 4
SEGMENTS = np.tile(
    np.array([[1] * 3 + [2] * 5, [0] * 3 + [1] * 5, [1] * 6 + [0] * 2, [0] * 8], np.int32), (2, 1)
)
SWITCH = MoEConfig(
    E, F, capacity=0.5, activation='relu', bias=True, balance=0.3, router_z=0.2, jitter=0.1
)
MIXTRAL = MoEConfig(E, F, top_k=2, activation='silu', gated=True, normalize=True, dropout=0.3)
change = dataclasses.replace
CONFIGS = {
    'capacity': SWITCH,
    'two choices, capacity': change(SWITCH, top_k=2, gated=True),
    'groups on a device each': change(SWITCH, groups=8),
    'groups over devices': change(SWITCH, groups=2, top_k=2),
    'dropless': MIXTRAL,
    'documents': change(SWITCH, capacity=None, limit=1),
}
LAYOUT = {
    'router': {'kernel': P('fsdp', None)},
    'experts_up': {'kernel': P('expert', 'fsdp', 'tensor'), 'bias': P('expert', 'tensor')},
    'experts_gate': {'kernel': P('expert', 'fsdp', 'tensor'), 'bias': P('expert', 'tensor')},
    'experts_down': {'kernel': P('expert', 'tensor', 'fsdp'), 'bias': P('expert', None)},
}
ROWS = P(('data', 'fsdp', 'expert'), 'context')


def make_mesh(name):
    return jax.make_mesh(MESHES[name], AXES, axis_types=(AxisType.Auto,) * len(AXES))


@functools.lru_cache
def setup(config):
    """Parameters all away from zero, inputs, and what the loss multiplies the outputs by."""
    rng = np.random.default_rng(2)
    moe = MoE(config, D)
    x_BTD, ct_BTD = rng.normal(size=(2, B, T, D)).astype(np.float32)
    ctx = Context.of(SEGMENTS)
    shapes = jax.eval_shape(moe.init, jax.random.key(1), x_BTD, ctx)['params']
    params = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)
    return params, x_BTD, ct_BTD


def step(config):
    """Gradients of sum(y * ct) + loss, and (y_BTD, aux)."""

    def loss(params, x_BTD, segments_BT, ct_BTD):
        ctx = Context.of(x_BTD, segments_BT=segments_BT, train=True)
        rngs = {'dropout': jax.random.key(5)}
        y_BTD, aux = MoE(config, D).apply({'params': params}, x_BTD, ctx, rngs=rngs)
        return (y_BTD * ct_BTD).sum() + aux['loss'], (y_BTD, aux)

    return jax.grad(loss, (0, 1), has_aux=True)


@functools.lru_cache
def alone(config):
    params, x_BTD, ct_BTD = setup(config)
    return jax.device_get(jax.jit(step(config))(params, x_BTD, SEGMENTS, ct_BTD))


@functools.lru_cache
def spread(config, name):
    """The results on a mesh, and the compiled program."""
    params, x_BTD, ct_BTD = setup(config)
    mesh = make_mesh(name)
    layout = {m: {p: NamedSharding(mesh, LAYOUT[m][p]) for p in params[m]} for m in params}
    rows = NamedSharding(mesh, ROWS)
    with jax.set_mesh(mesh):
        args = jax.device_put((params, x_BTD, SEGMENTS, ct_BTD), (layout, rows, rows, rows))
        program = jax.jit(step(config), out_shardings=((layout, rows), None)).lower(*args).compile()
        return jax.device_get(program(*args)), program


def close(found, expected):
    def one(path, a, b):
        atol = 1e-5 * max(1, np.abs(b).max())
        np.testing.assert_allclose(a, b, atol=atol, err_msg=jax.tree_util.keystr(path))

    jax.tree_util.tree_map_with_path(one, found, expected)


CASES = (
    ('data 2, expert 4', 'capacity'),
    ('data 2, expert 4', 'two choices, capacity'),
    ('data 2, expert 4', 'groups on a device each'),
    ('data 2, expert 4', 'dropless'),
    ('fsdp 2, expert 2, context 2', 'two choices, capacity'),
    ('fsdp 2, expert 2, context 2', 'groups over devices'),
    ('fsdp 2, expert 2, context 2', 'dropless'),
    ('fsdp 2, expert 2, context 2', 'documents'),
    ('data 2, expert 2, tensor 2', 'two choices, capacity'),
    ('data 2, expert 2, tensor 2', 'dropless'),
    ('data 8', 'two choices, capacity'),
    ('data 8', 'dropless'),
)


@pytest.mark.parametrize(('mesh', 'config'), CASES)
def test_spread_equals_alone(mesh, config):
    """Outputs, statistics, the loss and all gradients."""
    expected = alone(CONFIGS[config])
    close(spread(CONFIGS[config], mesh)[0], expected)
    dropped = expected[1][1]['stats']['dropped']
    assert (dropped > 8) == (config != 'dropless')


def exchanged(program, kind):
    """Type and shape of what each collective of a compiled program brings."""
    text = '\n'.join(re.findall(rf'= (.*?) {kind}(?:-start)?\(', program.as_text()))
    return [(t, tuple(map(int, s.split(',')))) for t, s in re.findall(r'(\w+)\[([\d,]+)\]', text)]


@pytest.mark.parametrize('config', ['dropless', 'two choices, capacity', 'groups on a device each'])
def test_tokens_travel_and_are_not_gathered(config):
    """Neither forward nor backward: only integers that count choices are gathered."""
    _, program = spread(CONFIGS[config], 'data 2, expert 4')
    gathered = {kind for kind, _ in exchanged(program, 'all-gather')}
    assert gathered == ({'s32'} if config == 'two choices, capacity' else set())
    travelled = [
        math.prod(shape) for kind, shape in exchanged(program, 'all-to-all') if kind == 'f32'
    ]
    N, rows = T, 4 * min(CONFIGS[config].top_k, E // 4) * T  # one row of the batch on each device
    if config == 'groups on a device each':
        rows = math.ceil(0.5 * N / E) * E
    ways = 2 * 2 + (config == 'dropless') * F // D  # there and back, twice; and what dropout keeps
    assert sum(travelled) == ways * rows * D


def test_kernels_are_gathered_and_their_gradients_scattered():
    _, program = spread(CONFIGS['dropless'], 'fsdp 2, expert 2, context 2')
    kernels = {('f32', (E // 2, D, F)), ('f32', (E // 2, F, D))}
    router = ('f32', (D, E))
    assert set(exchanged(program, 'all-gather')) <= {router, *kernels}
    halves = {('f32', (E // 2, D // 2, F)), ('f32', (E // 2, F, D // 2))}
    assert halves <= set(exchanged(program, 'reduce-scatter'))


def test_inside_a_map_over_stages_and_a_scan_over_depth():
    """As in a pipeline: two stages of two layers each, with rematerialisation."""
    config = CONFIGS['two choices, capacity']
    params, x_BTD, ct_BTD = setup(config)
    two = lambda x: np.stack([x, 0.7 * x])  # noqa: E731
    params, x_SBTD = jax.tree.map(two, params), two(x_BTD)

    def layers(params, x_BTD, segments_BT):
        ctx = Context.of(x_BTD, segments_BT=segments_BT, train=True)
        rngs = {'dropout': jax.random.key(5)}

        @functools.partial(jax.checkpoint, prevent_cse=False)
        def layer(x_BTD, _):
            y_BTD, aux = MoE(config, D).apply({'params': params}, x_BTD, ctx, rngs=rngs)
            return x_BTD + y_BTD, aux

        return jax.lax.scan(layer, x_BTD, length=2)

    def stage(params, x_1BTD, segments_BT):
        found = layers(jax.tree.map(lambda x: x[0], params), x_1BTD[0], segments_BT)
        return jax.tree.map(lambda x: x[None], found)

    def staged(params, x_SBTD, segments_BT):
        by_stage, specs = P('stage'), {'axis_names': {'stage'}, 'check_vma': False}
        mapped = jax.shard_map(
            stage, in_specs=(by_stage, by_stage, P()), out_specs=by_stage, **specs
        )
        return mapped(params, x_SBTD, segments_BT)

    def one_by_one(params, x_SBTD, segments_BT):
        of = lambda s: jax.tree.map(lambda x: x[s], (params, x_SBTD))  # noqa: E731
        return jax.tree.map(lambda *x: jnp.stack(x), *(layers(*of(s), segments_BT) for s in (0, 1)))

    def gradients(run):
        def loss(params, x_SBTD, segments_BT):
            y_SBTD, aux = run(params, x_SBTD, segments_BT)
            return (y_SBTD * ct_BTD[None]).sum() + aux['loss'].sum(), (y_SBTD, aux)

        return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, x_SBTD, SEGMENTS)

    expected = jax.device_get(gradients(one_by_one))
    with jax.set_mesh(make_mesh('stage 2, expert 2, tensor 2')):
        close(jax.device_get(gradients(staged)), expected)


def test_rows_that_do_not_divide():
    """One row, as when a model writes: left to XLA, and right."""
    config = change(MIXTRAL, dropout=0.0)
    params, x_BTD, _ = setup(config)
    apply = lambda x: MoE(config, D).apply({'params': params}, x, Context.of(x))[0]  # noqa: E731
    expected = jax.jit(apply)(x_BTD[:1])
    with jax.set_mesh(make_mesh('data 2, expert 4')):
        close(jax.device_get(jax.jit(apply)(x_BTD[:1])), jax.device_get(expected))


def test_groups_are_batches_of_their_own():
    whole, part = (change(SWITCH, jitter=0.0, groups=g, top_k=2) for g in (2, 1))
    params, x_BTD, ct_BTD = setup(whole)
    expected = alone(whole)[1]
    half = jax.jit(step(part))
    parts = [half(params, x_BTD[s], SEGMENTS[s], ct_BTD[s])[1] for s in (slice(0, 4), slice(4, 8))]
    np.testing.assert_allclose(np.concatenate([y for y, _ in parts]), expected[0], atol=1e-5)
    dropped = sum(aux['stats']['dropped'] for _, aux in parts)
    assert dropped == expected[1]['stats']['dropped'] > 8


def test_rows_that_cannot_be_dealt_into_groups():
    config = change(SWITCH, groups=3)
    params, x_BTD, ct_BTD = setup(config)
    with pytest.raises(ConfigError, match=r'expert_groups=3 .*divisor of the 8 rows'):
        jax.eval_shape(step(config), params, x_BTD, SEGMENTS, ct_BTD)
