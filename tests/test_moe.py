"""Experts: what each token gets, how they learn, and where they may lie."""

import dataclasses
import functools
import math

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from tests.made_experts import (
    ALL,
    BOTH,
    CT_BTD,
    MIXTRAL,
    SEGMENTS,
    SWITCH,
    B,
    D,
    E,
    F,
    T,
    by_loops,
    compiled,
    context,
    run,
    setup,
)
from transformer.config import InitConfig
from transformer.errors import ConfigError
from transformer.moe import Experts, MoE


@pytest.mark.parametrize('name', ALL)
def test_output_is_the_definition(name):
    config = ALL[name]
    _, params, x_BTD = setup(config)
    y_BTD, aux = run(config, params, x_BTD)
    expected_BTD, dropped, _ = by_loops(config, params, x_BTD, SEGMENTS)
    np.testing.assert_allclose(y_BTD, expected_BTD, rtol=1e-4, atol=1e-4)
    assert aux['stats']['dropped'] == dropped
    assert (dropped > 0) == bool(config.capacity)
    for value in jax.tree.leaves(aux):
        assert value.shape == () and value.dtype == jnp.float32


def by_one_hot(config, params, x_BTD, kept_KN):
    """y and the loss, every expert working on every token."""
    act = {'relu': jax.nn.relu, 'silu': jax.nn.silu, 'tanh': jnp.tanh}[config.activation]
    x_ND, real_N = x_BTD.reshape(-1, D), SEGMENTS.reshape(-1) > 0

    def linear(name, x, equation):
        y_NEF = jnp.einsum(equation, x, params[f'experts_{name}']['kernel'])
        return y_NEF + params[f'experts_{name}']['bias'][None] if config.bias else y_NEF

    up = linear('up', x_ND, 'nd,edf->nef')
    hidden = act(linear('gate', x_ND, 'nd,edf->nef')) * up if config.gated else act(up)
    y_NED = linear('down', hidden, 'nef,efd->ned')
    logits_NE = x_ND @ params['router']['kernel']
    probs_NE = jax.nn.softmax(logits_NE)
    probs_NK, chosen_NK = jax.lax.top_k(probs_NE, config.top_k)
    hot_NKE = jax.nn.one_hot(chosen_NK, E)
    if config.normalize:
        probs_NK = probs_NK / probs_NK.sum(-1, keepdims=True)
    y_ND = jnp.einsum('ned,nke,nk,kn->nd', y_NED, hot_NKE, probs_NK, kept_KN)
    share_E, mean_E = hot_NKE[real_N].mean((0, 1)), probs_NE[real_N].mean(0)
    z = jnp.square(jax.nn.logsumexp(logits_NE[real_N], -1)).mean()
    return y_ND, config.balance * E * (share_E @ mean_E) + config.router_z * z


