"""Attention by blocks is the reference's, dropout included; memory grows with the length."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from transformer.ops.attention import attend
from transformer.ops.dropout import Drop
from transformer.ops.masks import Mask

BLOCKED = importlib.import_module('transformer.ops.attention.blocked')
B, N, K, T, H = 2, 4, 2, 37, 8
SEGMENTS = np.sort(np.random.default_rng(0).integers(0, 3, (B, T)))
PREFIX = np.arange(T)[None] < np.array([[5], [0]])
MASKS = {
    'packed': Mask(SEGMENTS, SEGMENTS, causal=True),
    'window': Mask(SEGMENTS, SEGMENTS, causal=True, window=9),
    'window both ways': Mask(window=9),
    'prefix window': Mask(SEGMENTS, SEGMENTS, prefix_BS=PREFIX, causal=True, window=9),
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Pieces of two blocks, the last one of a block and a rest; one row at a time."""
    for name, value in (('BLOCKS', (4, 8)), ('PIECES', 3), ('CACHE', 0)):
        monkeypatch.setattr(BLOCKED, name, value)


def arrays(T=T, B=B):
    draw = np.random.default_rng(1).standard_normal
    return tuple(draw((B, n, T, H), np.float32) for n in (N, K, K))


def loss(backend, mask, drop=None):
    """Of which the gradients by q, k and v are compared."""
    return lambda q, k, v: jnp.square(
        attend(q, k, v, mask, scale=0.3, backend=backend, drop=drop)
    ).sum()


def test_with_dropout_it_is_the_reference():
    drop = Drop(jax.random.key(3), jnp.arange(B), rate=0.3)

    @jax.jit
    def found(q, k, v):
        both = ('blocked', 'reference')
        return {
            name: [jax.value_and_grad(loss(b, mask, drop), (0, 1, 2))(q, k, v) for b in both]
            for name, mask in MASKS.items()
        }

    for name, (got, expected) in found(*arrays()).items():
        for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected)):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5 * abs(y).max(), err_msg=name)


def test_a_mesh_splits_its_rows():
    mask = MASKS['packed']
    plain = jax.jit(jax.grad(loss('blocked', mask)))(*arrays())
    with jax.set_mesh(jax.make_mesh((2, 2), ('data', 'tensor'), axis_types=(AxisType.Auto,) * 2)):
        rows = jax.sharding.PartitionSpec('data', 'tensor')
        split = jax.jit(jax.grad(loss('blocked', mask)), in_shardings=rows)(*arrays())
    np.testing.assert_allclose(split, plain, atol=1e-5)
    assert len(split.sharding.device_set) == 4


def test_memory_grows_with_the_length(monkeypatch):
    monkeypatch.undo()

    def temporary(length: int) -> int:
        step = jax.grad(loss('blocked', Mask(causal=True)), (0, 1, 2))
        return (
            jax.jit(step).lower(*arrays(length, 1)).compile().memory_analysis().temp_size_in_bytes
        )

    short, long = temporary(2048), temporary(8192)
    assert long < 5 * short  # scores would be 16 times as large


@pytest.mark.parametrize(('queries', 'loops'), [(1, False), (5, True)])
def test_one_query_reads_its_keys_where_they_lie(queries, loops):
    """A step of decoding goes through no loop over rows, which would copy keys and values."""
    q, k, v = arrays()
    mask = Mask(SEGMENTS[:, -queries:], SEGMENTS, offset=T - queries, causal=True)
    step = jax.jit(lambda *qkv: attend(*qkv, mask, scale=0.3, backend='blocked'))
    text = step.lower(q[:, :, -queries:], k, v).compile().as_text()
    assert 'dot(' in text and ('while(' in text) == loops
