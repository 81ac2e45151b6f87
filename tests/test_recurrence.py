"""The recurrences under the mixers, against their definitions, and what a state may cost."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.test_mixers import normal
from transformer import registry
from transformer.config import InitConfig
from transformer.context import Context
from transformer.errors import ConfigError
from transformer.mixers.linear import LinearAttentionConfig
from transformer.mixers.mamba import MambaConfig
from transformer.mixers.retnet import RetNetConfig
from transformer.ops.convolution import causal_convolution
from transformer.ops.retention import retention
from transformer.ops.selective_scan import selective_scan

CONFIGS = [LinearAttentionConfig(), MambaConfig(), RetNetConfig()]
SEGMENTS = np.array([[1] * 3 + [2] * 7 + [3] * 3, [0] * 5 + [1] * 8], np.int32)
BEGINS = np.diff(SEGMENTS, axis=1, prepend=SEGMENTS[:, :1]) != 0
B, T = SEGMENTS.shape
N, H, P, F, M = 3, 4, 6, 5, 4


@functools.lru_cache
def one_program(f):
    """y, the state's sum and the gradient of both, as one compiled program."""

    def run(*inputs):
        (y, state), pull = jax.vjp(f, *inputs)
        return y, state, pull((jnp.cos(y), jax.tree.map(jnp.ones_like, state)))

    return jax.jit(run)


def assert_close(ours, theirs, atol=2e-5):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=atol, rtol=1e-5)


# --- retention -----------------------------------------------------------------------------------

LOG_DECAY = jnp.log(jnp.array([0.5, 0.9, 1.0]))
QKV = [normal(i, B, N, T, size) for i, size in enumerate((H, H, P))]


def parallel(q_BNTH, k_BNTH, v_BNTP):
    """The definition, every pair at once; the state is what the last token would find."""
    gap_TS = jnp.arange(T)[:, None] - jnp.arange(T)[None]
    weight_NTS = jnp.exp(LOG_DECAY[:, None, None] * gap_TS[None]) * (gap_TS >= 0)[None]
    sees_BTS = SEGMENTS[:, :, None] == SEGMENTS[:, None]
    scores = jnp.einsum('bnth,bnsh->bnts', q_BNTH, k_BNTH) * weight_NTS[None] * sees_BTS[:, None]
    last_NS, sees_BS = weight_NTS[:, -1], sees_BTS[:, -1]
    state = jnp.einsum('bnsh,bnsp,ns,bs->bnhp', k_BNTH, v_BNTP, last_NS, sees_BS)
    return jnp.einsum('bnts,bnsp->bntp', scores, v_BNTP), state


def recurrent(q_BNTH, k_BNTH, v_BNTP):
    """S = gamma S + k v^T, y = q S, one token after the other."""

    def step(S, token):
        begins_B, q_BNH, k_BNH, v_BNP = token
        S = jnp.where(begins_B[:, None, None, None], 0, S)
        S *= jnp.exp(LOG_DECAY)[None, :, None, None]
        S += k_BNH[..., None] * v_BNP[..., None, :]
        return S, jnp.einsum('bnh,bnhp->bnp', q_BNH, S)

    tokens = (BEGINS.T, *(jnp.moveaxis(x, 2, 0) for x in (q_BNTH, k_BNTH, v_BNTP)))
    S, y_TBNP = jax.lax.scan(step, jnp.zeros((B, N, H, P)), tokens)
    return jnp.moveaxis(y_TBNP, 0, 2), S


def test_the_two_definitions_of_retention_agree():
    assert_close(one_program(parallel)(*QKV), one_program(recurrent)(*QKV))


@pytest.mark.parametrize('chunk', [1, 4, 64])
def test_retention_agrees_with_its_definition(chunk):
    def chunkwise(q, k, v):
        y, state = retention(q, k, v, LOG_DECAY, SEGMENTS, None, chunk)
        return y, state.sum_BNHP

    assert_close(one_program(chunkwise)(*QKV), one_program(recurrent)(*QKV))


