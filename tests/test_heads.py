"""What reads a stack's output, and what is made of its scores."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer import losses, registry
from transformer.config import TokensConfig
from transformer.context import Context
from transformer.embed import Tokens
from transformer.heads import (
    POOLS,
    ClassHeadConfig,
    MaskedHeadConfig,
    TokenClassHeadConfig,
    TokenHeadConfig,
)
from transformer.mlps import ACTIVATIONS
from transformer.norms import LayerNormConfig

B, T, D, E, V, C = 3, 5, 8, 4, 11, 3
SEGMENTS = np.array([[1, 1, 1, 0, 0], [0, 1, 1, 2, 2], [0] * T], np.int32)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


X = normal(0, B, T, D)
CTX = Context.of(X, segments_BT=SEGMENTS)


def head(config, width=E, x=X, ctx=CTX):
    """(parameters, scores, gradient of their weighted sum to the table) of one head."""
    module = registry.build(config, width=D)
    table = Tokens(TokensConfig(V, width), parent=None)

    def apply(params, table_VE, x):
        tokens = table.bind({'params': {'table': table_VE}})
        return module.apply({'params': params}, x, tokens, ctx)

    table_VE = normal(1, V, width)
    shapes = jax.eval_shape(
        lambda: module.init(jax.random.key(0), x, table.bind({'params': {'table': table_VE}}), ctx)
    )
    params = jax.tree.map(lambda s: normal(2, *s.shape), shapes).get('params', {})

    @jax.jit
    def run(params, table_VE, x):
        scores, pull = jax.vjp(lambda t: apply(params, t, x), table_VE)
        return scores, pull(jnp.cos(jnp.arange(scores.size)).reshape(scores.shape))[0]

    return params, *map(np.asarray, run(params, table_VE, x)), table_VE


def test_pools():
    x = np.where(SEGMENTS[..., None] > 0, X, np.nan)
    x[:, 0] = X[:, 0]
    mean = np.asarray(POOLS['mean'](jnp.asarray(x), CTX))
    np.testing.assert_allclose(mean[0], X[0, :3].mean(0), rtol=1e-6)
    np.testing.assert_allclose(mean[1], X[1, 1:].mean(0), rtol=1e-6)
    assert (mean[2] == 0).all()  # nothing but padding
    np.testing.assert_array_equal(POOLS['first'](jnp.asarray(x), CTX), X[:, 0])


def test_a_tied_head_reads_the_table_and_has_no_matrix():
    params, scores, pull, table_VE = head(TokenHeadConfig(V, bias=True, scale=0.5), width=D)
    assert jax.tree.map(np.shape, params) == {'bias': (V,)}
    np.testing.assert_allclose(scores, 0.5 * X @ table_VE.T + params['bias'], atol=1e-5)
    assert (np.abs(pull).sum(1) > 0).all()


def test_an_untied_head_leaves_the_table_alone():
    params, scores, pull, _ = head(TokenHeadConfig(V, tied=False), width=D)
    np.testing.assert_allclose(scores, X @ params['kernel'].T, atol=1e-5)
    assert (pull == 0).all()


def test_a_softcap_bounds_scores_and_keeps_their_order():
    _, free, _, _ = head(TokenHeadConfig(V), width=D)
    _, capped, _, _ = head(TokenHeadConfig(V, softcap=2.0), width=D)
    assert np.abs(free).max() > 4
    assert np.abs(capped).max() <= 2
    np.testing.assert_allclose(capped, 2 * np.tanh(free / 2), atol=1e-5)


def test_the_masked_head_is_tied():
    config = MaskedHeadConfig(V, E, LayerNormConfig(), 'tanh')
    params, scores, pull, table_VE = head(config)
    shapes = jax.tree.map(np.shape, params)
    assert shapes == {
        'dense': {'kernel': (D, E), 'bias': (E,)},
        'norm': {'scale': (E,), 'bias': (E,)},
        'bias': (V,),
    }
    x = np.tanh(X @ params['dense']['kernel'] + params['dense']['bias'])
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    x = x * params['norm']['scale'] + params['norm']['bias']
    np.testing.assert_allclose(scores, x @ table_VE.T + params['bias'], atol=1e-4)
    assert (np.abs(pull).sum(1) > 0).all()


@pytest.mark.parametrize('activation', ['', 'tanh', 'relu'])
@pytest.mark.parametrize('classes', [C, 0])
def test_the_class_head(activation, classes):
    params, scores, _, _ = head(ClassHeadConfig(classes, 'first', activation))
    x = X[:, 0]
    if activation:
        x = x @ params['dense']['kernel'] + params['dense']['bias']
        x = np.asarray(ACTIVATIONS[activation](x))
    if classes:
        x = x @ params['classes']['kernel'] + params['classes']['bias']
    assert sorted(params) == ['classes'] * bool(classes) + ['dense'] * bool(activation)
    np.testing.assert_allclose(scores, x, atol=1e-5)


def test_padding_does_not_change_a_class():
    config = ClassHeadConfig(C, 'mean')
    _, scores, _, _ = head(config)
    other = np.where(SEGMENTS[..., None] > 0, X, 100.0)
    _, same, _, _ = head(config, x=other)
    np.testing.assert_array_equal(scores, same)


def test_the_token_class_head():
    params, scores, _, _ = head(TokenClassHeadConfig(C))
    want = X @ params['classes']['kernel'] + params['classes']['bias']
    np.testing.assert_allclose(scores, want, atol=1e-5)


# Losses


@pytest.mark.parametrize('smoothing', [0.0, 0.1, 0.9])
def test_label_smoothing(smoothing):
    scores, targets = 2 * normal(3, B, T, V), np.random.default_rng(4).integers(0, V, (B, T))
    weights = np.array(SEGMENTS > 0, np.float32) * 0.5
    smoothed, plain = losses.cross_entropy(scores, targets, weights, smoothing)
    chances = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    want = (1 - smoothing) * np.eye(V)[targets] + smoothing / V
    np.testing.assert_allclose(
        smoothed, -(weights[..., None] * want * np.log(chances)).sum(), rtol=1e-5
    )
    right = np.take_along_axis(chances, targets[..., None], -1)[..., 0]
    np.testing.assert_allclose(plain, -(weights * np.log(right)).sum(1), rtol=1e-5)


def test_label_smoothing_golden():
    """Two classes at 3 : 1, a fifth of the target spread: 0.9 and 0.1."""
    scores = jnp.log(jnp.array([[3.0, 1.0]]))
    smoothed, plain = losses.cross_entropy(scores, jnp.array([0]), jnp.ones(1), 0.2)
    np.testing.assert_allclose(smoothed, -0.9 * np.log(0.75) - 0.1 * np.log(0.25), rtol=1e-6)
    np.testing.assert_allclose(plain, -np.log(0.75), rtol=1e-6)


def test_reports_of_all_layers():
    def report(*layers):
        loss, dropped, most, least, entropy = map(jnp.array, zip(*layers))
        stats = {'dropped': dropped, 'load_max': most, 'load_min': least, 'entropy': entropy}
        return {'loss': loss, 'stats': stats}

    one = report((0.5, 3.0, 0.9, 0.1, 1.0), (0.25, 1.0, 0.7, 0.2, 2.0))
    two = report((0.125, 0.0, 0.6, 0.05, 6.0))
    loss, stats = losses.reports((({}, one), {}, (two,)))
    assert loss == 0.875
    want = {'dropped': 4.0, 'load_max': 0.9, 'load_min': 0.05, 'entropy': 3.0}
    assert jax.tree.map(float, stats) == pytest.approx(want)
    loss, stats = losses.reports(({}, ({},)))
    assert loss == 0
    assert stats == {}
