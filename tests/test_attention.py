"""Every backend honours the whole description, forward and backward.

The judge is attention written as loops in float64; gradients are judged by its finite differences.
"""

import contextlib
import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from transformer.ops.attention import LACKS, attend, weights
from transformer.ops.attention.splash import interpreted
from transformer.ops.biases import Alibi, RelativeBuckets, alibi_slopes
from transformer.ops.masks import Mask

BLOCKED = importlib.import_module('transformer.ops.attention.blocked')
B, T, N, H = 2, 12, 4, 8
SEGMENTS = np.array([[1] * 5 + [2] * 7, [0] * 3 + [1] * 9], np.int32)
OTHERS = np.where(SEGMENTS == 2, 9, SEGMENTS)
PREFIX = np.arange(T)[None] < np.array([[4], [7]])
ALIBI = Alibi(jnp.asarray(alibi_slopes(N)))
TABLE = jnp.asarray(np.random.default_rng(1).standard_normal((8, N)), jnp.float32)
BUCKETS = RelativeBuckets(TABLE, bidirectional=True, max_distance=10)
PACKED = Mask(SEGMENTS, SEGMENTS, causal=True)
OFFSET = Mask(SEGMENTS[:, -4:], SEGMENTS, offset=8, causal=True)

# name: (mask, what else is asked); `heads` is K.
CASES = {
    'none': (Mask(), {}),
    'multi-query': (Mask(), {'heads': 1}),
    'one key head each': (Mask(causal=True), {'heads': N}),
    'causal': (Mask(causal=True), {}),
    'window': (Mask(causal=True, window=3), {}),
    'window both ways': (Mask(window=3), {}),
    'padding': (Mask(SEGMENTS, SEGMENTS), {}),
    'packed': (PACKED, {}),
    'packed window': (Mask(SEGMENTS, SEGMENTS, causal=True, window=4), {}),
    'prefix': (Mask(prefix_BS=PREFIX, causal=True), {}),
    'packed prefix window': (
        Mask(SEGMENTS, SEGMENTS, prefix_BS=PREFIX, causal=True, window=5),
        {},
    ),
    'offset': (OFFSET, {}),
    'nothing to see': (Mask(OTHERS, SEGMENTS, causal=True), {}),
    'nothing to see, bias': (Mask(OTHERS, SEGMENTS), {'bias': BUCKETS}),
    'alibi': (PACKED, {'bias': ALIBI}),
    'alibi, offset': (OFFSET, {'bias': ALIBI}),
    'buckets': (Mask(SEGMENTS, SEGMENTS), {'bias': BUCKETS}),
    'buckets one way': (OFFSET, {'bias': RelativeBuckets(TABLE, False, 10)}),
    'softcap': (PACKED, {'softcap': 0.7}),
    'softcap, then bias': (Mask(), {'softcap': 0.7, 'bias': BUCKETS, 'heads': 1}),
}
# What splash has, at lengths that its tiles fill and that they do not.
LONG = np.repeat(SEGMENTS, 25, axis=1)
SPLASH = {
    'causal softcap': (Mask(causal=True), {'T': 128, 'softcap': 0.7, 'heads': 1}),
    'packed window': (Mask(LONG, LONG, causal=True, window=100), {'T': 300}),
    'window both ways': (Mask(window=40), {'T': 100, 'heads': N}),
    'nothing to see': (Mask(np.where(LONG == 2, 9, LONG), LONG), {'T': 300}),
}


def operands(mask, T=T, heads=2, **_):
    """q, k, v and a cotangent; queries are few where they start at an offset."""
    rng, few = np.random.default_rng(0), T - int(mask.offset)
    shapes = (B, N, few, H), (B, heads, T, H), (B, heads, T, H), (B, N, few, H)
    return tuple(rng.standard_normal(shape, np.float32) for shape in shapes)


