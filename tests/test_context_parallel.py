"""Sequences split over devices: outputs and gradients are those of one device, work is shared.

The judges are the same operations without a mesh, which other tests hold to their definitions.
"""

import contextlib
import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from transformer import sharding
from transformer.experiment import MeshConfig
from transformer.ops.attention import attend, online
from transformer.ops.attention.rounds import Rounds
from transformer.ops.attention.splash import interpreted
from transformer.ops.biases import Alibi, RelativeBuckets, RoundedAlibi, alibi_slopes
from transformer.ops.convolution import causal_convolution
from transformer.ops.masks import Mask
from transformer.ops.retention import retention
from transformer.ops.selective_scan import selective_scan

B, T, N, H = 2, 16, 4, 8
SEGMENTS = np.array([[1] * 5 + [2] * 2 + [3] * 9, [0] * 3 + [1] * 13], np.int32)
OTHERS = np.where(SEGMENTS == 3, 9, SEGMENTS)
PREFIX = np.arange(T)[None] < np.array([[4], [9]])
TWICE = np.concatenate([SEGMENTS, SEGMENTS], axis=1)


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


TABLE = jnp.asarray(normal(0, 8, N))
PACKED = Mask(SEGMENTS, SEGMENTS, causal=True)
# name: (mask, what else is asked); `heads` is K, T and S are lengths.
RING = {
    'causal': (Mask(causal=True), {'heads': 1}),
    'round cut short by a window': (PACKED.replace(window=3), {}),
    'window both ways': (Mask(window=5), {}),
    'softcap': (PACKED, {'softcap': 0.7}),
    'prefix': (PACKED.replace(prefix_BS=PREFIX, window=7), {}),
    'nothing to see': (
        Mask(OTHERS, SEGMENTS, causal=True),
        {'bias': RelativeBuckets(TABLE, False, 10)},
    ),
    'alibi': (PACKED, {'bias': Alibi(jnp.asarray(alibi_slopes(N))), 'heads': N}),
    'rounded alibi': (PACKED, {'bias': RoundedAlibi(N, 0.5)}),
    'cross': (
        Mask(SEGMENTS, TWICE),
        {'S': 2 * T, 'bias': RelativeBuckets(TABLE, True, 10), 'softcap': 0.7},
    ),
    'length that does not split': (Mask(causal=True), {'T': 13}),
    'lengths that do not split': (Mask(), {'T': 5, 'S': 7}),
}
LONG = np.repeat(SEGMENTS, 32, axis=1)
SPLASH = {
    'dealt out': (Mask(LONG, LONG, causal=True), {'T': 512, 'softcap': 0.7}),
    'in order': (Mask(LONG[:, :300], LONG[:, :300], causal=True, window=100), {'T': 300}),
    'queries and keys of their own': (Mask(LONG[:, :300], LONG), {'T': 300, 'S': 512}),
}
MESHES = {
    'context 4': MeshConfig(data=2, context=4),
    'context 8': MeshConfig(context=8),
    'tensor 2': MeshConfig(data=2, context=2, tensor=2),
}


def operands(T=T, S=None, heads=2, **_):
    """q, k, v, a cotangent."""
    shapes = (B, N, T, H), (B, heads, S or T, H), (B, heads, S or T, H), (B, N, T, H)
    return [normal(seed, *shape) for seed, shape in enumerate(shapes)]


def outcome(backend, mask, q, k, v, cotangent, bias=None, softcap=None, **_):
    """Output, and gradients by q, k, v and the bias."""

    def f(q, k, v, bias):
        return attend(q, k, v, mask, scale=0.3, backend=backend, bias=bias, softcap=softcap)

    out, pull = jax.vjp(f, q, k, v, bias)
    return out, pull(cotangent)


def over(mesh):
    """A context in which a mesh is in force; None is none."""
    return (
        contextlib.nullcontext() if mesh is None else jax.set_mesh(sharding.make_mesh(MESHES[mesh]))
    )


def cases(backend, mesh=None):
    if mesh is None:
        return RING | SPLASH if backend == 'reference' else RING
    few = ('causal', 'prefix', 'lengths that do not split')
    return (
        SPLASH
        if backend == 'splash'
        else {n: RING[n] for n in RING if mesh != 'context 8' or n in few}
    )


@functools.cache
def outcomes(backend, mesh=None):
    """Of every case, compiled as one program."""
    asked = cases(backend, mesh)
    given = {name: operands(**asked[name][1]) for name in asked}
    run = lambda given: {n: outcome(backend, asked[n][0], *given[n], **asked[n][1]) for n in asked}  # noqa: E731
    with interpreted(), over(mesh):
        return jax.jit(run)(given)


