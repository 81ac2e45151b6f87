"""How branches, norms and the residual stream meet, and what training leaves out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer.blocks import Block
from transformer.config import BlockConfig
from transformer.context import Context
from transformer.layers import Dropout, DropPath
from transformer.mixers.attention import AttentionConfig
from transformer.mixers.cross import CrossAttentionConfig
from transformer.mlps import MLPConfig
from transformer.norms import LayerNormConfig
from transformer.residuals import RESIDUALS

B, T, S, D = 2, 4, 3, 8
X = np.random.default_rng(0).standard_normal((B, T, D), np.float32)
MEMORY = np.random.default_rng(1).standard_normal((B, S, D), np.float32)
CTX = Context.of(X, memory_BSD=MEMORY, memory_segments_BS=np.ones((B, S), np.int32))
PARTS = {
    'mixer': AttentionConfig(2, 2, 4),
    'cross': CrossAttentionConfig(2, 2, 4),
    'mlp': MLPConfig(12),
}


def block(residual, parts=tuple(PARTS), **more):
    chosen = {name: PARTS[name] if name in parts else None for name in PARTS}
    return Block(BlockConfig(**chosen, norm=LayerNormConfig(), residual=residual, **more), D)


def params_of(module):
    shapes = jax.eval_shape(module.init, jax.random.key(0), X, CTX)
    rng = np.random.default_rng(2)
    return jax.tree.map(lambda s: 0.5 * rng.standard_normal(s.shape, np.float32), shapes)


def by_hand(m, residual, parts, x):
    """The formulas of the papers, written out."""

    def f(name, x):
        return m.mlp(x, CTX)[0] if name == 'mlp' else getattr(m, name)(x, CTX, None)[0]

    def norm(name, x, after=''):
        return getattr(m, f'{name}_norm{after}')(x)

    start = x
    for name in parts:
        if residual == 'pre':
            x = x + f(name, norm(name, x))
        elif residual == 'post':
            x = norm(name, x + f(name, x))
        elif residual == 'sandwich':
            x = x + norm(name, f(name, norm(name, x)), '_after')
        elif residual == 'parallel':
            x = x + f(name, norm(parts[0], start))
        elif residual == 'parallel_norms':
            x = x + f(name, norm(name, start))
    return x


@pytest.mark.parametrize('parts', [('mixer', 'cross', 'mlp'), ('mixer', 'mlp'), ('mixer',)])
@pytest.mark.parametrize('residual', RESIDUALS)
def test_a_block_is_its_formula(residual, parts):
    module = block(residual, parts)
    params = params_of(module)

    @jax.jit
    def both(params):
        want = module.apply(params, method=lambda m: by_hand(m, residual, parts, jnp.asarray(X)))
        return module.apply(params, X, CTX)[0], want

    got, want = both(params)
    np.testing.assert_allclose(got, want, atol=1e-5)
    norms = {'sandwich': 2 * len(parts), 'parallel': 1}.get(residual, len(parts))
    assert sum('norm' in name for name in params['params']) == norms


# Dropout

N = 400


def dropped(module, x, rows=None, depth=1.0, key=0, train=True):
    rows = np.arange(len(x), dtype=np.int32) if rows is None else np.asarray(rows, np.int32)
    ctx = Context.of(x, rows_B=rows, depth=depth, train=train)
    run = jax.jit(lambda key: module.apply({}, x, ctx, rngs={'dropout': key}))
    return np.asarray(run(jax.random.key(key)))


@pytest.mark.parametrize('module', [DropPath(0.5), Dropout(0.5)])
def test_nothing_is_dropped_outside_training_and_at_rate_zero(module):
    np.testing.assert_array_equal(dropped(module, X, train=False), X)
    np.testing.assert_array_equal(dropped(type(module)(0.0), X), X)


def test_drop_path_leaves_out_whole_rows_and_keeps_the_mean():
    x = np.ones((N, 3, 2), np.float32)
    y = dropped(DropPath(0.4), x)
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.6)}
    assert (y == y[:, :1, :1]).all()
    stays = (y[:, 0, 0] > 0).mean()
    assert abs(stays - 0.6) < 4 * (0.24 / N) ** 0.5
    assert not (y == dropped(DropPath(0.4), x, key=1)).all()


def test_drop_path_grows_with_depth():
    x = np.ones((N, 1, 1), np.float32)
    assert (dropped(DropPath(0.8), x, depth=0.0) == 1).all()
    half = dropped(DropPath(0.8), x, depth=0.5)
    assert set(np.unique(half)) == {0.0, np.float32(1 / 0.6)}
    assert abs((half > 0).mean() - 0.6) < 4 * (0.24 / N) ** 0.5


@pytest.mark.parametrize('module', [DropPath(0.5), Dropout(0.5)])
def test_what_is_dropped_depends_on_the_global_row_alone(module):
    x = np.ones((16, 3, 2), np.float32)
    whole = dropped(module, x)
    np.testing.assert_array_equal(dropped(module, x[:4], rows=[8, 9, 10, 11]), whole[8:12])
    np.testing.assert_array_equal(dropped(module, x[:2], rows=[5, 0]), whole[[5, 0]])
    assert not (whole == whole[:1]).all()


def test_dropout_drops_numbers_and_keeps_the_mean():
    y = dropped(Dropout(0.25), np.ones((N, 5, 4), np.float32))
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert abs((y > 0).mean() - 0.75) < 4 * (0.1875 / y.size) ** 0.5
    assert (y.reshape(N, -1).min(1) == 0).mean() > 0.9


def test_a_block_without_its_branches_is_the_stream():
    """With all paths dropped, what comes in goes out."""
    module = block('pre', ('mixer', 'mlp'), drop_path=1.0 - 1e-7)
    ctx = CTX.replace(train=True, depth=1.0)
    run = jax.jit(lambda p: module.apply(p, X, ctx, rngs={'dropout': jax.random.key(0)})[0])
    np.testing.assert_array_equal(run(params_of(module)), X)
