"""The arithmetic of routing: who gets a row, products by groups of rows, reports of a router."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer.ops import grouped, plans, routing

D, F, E = 8, 16, 4


def limited(experts_KN, real_N):
    rank_KN = routing.rank(experts_KN, real_N, 2, 1)
    return plans.even(experts_KN, rank_KN, real_N[None], 2, 1)


def test_first_choices_come_first():
    """Two experts of one row each: a token's first choice beats an earlier token's second."""
    experts_KN = jnp.array([[0, 1, 1], [1, 0, 0]])
    plan = limited(experts_KN, jnp.array([True, True, True]))
    np.testing.assert_array_equal(plan.rows_KN, [[0, 1, 2], [2, 2, 2]])
    np.testing.assert_array_equal(plan.choices_S, [0, 1])
    plan = limited(experts_KN, jnp.array([False, True, True]))
    np.testing.assert_array_equal(plan.rows_KN, [[2, 1, 2], [2, 0, 2]])


SIZES = {
    'even': [3, 3, 3, 3],
    'one': [0, 0, 12, 0],
    'first': [12, 0, 0, 0],
    'uneven': [1, 0, 7, 4],
    'fewer rows than experts': [0, 1, 0, 1],
    'no rows': [0, 0, 0, 0],
    'just over': [4, 4, 4, 1],
}


@pytest.mark.parametrize('name', SIZES)
def test_grouped_dot(name):
    sizes_E = np.array(SIZES[name], np.int32)
    rng, S = np.random.default_rng(0), sizes_E.sum()
    x, kernel, ct = rng.normal(size=(S, D)), rng.normal(size=(E, D, F)), rng.normal(size=(S, F))
    y, dx, dkernel, at = np.zeros((S, F)), np.zeros((S, D)), np.zeros((E, D, F)), 0
    for e, size in enumerate(sizes_E):
        rows = slice(at, at := at + size)
        y[rows], dx[rows] = x[rows] @ kernel[e], ct[rows] @ kernel[e].T
        dkernel[e] = x[rows].T @ ct[rows]

    @jax.jit
    def product(x, kernel, ct):
        dot = lambda x, kernel: grouped.grouped_dot(x, kernel, jnp.asarray(sizes_E))  # noqa: E731
        y, pull = jax.vjp(dot, x, kernel)
        return y, *pull(ct)

    found = product(*(a.astype(np.float32) for a in (x, kernel, ct)))
    for got, expected in zip(found, (y, dx, dkernel)):
        np.testing.assert_allclose(got, expected, atol=1e-4)


def test_grouped_dot_is_the_native_one_elsewhere():
    f = lambda *a: jax.vjp(lambda x, k: grouped.grouped_dot(x, k, a[2]), *a[:2])[1](a[3])  # noqa: E731
    shapes = [((12, D), 'float32'), ((E, D, F), 'float32'), ((E,), 'int32'), ((12, F), 'float32')]
    traced = jax.jit(f).trace(*(jax.ShapeDtypeStruct(*s) for s in shapes))
    assert 'ragged_dot' in traced.lower(lowering_platforms=('tpu',)).as_text()
    assert 'ragged_dot' not in traced.lower(lowering_platforms=('cpu',)).as_text()


def test_cost_does_not_grow_with_experts():
    """Four times the experts, the same work; a product with every expert would be four times."""

    def flops(experts):
        shapes = ((256, 64), (experts, 64, 128))
        x, kernel = (jax.ShapeDtypeStruct(s, 'float32') for s in shapes)
        sizes = jax.ShapeDtypeStruct((experts,), 'int32')
        program = jax.jit(grouped.grouped_dot).lower(x, kernel, sizes).compile()
        return program.cost_analysis()['flops']

    assert flops(4) < 2.1 * 2 * 256 * 64 * 128
    assert flops(16) < 1.3 * flops(4)


@functools.partial(jax.jit, static_argnames='top_k')
def report(logits_NE, top_k=1):
    logits_NE = logits_NE.astype(jnp.float32)
    _, experts_KN = routing.choose(logits_NE, top_k, normalize=False)
    return routing.report(logits_NE, experts_KN, jnp.ones(len(logits_NE), bool))


def test_reports_of_known_routers():
    even = report(40 * np.tile(np.eye(E), (3, 1)))
    np.testing.assert_allclose(even['balance'], 1, rtol=1e-6)
    np.testing.assert_allclose([even['load_max'], even['load_min']], 1, rtol=1e-6)
    np.testing.assert_allclose(even['entropy'], 0, atol=1e-6)
    collapsed = report(40 * np.tile(np.eye(E)[2], (6, 1)))
    np.testing.assert_allclose(collapsed['balance'], E, rtol=1e-6)
    np.testing.assert_allclose(collapsed['load_max'], E, rtol=1e-6)
    assert collapsed['load_min'] == 0
    pairs = report(40 * np.array([[1, 1, 0, 0], [0, 0, 1, 1]]), top_k=2)
    np.testing.assert_allclose(pairs['balance'], 1, rtol=1e-6)
    np.testing.assert_allclose(pairs['entropy'], np.log(2), rtol=1e-6)
    golden = report(np.log([[1.0, 3.0], [1.0, 1.0]]))
    z = (np.log(4) ** 2 + np.log(2) ** 2) / 2
    np.testing.assert_allclose(golden['router_z'], z, rtol=1e-6)
    # Shares 1/2 and 1/2 (a tie goes to the first), mean probabilities 3/8 and 5/8.
    np.testing.assert_allclose(golden['balance'], 1, rtol=1e-6)
    golden = report(np.log([[1.0, 3.0], [2.0, 3.0]]))  # all to the second, of 3/4 and 3/5
    np.testing.assert_allclose(golden['balance'], 2 * (3 / 4 + 3 / 5) / 2, rtol=1e-6)