def assert_same(ours, theirs):
    """To 1e-5 of the greatest number of each array."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


# --- attention -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'mesh, name', [(mesh, name) for mesh in (None, *MESHES) for name in cases('ring', mesh)]
)
def test_ring_attention_is_attention(mesh, name):
    assert_same(outcomes('ring', mesh)[name], outcomes('reference')[name])


@pytest.mark.parametrize('name', SPLASH)
def test_splash_with_gathered_keys_is_attention(name):
    assert_same(outcomes('splash', 'tensor 2')[name], outcomes('reference')[name])


def test_pieces_of_blocks_are_the_blocks(monkeypatch):
    monkeypatch.setattr(online, 'PIECE', 4)
    names = ('prefix', 'cross')
    ours = jax.jit(
        lambda: {
            n: outcome('ring', RING[n][0], *operands(**RING[n][1]), **RING[n][1]) for n in names
        }
    )()
    assert_same(ours, {name: outcomes('reference')[name] for name in names})


def test_memory_of_a_ring_of_one_grows_with_the_length_alone():
    def bytes_of(T):
        shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in operands(T)]
        run = jax.jit(functools.partial(outcome, 'ring', Mask(causal=True)))
        return run.lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    assert bytes_of(4096) < 2.2 * bytes_of(2048)


MASKS = {
    'all': Mask(),
    'causal': Mask(causal=True),
    'causal window': Mask(causal=True, window=9),
    'long causal window': Mask(causal=True, window=60),
    'window': Mask(window=9),
}


@pytest.mark.parametrize('name', MASKS)
@pytest.mark.parametrize('n', [1, 3, 8])
def test_blocks_meet_where_the_mask_allows_a_pair(n, name):
    T = 8 * n
    rounds, allowed_TT = Rounds.of(n, T, T, MASKS[name]), np.asarray(MASKS[name].dense(T, T)[0])
    slots = lambda at, half: np.asarray(rounds.query_slots(at)[half])  # noqa: E731
    met = np.zeros((T, T), bool)
    for at, away in itertools.product(range(n), range(rounds.count)):
        source = (at - away) % n
        for a, b in rounds.pairs():
            block = np.ix_(slots(at, a), slots(source, b))
            assert rounds.meet(at, source, a, b) == allowed_TT[block].any()
            met[block] = True
    assert not allowed_TT[~met].any()


@pytest.mark.parametrize('n', [2, 3, 8])
def test_causal_attention_is_the_same_work_for_all_devices_in_every_round(n):
    rounds = Rounds.of(n, 4 * n, 4 * n, Mask(causal=True))
    work = [
        [sum(rounds.meet(at, (at - r) % n, a, b) for a, b in rounds.pairs()) for r in range(n)]
        for at in range(n)
    ]
    assert work == [[3] + [2] * (n - 1)] * n


def test_a_window_ends_the_round():
    assert Rounds.of(8, 64, 64, Mask(causal=True, window=9)).count == 2
    assert Rounds.of(8, 64, 64, Mask(causal=True, window=10)).count == 3


def compiled(backend, mesh, T, S):
    """The text of attention, forward and backward, of queries and keys that lie split."""
    mesh = sharding.make_mesh(mesh)

    def array(*shape):
        layout = NamedSharding(mesh, PartitionSpec('data', 'tensor', 'context'))
        return jax.ShapeDtypeStruct(shape, 'float32', sharding=layout)

    q, k = array(B, N, T, H), array(B, 2, S, H)
    run = lambda q, k, v, cotangent: outcome(backend, Mask(), q, k, v, cotangent)  # noqa: E731
    with jax.set_mesh(mesh):
        return jax.jit(run).lower(q, k, k, q).compile().as_text()


def test_the_ring_gathers_nothing():
    text = compiled('ring', MESHES['context 4'], 64, 64)
    assert 'collective-permute(' in text
    assert not re.search('(all-gather|all-to-all|all-reduce|reduce-scatter)[(]', text)


@pytest.mark.parametrize('backend', ['reference', 'xla'])
def test_the_others_gather_keys_and_values_but_not_queries(backend):
    text = compiled(backend, MESHES['context 4'], 64, 512)  # it would be less to gather queries
    gathered = re.findall(r'f32\[([\d,]+)\]\S* all-gather[(]', text)
    sizes = [np.prod([int(n) for n in shape.split(',')]) for shape in gathered]
    assert sizes == [2 * 512 * H] * 2


# --- what is handed along ------------------------------------------------------------------------

F, M, P = 6, 3, 6
LOG_DECAY = jnp.log(jnp.array([0.5, 0.9, 1.0, 0.99]))
RECURRENCES = {
    'retention': (
        lambda q, k, v: retention(q, k, v, LOG_DECAY, SEGMENTS, None, 3),
        [normal(0, B, N, T, H), normal(1, B, N, T, H), normal(2, B, N, T, P)],
    ),
    'selective scan': (
        lambda *x: selective_scan(*x, SEGMENTS, None, 3),
        [
            normal(3, B, T, F),
            0.3 * np.exp(normal(4, B, T, F)),
            -np.exp(normal(5, F, M)),
            normal(6, B, T, M),
            normal(7, B, T, M),
        ],
    ),
    'convolution': (
        lambda x, kernel: causal_convolution(x, kernel, SEGMENTS),
        [normal(8, B, T, F), normal(9, 4, F)],
    ),
}


@functools.cache
def run_through(mesh=None):
    """Outputs and last states of all recurrences and the gradients of both, as one program."""

    def run(given):
        def one(name):
            (y, state), pull = jax.vjp(RECURRENCES[name][0], *given[name])
            # Segments are whole numbers; nothing has a gradient by them.
            kind = lambda x: x.dtype if x.dtype == 'float32' else jax.dtypes.float0  # noqa: E731
            ones = jax.tree.map(lambda x: np.ones(x.shape, kind(x)), state)
            return y, state, pull((jnp.cos(y), ones))

        return {name: one(name) for name in RECURRENCES}

    with over(mesh):
        return jax.jit(run)({name: given for name, (_, given) in RECURRENCES.items()})


@pytest.mark.parametrize('name', RECURRENCES)
@pytest.mark.parametrize('mesh', MESHES)  # with eight, two places a device: fewer than a kernel
def test_states_are_handed_along(mesh, name):
    assert_same(run_through(mesh)[name], run_through()[name])


@pytest.mark.parametrize('name', RECURRENCES)
def test_parts_are_equal(name):
    f, given = RECURRENCES[name]
    cut = [x[:, :, :15] if x.shape[2:3] == (T,) else x[:, :15] for x in given]
    with (
        over('context 8'),
        pytest.raises(ValueError, match='of 15 places.*context=8.*a multiple of 8'),
    ):
        jax.eval_shape(lambda given: f(*given), cut)