@pytest.mark.parametrize('name', ['switch', 'mixtral', 'both, limited'])
def test_gradient_is_that_of_the_dense_sum(name):
    config = ALL[name]
    _, params, x_BTD = setup(config)
    kept_KN = jnp.asarray(by_loops(config, params, x_BTD, SEGMENTS)[2], jnp.float32)

    def dense(params, x):
        y_ND, loss = by_one_hot(config, params, x, kept_KN)
        return (y_ND * CT_BTD.reshape(-1, D)).sum() + loss

    grads, _ = compiled(config)(params, x_BTD, SEGMENTS, CT_BTD)
    expected = jax.jit(jax.grad(dense, (0, 1)))(params, x_BTD)
    for (path, g), e in zip(jax.tree_util.tree_leaves_with_path(grads), jax.tree.leaves(expected)):
        assert (np.asarray(e) != 0).any()
        np.testing.assert_allclose(g, e, rtol=1e-3, atol=2e-4, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize('name', ALL)
def test_padding_changes_nothing(name):
    config = ALL[name]
    _, params, x_BTD = setup(config)
    step = compiled(config)
    other_BTD = np.where((SEGMENTS > 0)[..., None], x_BTD, 7 - 3 * np.asarray(x_BTD))
    grads, (y_BTD, aux) = step(params, x_BTD, SEGMENTS, CT_BTD)
    again = step(params, other_BTD, SEGMENTS, CT_BTD)
    jax.tree.map(np.testing.assert_array_equal, (grads, (y_BTD, aux)), again)
    assert (np.asarray(y_BTD)[SEGMENTS == 0] == 0).all()
    assert (np.asarray(grads[1])[SEGMENTS == 0] == 0).all()
    assert (np.asarray(grads[1])[SEGMENTS > 0] != 0).any(-1).all()


def test_a_batch_of_padding_is_finite():
    for config in (MIXTRAL, ALL['switch, limited']):
        _, params, x_BTD = setup(config)
        out = run(config, params, x_BTD, np.zeros((B, T), np.int32))
        assert all((x == 0).all() for x in map(np.asarray, jax.tree.leaves(out)))


def test_hidden_units_are_dropped():
    config = dataclasses.replace(SWITCH, dropout=0.5, bias=False, router_z=0.0)
    moe, params, x_BTD = setup(config)
    # The output shows the hidden units themselves.
    shown = np.broadcast_to(np.eye(F, D, dtype=np.float32), (E, F, D))
    params = params | {'experts_down': {'kernel': shown}}

    @functools.partial(jax.jit, static_argnums=1)
    def apply(rows, train):
        ctx = context(np.ones((B, T), np.int32), rows_B=rows, train=train)
        rngs = {'dropout': jax.random.key(5)} if train else {}
        return moe.apply({'params': params}, jnp.asarray(x_BTD)[rows], ctx, rngs=rngs)[0]

    calm_BTD, some_BTD = apply(jnp.arange(B), False), apply(jnp.arange(B), True)
    live_BTD = np.asarray(calm_BTD) != 0
    share_BTD = np.asarray(some_BTD)[live_BTD] / np.asarray(calm_BTD)[live_BTD]
    dropped = np.abs(share_BTD) < 1e-6
    np.testing.assert_allclose(share_BTD[~dropped], 2, rtol=1e-5)
    assert 0.3 < dropped.mean() < 0.7
    order = np.array([3, 0, 0, 2])
    np.testing.assert_allclose(apply(jnp.asarray(order), True), some_BTD[order], atol=1e-5)


def test_a_router_with_a_bias():
    config = dataclasses.replace(SWITCH, router_bias=True)
    moe, params, x_BTD = setup(config)
    assert params['router']['bias'].shape == (E,)
    bias = np.array([0, 0, 50, 0], np.float32)
    params = params | {'router': params['router'] | {'bias': bias}}
    _, aux = moe.apply({'params': params}, x_BTD, context())
    assert aux['stats']['load_max'] == E and aux['stats']['load_min'] == 0


def test_the_loss_is_the_weighted_sum():
    for config in (BOTH, ALL['both, limited']):
        _, params, x_BTD = setup(config)
        _, aux = run(config, params, x_BTD)
        stats = aux['stats']
        np.testing.assert_allclose(
            aux['loss'], 0.3 * stats['balance'] + 0.2 * stats['router_z'], rtol=1e-6
        )


def test_jitter():
    config = dataclasses.replace(SWITCH, jitter=0.3)
    moe, params, x_BTD = setup(config)
    x_BTD = np.broadcast_to(x_BTD[:1], x_BTD.shape)

    def apply(rows, train, **rngs):
        ctx = context(np.ones((B, T), np.int32), rows_B=rows, train=train)
        return moe.apply({'params': params}, x_BTD, ctx, rngs=rngs)[0]

    jax.eval_shape(lambda: apply(jnp.arange(B), train=False))  # needs no random numbers
    with pytest.raises(flax.errors.InvalidRngError):
        jax.eval_shape(lambda: apply(jnp.arange(B), train=True))
    noisy = jax.jit(lambda rows: apply(rows, train=True, dropout=jax.random.key(5)))
    one_BTD, order = np.asarray(noisy(jnp.arange(B))), np.array([3, 0, 0, 2])
    assert np.abs(one_BTD[0] - one_BTD[1]).max() > 1e-3
    # A row meets the same noise whatever it comes with.
    np.testing.assert_allclose(noisy(jnp.asarray(order)), one_BTD[order], atol=1e-5)


def test_under_a_scan_over_depth():
    """Two layers under one rematerialised scan, against the chain rule by hand."""
    config, scale = MIXTRAL, (0.5, 0.8)
    _, params, x_BTD = setup(config)
    stacked = jax.tree.map(lambda x: np.stack([x * np.float32(s) for s in scale]), params)

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, ctx):
            y, aux = MoE(config, D, name='mlp')(x, ctx)
            return x + y, aux

    deep = nn.scan(
        nn.remat(Layer, prevent_cse=False),
        variable_axes={'params': 0},
        split_rngs={'params': True},
        in_axes=nn.broadcast,
        length=len(scale),
    )()

    def scanned(stacked, x):
        y, aux = deep.apply({'params': {'mlp': stacked}}, x, context())
        return (y * CT_BTD).sum() + aux['loss'].sum(), y

    (grads, dx), y_BTD = jax.jit(jax.grad(scanned, (0, 1), has_aux=True))(stacked, x_BTD)
    step = compiled(config)
    first, second = (jax.tree.map(lambda x, s=s: x * np.float32(s), params) for s in scale)
    middle_BTD = x_BTD + run(config, first, x_BTD)[0]
    (dsecond, back), (last_BTD, _) = step(second, middle_BTD, SEGMENTS, CT_BTD)
    (dfirst, dlast), _ = step(first, x_BTD, SEGMENTS, CT_BTD + back)
    expected = jax.tree.map(lambda *x: np.stack(x), dfirst, dsecond), CT_BTD + back + dlast
    near = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * float(np.abs(b).max()))  # noqa: E731
    jax.tree.map(near, ((grads, dx), y_BTD), (expected, middle_BTD + last_BTD))


