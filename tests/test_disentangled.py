"""Disentangled attention is its formula, and sees what it should."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer import registry
from transformer.blocks import Block
from transformer.config import (
    BlockConfig,
    InitConfig,
)
from transformer.context import Context
from transformer.mixers.disentangled import (
    Convolution,
    ConvolutionConfig,
    DisentangledConfig,
    DistancesConfig,
)
from transformer.mlps import MLPConfig
from transformer.norms import LayerNormConfig
from transformer.ops.disentangled import neighbours, rows

B, T, D, N, H = 2, 9, 12, 3, 4
DISTANCES = DistancesConfig(D, max_distance=6, buckets=4, init=InitConfig(1.0))
CONFIG = DisentangledConfig(N, N, H, bias=True, init=InitConfig(0.4))
PADDED = np.array([[1] * T, [0] * 2 + [1] * 5 + [0] * 2], np.int32)
PACKED = np.array([[1] * 3 + [2] * 5 + [0], [1] * 2 + [2] * 3 + [3] * 4], np.int32)
X = np.random.default_rng(0).standard_normal((B, T, D), np.float32)
VARIANTS = {
    'both': {},
    'shared': {'shared': True},
    'c2p': {'position_to_content': False},
    'p2c': {'content_to_position': False},
    'p2c shared': {'content_to_position': False, 'shared': True},
    'scale': {'scale': 0.5, 'bias': False},
}


def filled(shapes):
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: 0.5 * rng.standard_normal(x.shape, np.float32), shapes)


def distances(config=DISTANCES):
    module = registry.build(config)
    return module.apply(filled(jax.eval_shape(module.init, jax.random.key(0))))


def context(segments_BT, bias=None, **more):
    return Context.of(
        X[:, : segments_BT.shape[1]],
        segments_BT=jnp.asarray(segments_BT),
        bias=distances() if bias is None else bias,
        causal=False,
        **more,
    )


def mixer(**fields):
    module = registry.build(dataclasses.replace(CONFIG, **fields), width=D)
    params = filled(jax.eval_shape(module.init, jax.random.key(0), X, context(PADDED)))
    return jax.jit(lambda x, ctx: module.apply(params, x, ctx)[0]), params['params']


def by_hand(p, config, x_BTD, segments_BT, table_RD):
    """The paper's equation 4, one pair of tokens after the other."""
    bias = lambda name: p[name].get('bias', np.zeros((N, H)))  # noqa: E731
    project = lambda name, x: np.einsum('...d,dnh->...nh', x, p[name]['kernel']) + bias(name)  # noqa: E731
    q, k, v = (project(name, x_BTD) for name in ('query', 'key', 'value'))
    key, query = ('key', 'query') if config.shared else ('position_key', 'position_query')
    at = rows(8, 6, False, T, T)
    scale = config.scale or (H * config.terms) ** -0.5
    y = np.zeros((B, T, N, H))
    for b, t in np.ndindex(B, T):
        seen = np.flatnonzero(segments_BT[b] == segments_BT[b, t])
        scores = np.einsum('nh,snh->sn', q[b, t], k[b, seen])
        for i, s in enumerate(seen):
            if config.content_to_position:
                scores[i] += (q[b, t] * project(key, table_RD[at[t, s]])).sum(-1)
            if config.position_to_content:
                scores[i] += (k[b, s] * project(query, table_RD[at[t, s]])).sum(-1)
        weights = np.exp(scale * scores)
        y[b, t] = np.einsum('sn,snh->nh', weights / weights.sum(0), v[b, seen])
    out_bias = p['out'].get('bias', np.zeros(D))
    return np.einsum('btnh,nhd->btd', y, p['out']['kernel']) + out_bias


@pytest.mark.parametrize('name', VARIANTS)
def test_it_is_the_formula(name):
    apply, params = mixer(**VARIANTS[name])
    config = dataclasses.replace(CONFIG, **VARIANTS[name])
    expected = by_hand(params, config, X, PACKED, np.asarray(distances().table_RD))
    np.testing.assert_allclose(apply(X, context(PACKED)), expected, atol=2e-5)
    assert ('position_key' in params) == (config.content_to_position and not config.shared)
    assert ('position_query' in params) == (config.position_to_content and not config.shared)


@pytest.mark.parametrize('backend', ['reference', 'xla'])
def test_padding_and_other_documents_change_nothing(backend):
    apply, _ = mixer(backend=backend)
    for segments_BT in (PADDED, PACKED):
        ctx, before = context(segments_BT), apply(X, context(segments_BT))
        for segment in range(segments_BT.max() + 1):
            own = segments_BT == segment
            after = apply(np.where(own[..., None], X + 1, X), ctx)
            np.testing.assert_array_equal(after[~own], before[~own])
            assert abs(after - before)[own].max() > 1e-2


def test_backends_agree():
    want = mixer()[0](X, context(PACKED))
    np.testing.assert_allclose(mixer(backend='xla')[0](X, context(PACKED)), want, atol=1e-5)


def test_gradients_reach_both_sides_of_a_token_and_no_other_document():
    apply, _ = mixer()
    ctx = context(PACKED)

    @jax.jit
    def reach(t):
        """How much output t depends on each input, [B, s]."""
        return jnp.abs(jax.grad(lambda x: jnp.sin(apply(x, ctx))[:, t].sum())(X)).sum(-1)

    for t in range(T):
        same = PACKED[:, t : t + 1] == PACKED
        np.testing.assert_array_equal(np.asarray(reach(t)) > 0, same)


