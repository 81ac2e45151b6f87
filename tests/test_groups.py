"""Repeats that share parameters in groups, and a mixer's branch with a dropout of its own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer.blocks import Block
from transformer.config import BlockConfig, StackConfig
from transformer.context import Context
from transformer.mixers.attention import AttentionConfig
from transformer.mlps import MLPConfig
from transformer.norms import LayerNormConfig
from transformer.stack import REMAT, Stack

B, T, D, L = 2, 5, 8, 5
X = np.random.default_rng(0).standard_normal((B, T, D), np.float32)
BLOCK = BlockConfig(AttentionConfig(2, 2, 4), MLPConfig(12), LayerNormConfig())
STACK = StackConfig(D, (BLOCK, BLOCK), L, shared=True)


def run(config, params, x=X, caches=None):
    ctx = Context.of(x)
    return jax.jit(lambda p: Stack(config).apply(p, x, ctx, caches))(params)


def started(config):
    return jax.jit(lambda key: Stack(config).init(key, X, Context.of(X)))(jax.random.key(0))


# Of five repeats: which set of parameters each one reads, layer * groups // layers.
@pytest.mark.parametrize(
    ('groups', 'reads'), [(2, [0, 0, 0, 1, 1]), (3, [0, 0, 1, 1, 2]), (5, [0, 1, 2, 3, 4])]
)
def test_each_repeat_reads_its_group(groups, reads):
    config = dataclasses.replace(STACK, groups=groups)
    params = started(config)
    assert {x.shape[0] for x in jax.tree.leaves(params)} == {groups}
    kernel = params['params']['repeat']['block_1']['mlp']['up']['kernel']
    assert len(np.unique(np.asarray(kernel[:, 0, 0]))) == groups
    apart = jax.tree.map(lambda x: x[np.array(reads)], params)
    separate = dataclasses.replace(config, shared=False, groups=1)
    expected = run(separate, apart)[0]
    np.testing.assert_allclose(run(config, params)[0], expected, rtol=1e-5, atol=1e-5)
    loss = lambda config: lambda p: jnp.square(run(config, p)[0]).mean()  # noqa: E731
    ours, theirs = jax.grad(loss(config))(params), jax.grad(loss(separate))(apart)
    summed = jax.tree.map(
        lambda x: np.stack([x[np.equal(reads, g)].sum(0) for g in range(groups)]), theirs
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, summed)


@pytest.mark.parametrize('remat', REMAT)
def test_caches_and_rematerialisation(remat):
    config = dataclasses.replace(STACK, groups=2, remat=remat)
    params = started(dataclasses.replace(config, remat='none'))
    caches = Stack(config, parent=None).init_cache(B, T)
    assert jax.tree.leaves(caches)[0].shape[0] == L
    whole = run(config, params)[0]
    np.testing.assert_allclose(run(config, params, X, caches)[0], whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ('more', 'accepted'),
    [
        ({'groups': 6}, '1 to 5'),
        ({'groups': 0}, '1 to 5'),
        ({'groups': 2, 'shared': False}, 'to 1'),
    ],
)
def test_groups_that_cannot_be_used(more, accepted):
    with pytest.raises(ValueError, match=f'groups={more["groups"]} .*{accepted}'):
        dataclasses.replace(STACK, **more)


@pytest.mark.parametrize(('mixer_dropout', 'varies'), [(0.0, False), (None, True), (0.9, True)])
def test_a_dropout_of_the_mixers_own(mixer_dropout, varies):
    """With an MLP that gives nothing, all that can be dropped is the mixer's."""
    module = Block(dataclasses.replace(BLOCK, dropout=0.5, mixer_dropout=mixer_dropout), D)
    ctx = Context.of(X)
    params = module.init(jax.random.key(0), X, ctx)
    down = params['params']['mlp']['down']
    down['kernel'] = jnp.zeros_like(down['kernel'])
    plain, train = module.apply(params, X, ctx)[0], ctx.replace(train=True)
    dropped = module.apply(params, X, train, rngs={'dropout': jax.random.key(1)})[0]
    assert bool(jnp.any(plain != dropped)) == varies


def test_the_others_keep_theirs():
    module = Block(dataclasses.replace(BLOCK, dropout=0.5, mixer_dropout=0.0), D)
    ctx = Context.of(X)
    params = module.init(jax.random.key(0), X, ctx)
    train = ctx.replace(train=True)
    dropped = module.apply(params, X, train, rngs={'dropout': jax.random.key(1)})[0]
    assert (module.apply(params, X, ctx)[0] != dropped).any()
