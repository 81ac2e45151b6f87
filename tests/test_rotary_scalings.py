"""Scalings of rotary embeddings: their formulas in numbers, and the functions of `transformers`."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer.context import Context
from transformer.mixers.attention import Attention, AttentionConfig
from transformer.ops.rotary import (
    NTK,
    Dynamic,
    Linear,
    Llama3,
    LongRope,
    Proportional,
    Yarn,
    frequencies,
    rotate,
)
from transformer.positions import RotaryConfig

H, THETA, CONTEXT = 8, 10_000.0, 16
PLAIN = np.array([1, 0.1, 0.01, 0.001])
SHORT, LONG = (1.0, 1.5, 2.0, 2.5), (1.0, 4.0, 9.0, 16.0)
LONG_ROPE = LongRope(SHORT, LONG, CONTEXT, factor=4.0)


def places(count):
    return jnp.arange(count, dtype=jnp.int32)[None]


def turning(scaling, count=None, **fields):
    """Frequencies and factor in a compiled call of `count` tokens."""
    config = RotaryConfig(THETA, scaling, **fields)
    if count is None:
        return frequencies(config, H)
    inverse_h, factor = jax.jit(lambda at: frequencies(config, H, at))(places(count))
    return np.asarray(inverse_h), float(factor)


def test_most_scalings_are_constants_whatever_the_call():
    for scaling in (None, Linear(4.0), NTK(4.0), Yarn(4.0, CONTEXT), Llama3(), Proportional(0.5)):
        inverse_h, _ = frequencies(RotaryConfig(THETA, scaling), H, places(100))
        assert isinstance(inverse_h, np.ndarray)
        np.testing.assert_array_equal(inverse_h, turning(scaling)[0])


@pytest.mark.parametrize('count, grown', [(None, 1), (3, 1), (16, 1), (17, 1.125), (48, 5)])
def test_dynamic_grows_with_the_call_beyond_the_original_context(count, grown):
    """Factor 2, context 16: grown = 2 count / 16 - 1; theta * grown^(8/6)."""
    inverse_h, attention = turning(Dynamic(2.0, CONTEXT), count)
    expected = [1, *(1 / (THETA * grown ** (4 / 3)) ** (i / 4) for i in (1, 2, 3))]
    np.testing.assert_allclose(inverse_h, expected, rtol=2e-6)
    assert attention == 1


def test_dynamic_is_ntk_with_the_factor_of_the_moment():
    inverse_h, _ = turning(Dynamic(2.0, CONTEXT), 48)
    np.testing.assert_allclose(inverse_h, turning(NTK(5.0))[0], rtol=2e-6)
    with pytest.raises(ValueError, match='width above 2, not 2'):
        turning(Dynamic(2.0, CONTEXT), width=2)


@pytest.mark.parametrize('count, factors', [(None, SHORT), (16, SHORT), (17, LONG), (60, LONG)])
def test_longrope_slows_each_pair_by_its_own_factor(count, factors):
    inverse_h, attention = turning(LONG_ROPE, count)
    np.testing.assert_allclose(inverse_h, PLAIN / factors, rtol=1e-6)
    assert attention == pytest.approx(math.sqrt(1.5))  # ln 4 / ln 16 = 1/2


def test_longrope_growth_can_be_given_and_its_lists_fit():
    assert turning(LongRope(SHORT, LONG, CONTEXT, 4.0, attention_factor=1.25))[1] == 1.25
    assert turning(LongRope(SHORT, LONG, CONTEXT, factor=0.5))[1] == 1
    with pytest.raises(ValueError, match='long_factor has 3 numbers; accepted: 4'):
        turning(LongRope(SHORT, LONG[:3], CONTEXT))


def test_yarn_golden():
    """Theta 10000, width 8: pair log10(2048 / 2 pi n) turns n times in 2048; 1.0080, 2.5132."""
    scaling = functools.partial(Yarn, 8.0, 2048)
    first, last = np.log10(2048 / (2 * np.pi * np.array([32, 1])))
    slow = np.clip((np.arange(4) - first) / (last - first), 0, 1)
    np.testing.assert_allclose(
        turning(scaling(truncate=False))[0], PLAIN * (1 - slow) + PLAIN / 8 * slow, rtol=1e-5
    )
    # 8 and 2 turns: 1.6102 and 2.2122, outwards 1 and 3.
    got, _ = turning(scaling(beta_fast=8.0, beta_slow=2.0))
    np.testing.assert_allclose(got, [1, 0.1, 0.01 * (1 / 2 + 1 / 16), 0.001 / 8], rtol=1e-6)
    # 64 and 32 turns: 0.7071 and 1.0080, outwards 0 and 2.
    got, _ = turning(scaling(beta_fast=64.0, beta_slow=32.0))
    np.testing.assert_allclose(got, [1, 0.1 * (1 / 2 + 1 / 16), 0.01 / 8, 0.001 / 8], rtol=1e-6)


def test_yarn_growth_golden():
    growth = lambda **fields: turning(Yarn(8.0, 2048, **fields))[1]  # noqa: E731
    assert growth() == pytest.approx(1.2079441541679836)
    assert growth(mscale=1.0) == growth(mscale_all_dim=1.0) == growth()  # both or none
    assert growth(mscale=1.0, mscale_all_dim=1.0) == 1
    both = 1.1470165 / 1.2079442  # 0.1 * 0.707 * ln 8 + 1
    assert growth(mscale=0.707, mscale_all_dim=1.0) == pytest.approx(both, rel=1e-6)
    assert growth(mscale=0.707, mscale_all_dim=1.0, attention_factor=0.5) == 0.5


def test_proportional_turns_the_fastest_pairs_of_the_whole_head():
    np.testing.assert_allclose(turning(Proportional(0.5))[0], [1, 0.1, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(turning(Proportional(0.9, 2.0))[0], [0.5, 0.05, 0.005, 0], rtol=1e-6)


@pytest.mark.parametrize('width', [None, 4])
def test_interleaved_pairs_are_neighbours(width):
    x = jax.random.normal(jax.random.key(0), (1, 2, 5, H))
    inverse_h, _ = freq = turning(None, width=width)
    got = np.asarray(rotate(x, places(5), freq, interleaved=True))
    W = width or H
    for t, i in np.ndindex(5, W // 2):
        angle = t * inverse_h[i]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        pair = slice(2 * i, 2 * i + 2)
        np.testing.assert_allclose(got[0, 1, t, pair], turn @ x[0, 1, t, pair], atol=1e-5)
    np.testing.assert_array_equal(got[..., W:], x[..., W:])


def attention(**fields):
    config = AttentionConfig(heads=2, kv_heads=1, head_width=H, rotary=RotaryConfig(**fields))
    return Attention(config, width=12)


def test_attention_turns_by_the_pairing_and_the_length_of_its_call():
    x = jax.random.normal(jax.random.key(0), (1, 24, 12))
    plain = attention()
    params = plain.init(jax.random.key(1), x, Context.of(x))
    params = jax.tree.map(lambda p: 20 * p, params)
    run = lambda m, x, *cache: m.apply(params, x, Context.of(x), *cache)[0]  # noqa: E731
    assert abs(run(attention(interleaved=True), x) - run(plain, x)).max() > 1e-2
    for scaling in (Dynamic(2.0, CONTEXT), LongRope((1.0,) * 4, LONG, CONTEXT)):
        scaled = attention(scaling=scaling)
        short = x[:, :CONTEXT]
        np.testing.assert_allclose(run(scaled, short), run(plain, short), atol=1e-6)
        # Beyond the context the first tokens, too, are turned otherwise.
        assert abs(run(scaled, x) - run(plain, x))[:, :CONTEXT].max() > 1e-2


HF = {
    'linear': (Linear(4.0), {'factor': 4.0}),
    'dynamic': (Dynamic(4.0, CONTEXT), {'factor': 4.0}),
    'yarn': (Yarn(4.0, CONTEXT), {'factor': 4.0}),
    'yarn options': (
        Yarn(4.0, CONTEXT, 4.0, 0.5, 0.7, 0.9, truncate=False),
        {
            'factor': 4.0,
            'beta_fast': 4.0,
            'beta_slow': 0.5,
            'mscale': 0.7,
            'mscale_all_dim': 0.9,
            'truncate': False,
        },
    ),
    'yarn growth': (
        Yarn(4.0, CONTEXT, attention_factor=1.3),
        {'factor': 4.0, 'attention_factor': 1.3},
    ),
    'longrope': (
        LONG_ROPE,
        {'factor': 4.0, 'short_factor': list(SHORT), 'long_factor': list(LONG)},
    ),
    'longrope growth': (
        LongRope(SHORT, LONG, CONTEXT, 4.0, 1.1),
        {
            'factor': 4.0,
            'short_factor': list(SHORT),
            'long_factor': list(LONG),
            'attention_factor': 1.1,
        },
    ),
    'llama3': (
        Llama3(4.0, 1.0, 2.0, CONTEXT),
        {'factor': 4.0, 'low_freq_factor': 1.0, 'high_freq_factor': 2.0},
    ),
    'proportional': (Proportional(0.5, 4.0), {'factor': 4.0, 'partial_rotary_factor': 0.5}),
    'default': (None, {}),
}


def llama_rotary(kind, parameters):
    """The module of LLaMA in `transformers`."""
    pytest.importorskip('torch')
    transformers = pytest.importorskip('transformers')
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    parameters = {'rope_type': kind, 'rope_theta': THETA, **parameters}
    if kind in ('yarn', 'longrope', 'llama3'):
        parameters['original_max_position_embeddings'] = CONTEXT
    longest = CONTEXT if kind == 'dynamic' else 4 * CONTEXT
    config = transformers.LlamaConfig(
        hidden_size=2 * H,
        num_attention_heads=2,
        max_position_embeddings=longest,
        rope_parameters=parameters,
    )
    return LlamaRotaryEmbedding(config)


def waves(scaling, positions_BT):
    """cos and sin that `rotate` turns by, [B, T, h] each: what it makes of the vector (1, 0)."""
    x_BNTH = jnp.zeros((1, 1, positions_BT.shape[1], H)).at[..., : H // 2].set(1)
    turned = rotate(
        x_BNTH, positions_BT, frequencies(RotaryConfig(THETA, scaling), H, positions_BT)
    )
    return np.split(np.asarray(turned[:, 0]), 2, axis=-1)


@pytest.mark.parametrize('count', [5, 16, 17, 40])
@pytest.mark.parametrize('name', HF)
def test_cosines_and_sines_are_those_of_transformers(name, count):
    torch = pytest.importorskip('torch')
    scaling, parameters = HF[name]
    module = llama_rotary(name.split()[0], parameters)
    theirs = module(torch.zeros(1), torch.arange(count)[None])
    for ours, other in zip(waves(scaling, places(count)), theirs):
        np.testing.assert_allclose(ours, other[..., : H // 2].numpy(), atol=1e-5)


@pytest.mark.parametrize('name', ['dynamic', 'longrope'])
def test_growing_token_by_token_is_that_of_transformers(name):
    """With a cache, each key stays as it was turned when it came."""
    torch = pytest.importorskip('torch')
    scaling, parameters = HF[name]
    module = llama_rotary(name, parameters)
    for at in range(24):
        theirs = module(torch.zeros(1), torch.tensor([[at]]))
        for ours, other in zip(waves(scaling, jnp.array([[at]])), theirs):
            np.testing.assert_allclose(ours, other[..., : H // 2].numpy(), atol=1e-5)


def test_interleaved_is_that_of_gptj():
    torch = pytest.importorskip('torch')
    pytest.importorskip('transformers')
    from transformers.models.gptj import modeling_gptj as gptj

    x = np.random.default_rng(0).standard_normal((1, 7, 2, H), np.float32)  # B, T, N, H
    sin, cos = torch.chunk(gptj.create_sinusoidal_positions(7, H)[None], 2, dim=-1)
    theirs = gptj.apply_rotary_pos_emb(torch.tensor(x), sin, cos).numpy()
    ours = rotate(x.swapaxes(1, 2), places(7), turning(None), interleaved=True)
    np.testing.assert_allclose(ours.swapaxes(1, 2), theirs, atol=1e-6)