def test_packed_is_separate():
    apply, _ = mixer()
    together = np.asarray(apply(X, context(PACKED)))
    for b in range(B):
        for segment in range(1, PACKED[b].max() + 1):
            at = np.flatnonzero(PACKED[b] == segment)
            alone = jnp.asarray(X[b : b + 1, at])
            ctx = Context.of(alone, bias=distances(), causal=False)
            np.testing.assert_allclose(apply(alone, ctx)[0], together[b, at], atol=1e-5)


def test_rows_golden():
    """8 rows a side, up to 16 away: ceil(3 ln(d / 4) / ln(15 / 4)) + 4 from 4 on."""
    behind = rows(16, 16, False, 20, 1)[:, 0] - 8
    assert behind.tolist() == [0, 1, 2, 3, 4, 5, 5, 6, 6, 6] + [7] * 10
    ahead = rows(16, 16, False, 1, 20)[0] - 8
    assert ahead[:16].tolist() == (-behind[:16]).tolist()
    assert ahead[16:].tolist() == [-8] * 4  # row 0 has no counterpart
    assert rows(6, 3, True, 5, 1)[:, 0].tolist() == [3, 4, 5, 5, 5]
    assert rows(6, 3, True, 1, 5)[0].tolist() == [3, 2, 1, 0, 0]


def test_positions_are_dropped_alike_in_all_rows():
    """Dropout of a half on the vectors of distances alone; nothing else is dropped."""
    module = registry.build(dataclasses.replace(CONFIG, position_dropout=0.5), width=D)
    params = filled(jax.eval_shape(module.init, jax.random.key(0), X, context(PADDED)))
    twice = jnp.asarray(np.stack([X[0], X[0]]))

    def run(train, key):
        ctx = context(np.ones((B, T), np.int32), train=train)
        return module.apply(params, twice, ctx, rngs={'dropout': key})[0]

    first, second = jax.random.split(jax.random.key(0))
    np.testing.assert_array_equal(run(True, first)[0], run(True, first)[1])
    assert abs(run(True, first) - run(True, second)).max() > 1e-2
    np.testing.assert_array_equal(run(False, first), run(False, second))


@pytest.mark.parametrize(
    'fields, message',
    [
        ({'window': 3}, 'window=3; accepted: None'),
        ({'softcap': 3.0}, 'softcap=3.0; accepted: None'),
        ({'kv_heads': 1}, 'kv_heads=1; accepted: 3'),
        (
            {'content_to_position': False, 'position_to_content': False},
            'accepted: at least one of them',
        ),
    ],
)
def test_what_has_no_meaning_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **fields)


def test_causal_stacks_and_stacks_without_distances_are_refused():
    apply, _ = mixer()
    with pytest.raises(ValueError, match='causal=True without a cache; accepted: causal=False'):
        apply(X, context(PADDED).replace(causal=True))
    with pytest.raises(ValueError, match='relative made a NoneType; accepted: .*DistancesConfig'):
        apply(X, context(PADDED).replace(bias=None))


@pytest.mark.parametrize('fields', [{'max_distance': 0}, {'max_distance': 6, 'buckets': 9}])
def test_distances_that_cannot_be_told_apart_are_refused(fields):
    with pytest.raises(ValueError, match='; accepted: '):
        DistancesConfig(D, **fields)


@pytest.mark.parametrize('groups', [1, 3])
def test_the_convolution_is_its_formula(groups):
    config = ConvolutionConfig(LayerNormConfig(), kernel=5, groups=groups)
    module, y_BTD = Convolution(config, D), X[::-1]
    shapes = jax.eval_shape(module.init, jax.random.key(0), X, y_BTD, context(PACKED))
    params = filled(shapes)
    p, size = params['params'], D // groups
    expected = np.array(y_BTD)
    for b, t in np.ndindex(B, T):
        z = np.array(p['bias'])
        for w in range(5):
            s = t + w - 2
            if 0 <= s < T and PACKED[b, s] == PACKED[b, t]:
                for g in range(groups):
                    part = slice(g * size, (g + 1) * size)
                    z[part] += X[b, s, part] @ p['kernel'][w, g]
        expected[b, t] += np.tanh(z)
    norm = LayerNormConfig()
    expected = registry.build(norm).apply({'params': p['norm']}, jnp.asarray(expected))
    got = module.apply(params, X, y_BTD, context(PACKED))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_neighbours_of_a_short_row():
    got = neighbours(jnp.ones((1, 1, 2)), jnp.ones((1, 1), jnp.int32), 5)
    np.testing.assert_array_equal(got[:, 0, 0, 0], [0, 0, 1, 0, 0])


def test_convolutions_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match='kernel=4; accepted: an odd number'):
        ConvolutionConfig(LayerNormConfig(), kernel=4)
    module = Convolution(ConvolutionConfig(LayerNormConfig(), groups=5), D)
    with pytest.raises(ValueError, match='groups=5; accepted: a divisor of width=12'):
        module.init(jax.random.key(0), X, X, context(PADDED))


def test_a_block_hands_its_input_and_its_output_to_what_joins_them():
    norm = LayerNormConfig()
    plain = BlockConfig(None, MLPConfig(16), norm)
    joined = dataclasses.replace(plain, join=ConvolutionConfig(norm))
    ctx = context(PADDED)
    params = filled(jax.eval_shape(Block(joined, D).init, jax.random.key(0), X, ctx))['params']
    got, _, _ = Block(joined, D).apply({'params': params}, X, ctx)
    conv = params.pop('join')
    y_BTD, _, _ = Block(plain, D).apply({'params': params}, X, ctx)
    expected = Convolution(joined.join, D).apply({'params': conv}, X, y_BTD, ctx)
    np.testing.assert_allclose(got, expected, atol=1e-6)
