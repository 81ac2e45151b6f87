"""Position codes have the properties that they are chosen for."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer import registry
from transformer.config import InitConfig
from transformer.ops.biases import Alibi, RelativeBuckets, alibi_slopes, buckets
from transformer.ops.rotary import NTK, Linear, Llama3, Yarn, frequencies, rotate
from transformer.positions import (
    AlibiConfig,
    Grid2DConfig,
    LearnedConfig,
    RelativeBucketsConfig,
    RotaryConfig,
    SinusoidalConfig,
)

H = 32
SCALINGS = {
    'none': lambda factor: None,
    'linear': Linear,
    'ntk': NTK,
    'yarn': functools.partial(Yarn, original_context=64),
    'llama3': functools.partial(Llama3, original_context=64),
}
PLACES = jnp.arange(12, dtype=jnp.int32)[None]


def added(config, positions, width=16, dtype='float32'):
    """The vectors that a config's module adds at some places."""
    module = registry.build(config, width=width, dtype=dtype)
    return np.asarray(module.apply(module.init(jax.random.key(0), positions), positions))


@pytest.mark.parametrize('width', [None, 8])
@pytest.mark.parametrize('name', SCALINGS)
def test_rotary_depends_on_distance_alone(name, width):
    turning = frequencies(RotaryConfig(scaling=SCALINGS[name](4.0), width=width), H)
    q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, H))

    @jax.jit
    def score(at_q, at_k):
        at_q, at_k = jnp.full((1, 1), at_q), jnp.full((1, 1), at_k)
        return jnp.sum(rotate(q, at_q, turning) * rotate(k, at_k, turning))

    same = [score(5 + shift, 2 + shift) for shift in (0, 1, 20, 200)]
    np.testing.assert_allclose(same, same[0], atol=1e-4)
    assert abs(score(5, 2) - score(5, 3)) > 1e-2


@pytest.mark.parametrize('name', SCALINGS)
def test_factor_one_changes_nothing(name):
    plain, _ = frequencies(RotaryConfig(500.0), H)
    scaled, attention = frequencies(RotaryConfig(500.0, SCALINGS[name](1.0)), H)
    np.testing.assert_allclose(scaled, plain, rtol=1e-6)
    assert attention == 1


@pytest.mark.parametrize('name', sorted(set(SCALINGS) - {'none'}))
def test_scalings_slow_the_slowest_pair_by_their_factor(name):
    """The fastest keep their pace, but for linear scaling, which slows all."""
    plain, _ = frequencies(RotaryConfig(), H)
    ratio = plain / frequencies(RotaryConfig(scaling=SCALINGS[name](4.0)), H)[0]
    assert ratio[-1] == pytest.approx(4, rel=1e-5)
    assert ratio[0] == pytest.approx(4 if name == 'linear' else 1, rel=1e-5)
    assert (np.diff(ratio) > -1e-5).all()


def test_frequencies_and_attention_factor_golden():
    """Computed by the papers' formulas with a pocket calculator's care: pairs 0 ... 3 of H = 8."""
    theta = 10_000.0
    yarn, attention = frequencies(RotaryConfig(theta, Yarn(8.0, 2048)), 8)
    assert attention == pytest.approx(1.2079441541679836)
    # pairs that turn 32 and once in 2048: 1.008 and 2.513; rounded outwards 1 and 3.
    np.testing.assert_allclose(yarn, [1, 0.1, 0.01 * (1 / 2 + 1 / 16), 0.001 / 8], rtol=1e-6)
    llama, _ = frequencies(RotaryConfig(theta, Llama3()), 8)
    # 8192 slots are 13.04 turns of pair 2 (kept) and 1.3038 of pair 3 (between 1 and 4).
    kept = (8192 * 0.001 / (2 * np.pi) - 1) / 3
    np.testing.assert_allclose(llama, [1, 0.1, 0.01, 0.001 * (kept + (1 - kept) / 8)], rtol=1e-6)