def test_retention_goes_on_from_its_state():
    def in_two(q, k, v):
        ys, state, at = [], None, 5
        for part in (slice(at), slice(at, T)):
            qkv = [x[:, :, part] for x in (q, k, v)]
            y, state = retention(*qkv, LOG_DECAY, SEGMENTS[:, part], state, 4)
            ys.append(y)
        return jnp.concatenate(ys, 2), state.sum_BNHP

    # A document begins there in the second row; in the first it is in the middle of one.
    assert_close(jax.jit(in_two)(*QKV), jax.jit(recurrent)(*QKV))


def test_long_chunks_do_not_overflow():
    x, segments = jnp.ones((1, 1, 4096, 1)), jnp.ones((1, 4096), jnp.int32)
    log_decay, one_chunk = jnp.array([-1.0]), jax.jit(retention, static_argnums=6)
    y, _ = one_chunk(x, x, x, log_decay, segments, None, 4096)
    np.testing.assert_allclose(y[0, 0, -1, 0], 1 / (1 - np.exp(-1)), rtol=1e-5)


# --- selective scan ------------------------------------------------------------------------------

STEP, A = 0.3 * np.exp(normal(4, B, T, F)), -np.exp(normal(5, F, M))
SCAN = [normal(3, B, T, F), STEP, A, normal(6, B, T, M), normal(7, B, T, M)]


def scan_by_steps(x_BTF, step_BTF, A_FM, B_BTM, C_BTM):
    """The definition, one token after the other."""

    def step(h, token):
        begins_B, x_BF, step_BF, B_BM, C_BM = token
        h = jnp.where(begins_B[:, None, None], 0, h) * jnp.exp(step_BF[..., None] * A_FM[None])
        h += (step_BF * x_BF)[..., None] * B_BM[:, None]
        return h, jnp.einsum('bfm,bm->bf', h, C_BM)

    tokens = [jnp.moveaxis(x, 1, 0) for x in (BEGINS, x_BTF, step_BTF, B_BTM, C_BTM)]
    h, y_TBF = jax.lax.scan(step, jnp.zeros((B, F, M)), tokens)
    return jnp.moveaxis(y_TBF, 0, 1), h


@pytest.mark.parametrize('chunk', [1, 4, 64])
def test_selective_scan_agrees_with_its_definition(chunk):
    def chunkwise(*inputs):
        y, state = selective_scan(*inputs, SEGMENTS, None, chunk)
        return y, state.h_BFM

    assert_close(one_program(chunkwise)(*SCAN), one_program(scan_by_steps)(*SCAN))


@pytest.mark.parametrize('chunk', [0, -1])
def test_a_chunk_has_tokens(chunk):
    with pytest.raises(ValueError, match=f'chunk={chunk} .*at least 1'):
        retention(*QKV, LOG_DECAY, SEGMENTS, None, chunk)
    with pytest.raises(ValueError, match=f'chunk={chunk} .*at least 1'):
        selective_scan(*SCAN, SEGMENTS, None, chunk)


# --- memory --------------------------------------------------------------------------------------


def temporary_bytes(f, *shapes):
    inputs = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    gradient = jax.grad(lambda *x: jnp.square(f(*x)).sum(), tuple(range(len(shapes))))
    return jax.jit(gradient).lower(*inputs).compile().memory_analysis().temp_size_in_bytes


def test_memory_of_retention_grows_with_the_length_alone():
    def bytes_of(T):
        segments = jnp.ones((1, T), jnp.int32)
        f = lambda q, k, v: retention(q, k, v, LOG_DECAY[:1], segments, None, 64)[0]  # noqa: E731
        return temporary_bytes(f, *[(1, 1, T, 16)] * 3)

    assert bytes_of(4096) < 2.2 * bytes_of(2048)


def test_memory_of_the_scan_is_that_of_a_chunk():
    T, F, M = 1024, 64, 16
    f = lambda *x: selective_scan(*x, jnp.ones((1, T), jnp.int32), None, 32)[0]  # noqa: E731
    used = temporary_bytes(f, (1, T, F), (1, T, F), (F, M), (1, T, M), (1, T, M))
    all_states = 4 * T * F * M
    assert used < all_states  # a plain scan keeps several of them