def allowed(mask, b, t, s):
    """The description read literally, one pair at a time."""
    at = t + int(mask.offset)
    if mask.causal and s > at and not (mask.prefix_BS is not None and mask.prefix_BS[b, s]):
        return False
    if mask.window is not None and abs(at - s) >= mask.window:
        return False
    return mask.segments_BT is None or mask.segments_BT[b, t] == mask.segments_BS[b, s]


def added(bias, table, n, step):
    """What a bias adds for a key that is `step` slots ahead, read off the papers."""
    if bias is None:
        return 0.0
    if isinstance(bias, Alibi):
        return -float(bias.slopes_N[n]) * abs(step)
    count, distance, first = len(table), max(-step, 0), 0
    if bias.bidirectional:
        count //= 2
        distance, first = abs(step), count * (step > 0)
    half = count // 2
    if distance >= half:
        grown = np.log(distance / half) / np.log(bias.max_distance / half) * (count - half)
        distance = min(half + int(grown), count - 1)
    return table[first + distance, n]


def by_loops(q, k, v, table, mask, seen, bias=None, softcap=None, **_):
    """Softmax attention one query at a time, float64; seen[b][t] lists what it may see."""
    out = np.zeros(q.shape)
    group, start = q.shape[1] // k.shape[1], int(mask.offset)
    by_step = [
        {step: added(bias, table, n, step) for step in range(1 - k.shape[2], k.shape[2])}
        for n in range(q.shape[1])
    ]
    for b, n, t in np.ndindex(q.shape[:3]):
        sees = seen[b][t]
        if sees:
            scores = k[b, n // group, sees] @ q[b, n, t] / np.sqrt(H)
            if softcap is not None:
                scores = softcap * np.tanh(scores / softcap)
            scores = scores + [by_step[n][s - t - start] for s in sees]
            numerators = np.exp(scores - scores.max())
            out[b, n, t] = numerators / numerators.sum() @ v[b, n // group, sees]
    return out


def outcome(backend, mask, q, k, v, cotangent, bias=None, softcap=None, **_):
    """Output, and gradients by q, k, v and the bias's table."""

    def f(q, k, v, table):
        own = bias.replace(table_RN=table) if isinstance(bias, RelativeBuckets) else bias
        asked = {'bias': own, 'softcap': softcap, 'backend': backend}
        return attend(q, k, v, mask, scale=H**-0.5, **asked)

    out, pull = jax.vjp(f, q, k, v, TABLE.astype(q.dtype))
    return out, pull(cotangent.astype(out.dtype))


@functools.cache
def outcomes(backend, dtype):
    """The outcome of every case that a backend takes, compiled as one program."""
    cases = SPLASH if backend == 'splash' else {name: CASES[name] for name in taken(backend)}
    given = {name: operands(mask, **asked) for name, (mask, asked) in cases.items()}
    given = jax.tree.map(lambda x: jnp.asarray(x, dtype), given)
    run = jax.jit(
        lambda given: {n: outcome(backend, c[0], *given[n], **c[1]) for n, c in cases.items()}
    )
    with interpreted(), small_blocks():
        return given, run(given)


@contextlib.contextmanager
def small_blocks():
    """Two pieces of the queries, the first one of two blocks: row after row, as long ones have."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (('BLOCKS', (2, 4)), ('PIECES', 2), ('CACHE', 0)):
            patch.setattr(BLOCKED, name, value)
        yield


def check(backend, name, tolerance=2e-5, dtype='float32'):
    """The output by the loops, its gradients by a step in a random direction."""
    given, results = outcomes(backend, dtype)
    mask, asked = (SPLASH if backend == 'splash' else CASES)[name]
    *inputs, cotangent = (np.asarray(x, np.float64) for x in given[name])
    inputs = [*inputs, np.asarray(TABLE.astype(dtype), np.float64)]
    out, gradients = results[name]
    keys = range(inputs[1].shape[2])
    seen = [
        [[s for s in keys if allowed(mask, b, t, s)] for t in range(inputs[0].shape[2])]
        for b in range(B)
    ]
    np.testing.assert_allclose(out, by_loops(*inputs, mask, seen, **asked), atol=tolerance)

    assert all(np.isfinite(np.asarray(gradient, np.float64)).all() for gradient in gradients)
    rng = np.random.default_rng(0)
    step = [rng.standard_normal(x.shape) for x in inputs]
    ends = [
        by_loops(*[x + sign * 1e-5 * d for x, d in zip(inputs, step)], mask, seen, **asked)
        for sign in (1, -1)
    ]
    expected = np.sum((ends[0] - ends[1]) / 2e-5 * cotangent)
    got = sum(np.sum(np.asarray(g, np.float64) * d) for g, d in zip(gradients, step))
    size = np.sqrt(sum(np.sum(np.square(np.asarray(g, np.float64))) for g in gradients))
    assert abs(got - expected) < 5 * tolerance * (size + 1)


def taken(backend):
    """Names of the cases that ask for nothing the backend lacks."""
    return [
        name
        for name, (mask, asked) in CASES.items()
        if not {*asked, *['decode'] * bool(mask.offset)} & set(LACKS[backend])
    ]


@pytest.mark.parametrize(
    'backend, name', [(b, n) for b in ('reference', 'blocked', 'xla') for n in taken(b)]
)
def test_is_the_definition(backend, name):
    check(backend, name)


@pytest.mark.parametrize('name', SPLASH)
def test_splash_is_the_definition(name):
    check('splash', name)


@pytest.mark.skipif(jax.default_backend() != 'gpu', reason='needs a GPU')
@pytest.mark.parametrize('name', taken('cudnn'))
def test_cudnn_is_the_definition(name):
    check('cudnn', name, tolerance=2e-2, dtype='bfloat16')


@pytest.mark.parametrize('backend', ['reference', 'blocked', 'xla', 'splash'])
def test_queries_that_see_nothing_get_zeros_and_give_none(backend):
    mask, asked = (SPLASH if backend == 'splash' else CASES)['nothing to see']
    out, (q_gradient, *_) = outcomes(backend, 'float32')[1]['nothing to see']
    length = asked.get('T', T)
    blind = ~np.asarray(mask.dense(length, length)).any(-1)
    assert blind.any() and not blind.all()
    for x_BNTH in (out, q_gradient):
        rows = np.asarray(x_BNTH).transpose(0, 2, 1, 3)
        assert not rows[blind].any() and rows[~blind].any()


@pytest.mark.parametrize('name', ['nothing to see, bias', 'packed', 'softcap, then bias'])
def test_weights_are_those_of_the_output(name):
    mask, asked = CASES[name]
    q, k, v, _ = operands(mask, **asked)
    asked = {key: asked[key] for key in asked if key != 'heads'}
    weights_BNTS = weights(q, k, mask, scale=H**-0.5, **asked)
    out = jnp.einsum('bnts,bnsh->bnth', weights_BNTS, jnp.repeat(v, N // v.shape[1], axis=1))
    expected = attend(q, k, v, mask, scale=H**-0.5, **asked)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    total = np.broadcast_to(mask.dense(T, T).any(-1)[:, None], (B, N, T))
    np.testing.assert_allclose(weights_BNTS.sum(-1), total, atol=1e-6)
    assert weights_BNTS.dtype == jnp.float32


def test_splash_is_split_by_rows_and_heads():
    mask, asked = SPLASH['packed window']
    q, k, v, _ = operands(mask, **asked)
    ask = jax.jit(lambda q, k, v: attend(q, k, v, mask, scale=H**-0.5, backend='splash'))
    auto = {'axis_types': (AxisType.Auto,) * 2}
    with interpreted(), jax.set_mesh(jax.make_mesh((2, 2), ('data', 'tensor'), **auto)):
        split = ask(q, k, v)
    np.testing.assert_allclose(
        split, outcomes('splash', 'float32')[1]['packed window'][0], atol=1e-6
    )
    assert len(split.sharding.device_set) == 4