def test_a_number_is_theta_and_position_zero_turns_nothing():
    x = jax.random.normal(jax.random.key(0), (1, 2, 12, H))
    by_config = rotate(x, PLACES, frequencies(RotaryConfig(500.0), H))
    np.testing.assert_array_equal(rotate(x, PLACES, 500.0), by_config)
    np.testing.assert_array_equal(by_config[:, :, 0], x[:, :, 0])
    pair = np.asarray(x[0, 0, 3, [1, 1 + H // 2]], np.float64)
    angle = 3 * 500.0 ** (-2 / H)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(by_config[0, 0, 3, [1, 1 + H // 2]], turn @ pair, atol=1e-5)


def test_partial_rotary_is_rotary_of_the_first_part():
    x = jax.random.normal(jax.random.key(0), (1, 2, 12, H))
    turned = rotate(x, PLACES, frequencies(RotaryConfig(width=8), H))
    np.testing.assert_array_equal(turned[..., 8:], x[..., 8:])
    np.testing.assert_allclose(turned[..., :8], rotate(x[..., :8], PLACES, 10_000.0), atol=1e-6)


@pytest.mark.parametrize('width', [0, 7, H + 2])
def test_widths_that_cannot_be_turned_are_refused(width):
    with pytest.raises(ValueError, match=f'rotary width {width} .*even, from 2 to {H}'):
        frequencies(RotaryConfig(width=width), H)


def test_alibi_slopes_golden():
    eight = [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]
    between = [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    np.testing.assert_allclose(alibi_slopes(8), eight)
    np.testing.assert_allclose(alibi_slopes(12), eight + between, rtol=1e-6)


def test_alibi_falls_with_distance_from_the_slot_of_the_query():
    module = registry.build(AlibiConfig(heads=8))
    bias = module.apply({})
    assert isinstance(bias, Alibi)
    whole = bias.dense(0, 6, 6)
    np.testing.assert_allclose(whole[0, 4], [-2, -1.5, -1, -0.5, 0, -0.5])
    np.testing.assert_array_equal(whole, whole.transpose(0, 2, 1))
    np.testing.assert_array_equal(bias.dense(4, 2, 6), whole[:, 4:])


@pytest.mark.parametrize('both_ways', [True, False])
@pytest.mark.parametrize('count, limit', [(32, 128), (8, 10)])
def test_buckets_are_monotone_and_end_at_the_limit(count, limit, both_ways):
    behind = np.asarray(buckets(count, both_ways, limit)[-jnp.arange(limit + 1)])
    ahead = np.asarray(buckets(count, both_ways, limit)[jnp.arange(limit + 1)])
    side = count // 2 if both_ways else count
    np.testing.assert_array_equal(behind[: side // 2], np.arange(side // 2))
    assert set(np.diff(behind)) == {0, 1} and behind[-1] == side - 1
    if both_ways:
        np.testing.assert_array_equal(ahead[1:], behind[1:] + side)
    else:
        assert not ahead.any()


def test_buckets_golden():
    """First distance of each bucket of T5's 32, either way, and of a decoder's."""
    first = lambda x: np.flatnonzero(np.diff(np.asarray(x), prepend=-1)).tolist()  # noqa: E731
    distances = -jnp.arange(129)
    expected = [*range(9), 12, 16, 23, 32, 46, 64, 91]
    assert first(buckets(32, True, 128)[distances]) == expected
    expected = [*range(17), 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]
    assert first(buckets(32, False, 128)[distances]) == expected


def test_relative_buckets_are_one_number_a_head_and_bucket():
    config = RelativeBucketsConfig(heads=3, buckets=8, max_distance=10, init=InitConfig(1.0))
    module = registry.build(config)
    params = module.init(jax.random.key(0))
    assert jax.tree.map(jnp.shape, params) == {'params': {'table': (8, 3)}}
    bias = module.apply(params)
    assert isinstance(bias, RelativeBuckets)
    whole = np.asarray(jax.jit(lambda at: bias.dense(at, 16, 16))(0))
    table = np.asarray(params['params']['table'])
    assert whole.shape == (3, 16, 16) and whole.dtype == np.float32
    np.testing.assert_array_equal(whole[:, 5, 5], table[0])
    np.testing.assert_array_equal(whole[:, 5, 4], table[1])
    np.testing.assert_array_equal(whole[:, 5, 6], table[5])
    np.testing.assert_array_equal(whole[:, 15, 0], table[3])
    np.testing.assert_array_equal(jax.jit(lambda at: bias.dense(at, 2, 16))(9), whole[:, 9:11])


@pytest.mark.parametrize('fields', [{'buckets': 3}, {'buckets': 32, 'max_distance': 8}])
def test_buckets_that_cannot_be_made_are_refused(fields):
    with pytest.raises(ValueError, match=f'buckets={fields["buckets"]} cannot be used'):
        RelativeBucketsConfig(heads=1, **fields)


def test_sinusoids_are_the_formula():
    got = added(SinusoidalConfig(), PLACES)[0]
    for p, i in np.ndindex(12, 8):
        angle = p / 10_000 ** (2 * i / 16)
        np.testing.assert_allclose(got[p, [i, 8 + i]], [np.sin(angle), np.cos(angle)], atol=1e-6)


def test_a_grid_tells_rows_from_columns():
    got = added(Grid2DConfig(rows=3, columns=4), PLACES)[0].reshape(3, 4, 16)
    np.testing.assert_array_equal(got[:, :, :8], np.broadcast_to(got[:1, :, :8], (3, 4, 8)))
    np.testing.assert_array_equal(got[:, :, 8:], np.broadcast_to(got[:, :1, 8:], (3, 4, 8)))
    line = added(SinusoidalConfig(), PLACES, width=8)[0]
    np.testing.assert_array_equal(got[0, :, :8], line[:4])
    np.testing.assert_array_equal(got[:, 0, 8:], line[:3])
    assert len(np.unique(got.reshape(12, 16), axis=0)) == 12


@pytest.mark.parametrize('config, width', [(SinusoidalConfig(), 7), (Grid2DConfig(2, 2), 6)])
def test_widths_that_cannot_hold_waves_are_refused(config, width):
    with pytest.raises(ValueError, match=f'width {width} cannot hold'):
        added(config, PLACES, width)


def test_learned_places_count_from_the_offset():
    module = registry.build(LearnedConfig(12, offset=2), width=4)
    params = module.init(jax.random.key(0), PLACES)
    table = params['params']['table']
    assert table.shape == (14, 4)
    np.testing.assert_array_equal(module.apply(params, PLACES)[0], table[2:])


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize(
    'config', [LearnedConfig(12), LearnedConfig(12, offset=2), Grid2DConfig(3, 4)]
)
def test_places_outside_give_nan_and_are_never_clamped(config, dtype):
    got = added(config, jnp.array([[11, 12, 1000, -3, 0]]), dtype=dtype)[0]
    nan = np.isnan(got.astype(np.float32))
    assert nan[1:4].all() and not nan[[0, 4]].any()