# --- convolution ---------------------------------------------------------------------------------


@pytest.mark.parametrize('W', [1, 2, 4])
def test_convolution_is_its_definition(W):
    x_BTF, kernel_WF = normal(8, B, T, F), normal(9, W, F)
    expected = np.zeros((B, T, F))
    for b, t, w in np.ndindex(B, T, W):
        if t - w >= 0 and SEGMENTS[b, t - w] == SEGMENTS[b, t]:
            expected[b, t] += kernel_WF[W - 1 - w] * x_BTF[b, t - w]
    y_BTF, state = jax.jit(causal_convolution)(x_BTF, kernel_WF, SEGMENTS)
    np.testing.assert_allclose(y_BTF, expected, atol=1e-5)
    np.testing.assert_array_equal(state.x_BWF, x_BTF[:, T - W + 1 :])


# --- the mixers ----------------------------------------------------------------------------------


@pytest.mark.parametrize('config', CONFIGS, ids=lambda c: type(c).__name__)
def test_looking_ahead_is_refused(config):
    mixer, x_BTD = registry.build(config, width=32), jnp.ones((1, 4, 32))
    name = {c: name for name, c in registry.names().items()}[type(config)]
    for option, field in (
        ({'causal': False}, 'causal=False'),
        ({'prefix_BT': jnp.ones((1, 4), bool)}, 'prefix_BT'),
    ):
        with pytest.raises(ValueError, match=f"mixer '{name}'.*{field}.*accepted"):
            jax.eval_shape(mixer.init, jax.random.key(0), x_BTD, Context.of(x_BTD, **option))


OPTIONS = {
    'width': 96,
    'heads': 6,
    'head_width': 0,
    'init': InitConfig(0.5),
    'mamba_state': 8,
    'mamba_conv': 3,
    'mamba_expand': 1,
}


def test_configs_come_from_the_options_of_a_model():
    of = lambda name, **more: registry.names()[name].of(types.SimpleNamespace(**OPTIONS | more))  # noqa: E731
    init = InitConfig(0.5)
    assert of('mamba') == MambaConfig(state=8, conv=3, expand=1, init=init)
    assert of('linear') == LinearAttentionConfig(heads=6, head_width=16, init=init)
    assert of('retnet') == RetNetConfig(heads=6, head_width=16, init=init)
    assert of('retnet', head_width=10).head_width == 10
    with pytest.raises(ConfigError, match="head_width=5 .*even number with mixer 'retnet'"):
        of('retnet', head_width=5)


def shapes(config, width):
    mixer, x_BTD = registry.build(config, width=width), jnp.ones((1, 4, width))
    return jax.eval_shape(mixer.init, jax.random.key(0), x_BTD, Context.of(x_BTD))


def test_mamba_130m_has_the_published_number_of_parameters():
    layer = 768 + sum(x.size for x in jax.tree.leaves(shapes(MambaConfig(), 768)))
    assert 50280 * 768 + 24 * layer + 768 == 129_135_360


def test_retnet_has_eight_matrices_of_the_width():
    D = 64
    tree = shapes(RetNetConfig(heads=4, head_width=16), D)['params']
    assert sum(x.size for x in jax.tree.leaves(tree)) == 8 * D * D + 2 * 2 * D


def test_mamba_starts_as_in_the_paper():
    mixer, x_BTD = registry.build(MambaConfig(), width=64), jnp.ones((1, 4, 64))

    @jax.jit
    def start(key):
        params = mixer.init(key, x_BTD, Context.of(x_BTD))['params']
        return jnp.sort(jax.nn.softplus(params['step']['bias'])), jnp.exp(params['A_log'])

    steps, A = start(jax.random.key(0))
    assert 1e-3 <= steps[0] < 2e-3
    assert 0.05 < steps[-1] <= 0.1 + 1e-6
    assert 0.007 < np.median(steps) < 0.014  # of a log-uniform distribution: 0.01
    np.testing.assert_allclose(A, np.tile(np.arange(1, 17), (128, 1)), rtol=1e-5)