RULES = {
    'router': {'kernel': P('fsdp', None)},
    'experts_up': {'kernel': P('expert', 'fsdp', 'tensor'), 'bias': P('expert', 'tensor')},
    'experts_gate': {'kernel': P('expert', 'fsdp', 'tensor'), 'bias': P('expert', 'tensor')},
    'experts_down': {'kernel': P('expert', 'tensor', 'fsdp'), 'bias': P('expert', None)},
}


@pytest.mark.parametrize('name', ['both', 'both, limited'])
def test_on_a_mesh(name):
    config, shape = ALL[name], (1, 2, 2, 2)
    axes = ('data', 'fsdp', 'tensor', 'expert')
    mesh = jax.make_mesh(shape, axes, axis_types=(AxisType.Auto,) * len(axes))
    moe, params, x_BTD = setup(config)
    step = compiled(config)
    rows = NamedSharding(mesh, P(('data', 'fsdp')))
    layout = {m: {p: NamedSharding(mesh, RULES[m][p]) for p in params[m]} for m in params}
    inputs, outputs = (layout, rows, rows, rows), ((layout, rows), NamedSharding(mesh, P()))
    args = params, x_BTD, jnp.asarray(SEGMENTS), CT_BTD
    expected = step(*args)
    split_step = jax.jit(step.__wrapped__, in_shardings=inputs, out_shardings=outputs)
    split = split_step(*jax.device_put(args, inputs))
    kernel = split[0][0]['experts_up']['kernel']
    assert kernel.addressable_shards[0].data.size == kernel.size // math.prod(shape[1:])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), split, expected)


@pytest.mark.parametrize('name', ['mixtral', 'switch, limited'])
def test_bfloat16(name):
    config = ALL[name]
    _, params, x_BTD = setup(config)
    half_BTD = x_BTD.astype('bfloat16')
    exact_BTD, told = run(config, params, half_BTD.astype('float32'))
    half = MoE(config, D, dtype='bfloat16')
    y_BTD, aux = jax.jit(half.apply)({'params': params}, half_BTD, context())
    assert y_BTD.dtype == jnp.bfloat16
    gap = np.abs(np.asarray(y_BTD, np.float32) - exact_BTD).max() / np.abs(exact_BTD).max()
    assert 0 < gap < 0.02
    # The router is exact.
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5), aux, told)


def test_parameters():
    _, params, _ = setup(BOTH)
    shapes = {f'{m}/{p}': x.shape for m, leaves in params.items() for p, x in leaves.items()}
    assert shapes == {
        'router/kernel': (D, E),
        'experts_up/kernel': (E, D, F),
        'experts_up/bias': (E, F),
        'experts_gate/kernel': (E, D, F),
        'experts_gate/bias': (E, F),
        'experts_down/kernel': (E, F, D),
        'experts_down/bias': (E, D),
    }
    down = Experts((E, F, D), InitConfig(std=0.0, residual=0.25), residual=True)
    fresh = jax.jit(down.init_with_output)(jax.random.key(0))[1]
    np.testing.assert_allclose(np.std(fresh['params']['kernel']), 0.25 * F**-0.5, rtol=0.1)


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({'top_k': 5}, r'config\.model\.top_k=5 .*from 1 to config\.model\.experts=4'),
        ({'top_k': 0}, r'config\.model\.top_k=0'),
        ({'experts': 0}, r'config\.model\.experts=0 .*above 0'),
        ({'hidden': 0}, r'config\.model\.hidden=0'),
        ({'activation': 'sine'}, r"config\.model\.mlp='sine' .*relu2"),
        ({'capacity': -1.0}, r'config\.model\.expert_capacity=-1\.0'),
        ({'capacity': float('nan')}, r'config\.model\.expert_capacity=nan'),
        ({'groups': 0, 'capacity': 1.0}, r'config\.model\.expert_groups=0 .*above 0'),
        ({'groups': 2}, r'config\.model\.expert_groups=2 .*without.*expert_capacity'),
        ({'balance': -0.1}, r'config\.model\.expert_balance=-0\.1'),
        ({'router_z': float('inf')}, r'config\.model\.expert_z=inf'),
        ({'jitter': 1.0}, r'config\.model\.expert_jitter=1\.0 .*below 1'),
        ({'limit': 3}, r'config\.model\.limit=3 .*top_k=2'),
        ({'limit': -1, 'top_k': 1}, r'config\.model\.limit=-1'),
    ],
)
def test_bad_configs_are_refused(fields, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(MIXTRAL, **fields)
    assert dataclasses.replace(MIXTRAL, capacity=0)
