"""The loss that never holds all scores: values and gradients are those of the plain one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.compiler import optimised
from transformer import losses, sharding
from transformer.experiment import MeshConfig
from transformer.heads import ClassHeadConfig, TokenHeadConfig
from transformer.ops.cross_entropy import linear_cross_entropy, linear_report
from transformer.ops.unscored import Unscored

B, T, E, V = 8, 12, 16, 40


def drawn(vocab=V, bias=True, softcap=0.0, dtype='float32', weights=0.7, seed=0):
    """(what scores are made of, targets, weights), a row and some places of weight 0."""
    rng = np.random.default_rng(seed)
    normal = lambda *shape: jnp.asarray(rng.standard_normal(shape), jnp.float32)  # noqa: E731
    found = Unscored(
        normal(B, T, E).astype(dtype),
        normal(vocab, E).astype(dtype),
        normal(vocab) if bias else None,
        softcap,
    )
    targets_BT = jnp.asarray(rng.integers(0, vocab, (B, T), dtype=np.int32))
    weights_BT = rng.random((B, T)) * (rng.random((B, T)) < weights)
    weights_BT[2] = 0
    return found, targets_BT, jnp.asarray(weights_BT, jnp.float32)


@functools.partial(jax.jit, static_argnums=(3, 4))
def both(found, targets_BT, weights_BT, chunk, smoothing):
    """((loss, nats of rows), gradients) of the plain loss and of that in chunks; twice the loss."""

    def plain(found):
        return losses.cross_entropy(found.scores(), targets_BT, weights_BT, smoothing)

    def chunked(found):
        return linear_cross_entropy(found, targets_BT, weights_BT, smoothing, chunk=chunk)

    def made(f):
        def twice(found):
            loss, nats_B = f(found)
            return 2 * loss, (loss, nats_B)

        grads, told = jax.grad(twice, has_aux=True)(found)
        return told, grads

    return made(plain), made(chunked)


def same(a, b, tolerance=1e-5):
    """Within a share of the largest number of each array."""
    for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True):
        x, y = np.float64(x), np.float64(y)
        assert np.isfinite(x).all()
        assert np.abs(x - y).max() <= tolerance * max(np.abs(x).max(), 1e-3)


@pytest.mark.parametrize(
    ('fields', 'chunk', 'smoothing'),
    [
        ({}, 7, 0.0),  # does not divide the tokens
        ({'bias': False, 'softcap': 3.0}, 32, 0.1),
        ({'softcap': 2.0, 'weights': 0.1}, 16, 0.3),
        ({'weights': 0.0}, 16, 0.1),
        ({'weights': 1.0, 'bias': False}, 1000, 0.0),
    ],
)
def test_as_the_plain_loss(fields, chunk, smoothing):
    same(*both(*drawn(**fields), chunk, smoothing))


MESHES = [
    ({'data': 8}, V),
    ({'fsdp': 4, 'expert': 2}, V),
    ({'context': 4, 'tensor': 2}, V),
    ({'data': 2, 'tensor': 4}, V + 1),  # a vocabulary that is filled up
    ({'stage': 2, 'fsdp': 2, 'tensor': 2}, V),
    ({'data': 3}, V),  # rows that are not split
]


def mesh_of(**axes):
    sizes = dict.fromkeys(sharding.AXES, 1) | axes
    devices = jax.devices()[: int(np.prod(list(sizes.values())))]
    return sharding.make_mesh(MeshConfig(**sizes), experts=axes.get('expert', 0), devices=devices)


@pytest.mark.parametrize(('axes', 'vocab'), MESHES)
def test_as_the_plain_loss_over_a_mesh(axes, vocab):
    args = drawn(vocab, softcap=3.0, weights=0.5)
    expected, _ = both(*args, 5, 0.1)
    with jax.set_mesh(mesh_of(**axes)):
        _, found = jax.jit(both.__wrapped__, static_argnums=(3, 4))(*args, 5, 0.1)
    same(expected, found)


@pytest.mark.parametrize('axes', [{}, {'data': 2, 'tensor': 2}])
def test_the_report_is_the_plain_one(axes):
    found, targets_BT, weights_BT = drawn(V + 1, seed=3)
    # Scores that are equal: the first one is the highest.
    found = found.replace(
        x_BTE=jnp.round(found.x_BTE), table_VE=jnp.sign(found.table_VE).at[7].set(0.0), bias_V=None
    )
    best_BT = found.scores().argmax(-1)
    targets_BT = targets_BT.at[:, ::2].set(best_BT[:, ::2])
    expected = losses.report(found.scores(), targets_BT, weights_BT)
    with jax.set_mesh(mesh_of(**axes)):
        got = jax.jit(functools.partial(linear_report, chunk=9))(found, targets_BT, weights_BT)
    same(expected, got)
    assert 0 < expected[1].sum() < weights_BT.sum()


def test_bfloat16_is_summed_in_float32():
    """As near the float32 loss of the same numbers as the plain loss is, or nearer."""
    found, *rest = drawn(400, dtype='bfloat16', weights=1.0)
    exact = jax.tree.map(lambda x: x.astype(jnp.float32), found)
    (told, grads), _ = both(exact, *rest, 13, 0.0)
    (_, plain), (near, chunked) = both(found, *rest, 13, 0.0)
    same(told, near, 1e-5)
    for name in ('x_BTE', 'table_VE'):
        want, a, b = (np.float64(getattr(g, name)) for g in (grads, plain, chunked))
        assert getattr(chunked, name).dtype == jnp.bfloat16
        assert np.abs(b - want).max() <= 2 * np.abs(a - want).max()


def test_tokens_without_weight_are_not_scored():
    """What they hold, even NaN, tells in nothing."""
    found, targets_BT, weights_BT = drawn(weights=0.5)
    weights_BT = weights_BT.at[4:].set(0)
    spoilt = jnp.where(weights_BT[..., None] == 0, jnp.nan, found.x_BTE)
    _, expected = both(found, targets_BT, weights_BT, 4, 0.0)
    _, got = both(found.replace(x_BTE=spoilt), targets_BT, weights_BT, 4, 0.0)
    same(expected, got)


# Which way is taken


def test_large_scores_are_not_held():
    head = TokenHeadConfig(50_257)
    chunk = lambda *shape, head=head: losses.way(head, shape).loss.keywords['chunk']  # noqa: E731
    assert losses.way(head, (32, 1024)).method == 'unscored'
    assert chunk(32, 1024) == 32 * 1024 / losses.PARTS
    assert chunk(4, 128) == losses.FEWEST
    assert chunk(32, 1024, head=TokenHeadConfig(2**20)) == losses.LARGE / 2**22
    assert losses.way(head, (32, 1024), 100).loss.keywords == {'chunk': 100}
    assert losses.way(head, (2, 100)) is losses.WHOLE
    assert losses.way(head, (32, 1024), 32 * 1024) is losses.WHOLE
    assert losses.way(ClassHeadConfig(1000), (10**6,), 1) is losses.WHOLE
    with jax.set_mesh(mesh_of(data=2, tensor=4)):  # a device has half of the tokens
        assert chunk(32, 1024) == 16 * 1024 / losses.PARTS
        assert losses.way(head, (2, 512)) is losses.WHOLE  # and a quarter of the vocabulary


def temporaries(vocab, chunk, tokens=4096, width=8):
    """Bytes that the loss's gradient needs besides its arguments and results."""
    struct = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)  # noqa: E731
    found = Unscored(struct(1, tokens, width), struct(vocab, width))
    targets, weights = jax.ShapeDtypeStruct((1, tokens), jnp.int32), struct(1, tokens)

    def grads(found, targets_BT, weights_BT):
        return jax.grad(lambda f: linear_cross_entropy(f, targets_BT, weights_BT, chunk=chunk)[0])(
            found
        )

    with optimised():
        compiled = jax.jit(grads).lower(found, targets, weights).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_memory_is_that_of_one_chunk():
    vocab, chunk = 20_000, 64
    of_chunk = 4 * vocab * chunk
    assert temporaries(vocab, chunk) < 4 * of_chunk < 4 * vocab * 4096 / 10
    assert temporaries(vocab, chunk, tokens=16_384) < 1.5 * temporaries(vocab, chunk)