def apply(config, params, x_BTD):
    mixer = registry.build(config, width=x_BTD.shape[-1])
    return jax.jit(mixer.apply)({'params': params}, x_BTD, Context.of(x_BTD))[0]


def random_params(config, width):
    return jax.tree.map(lambda p: 0.3 * normal(1, *p.shape), shapes(config, width)['params'])


def test_linear_attention_is_its_definition():
    config, x_BTD = LinearAttentionConfig(heads=2, head_width=4), normal(0, 2, 9, 8)
    p = random_params(config, 8)
    q, k, v = (
        np.einsum('btd,dnh->bnth', x_BTD, p[name]['kernel']) for name in ('query', 'key', 'value')
    )
    q, k = (np.where(x > 0, x + 1, np.exp(x)) for x in (q, k))
    weights = np.einsum('bnth,bnsh->bnts', q, k) * np.tri(9)
    y = np.einsum('bnts,bnsh->bnth', weights / weights.sum(-1, keepdims=True), v)
    expected = np.einsum('bnth,nhd->btd', y, p['out']['kernel'])
    np.testing.assert_allclose(apply(config, p, x_BTD), expected, atol=1e-5)


def test_retnet_is_its_definition():
    config, x_BTD = RetNetConfig(heads=2, head_width=4), normal(0, 2, 9, 8)
    p = random_params(config, 8)
    at = {
        n: np.einsum('btd,dnh->bnth', x_BTD, p[n]['kernel']) for n in p if n not in ('group', 'out')
    }
    turn = np.exp(1j * np.arange(9)[:, None] * 10_000.0 ** (-np.arange(2) / 2))
    q, k = ((at[n][..., :2] + 1j * at[n][..., 2:]) * turn for n in ('query', 'key'))
    gamma = 1 - 2.0 ** (-5 - np.arange(2))
    gap = np.arange(9)[:, None] - np.arange(9)
    decay = np.where(gap >= 0, gamma[:, None, None] ** np.maximum(gap, 0), 0)
    scores = np.einsum('bnth,bnsh->bnts', q, k.conj()).real / 2 * decay
    y = np.einsum('bnts,bnsp->bntp', scores, at['value'])
    y = (y - y.mean(-1, keepdims=True)) / np.sqrt(y.var(-1, keepdims=True) + 1e-6)
    y = y * p['group']['scale'][:, None] + p['group']['bias'][:, None]
    gate = at['gate'] / (1 + np.exp(-at['gate']))
    expected = np.einsum('bntp,npd->btd', gate * y, p['out']['kernel'])
    np.testing.assert_allclose(apply(config, p, x_BTD), expected, atol=1e-5)


def test_mamba_is_its_definition():
    config, D = MambaConfig(state=3), 8
    x_BTD, p, F = normal(0, 2, 9, D), random_params(config, D), 2 * D
    silu = lambda x: x / (1 + np.exp(-x))  # noqa: E731
    for row, ours in zip(x_BTD, apply(config, p, x_BTD)):
        x, z = np.einsum('td,dgf->gtf', row, p['expand']['kernel'])
        h, padded = np.zeros((F, 3)), np.concatenate([np.zeros((3, F)), x])
        for t in range(9):
            window = (padded[t : t + 4] * p['conv']['kernel']).sum(0)
            u = silu(window + p['conv']['bias'])
            r, B_M, C_M = np.split(u @ p['parameters']['kernel'], (1, 4))
            step = np.log1p(np.exp(r @ p['step']['kernel'] + p['step']['bias']))
            h = np.exp(-step[:, None] * np.exp(p['A_log'])) * h + np.outer(step * u, B_M)
            y = (h @ C_M + p['D'] * u) * silu(z[t])
            np.testing.assert_allclose(ours[t], y @ p['contract']['kernel'], atol=1e-5)
