"""What holds for every registered mixer. A new one is found through the registry.

The checks are plain functions of a config, so that a mixer from anywhere can be put through them.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer import mixers, registry  # noqa: F401  (importing the package registers them)
from transformer.context import Context

MODULES = {m: c for c, m in reversed(registry.registered().items()) if hasattr(m, 'init_cache')}
MIXERS = sorted(MODULES.values(), key=lambda config: config.__name__)  # one config of each module
B, T, D, S = 2, 10, 32, 6

PADDED = np.array([[1] * T, [0] * 4 + [1] * (T - 4)], np.int32)
PACKED = np.array([[1] * 3 + [2] * 5 + [0] * 2, [0] * 2 + [1] * 3 + [2] * 5], np.int32)
MEMORY = np.array([[1, 1, 2, 2, 0, 0], [0, 1, 1, 2, 2, 3]], np.int32)


def normal(seed, *shape) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def context(segments_BT) -> Context:
    """Rows of documents, and an encoder's output for those mixers that read one."""
    at_BT = np.broadcast_to(np.arange(T), (B, T))
    first_BT = np.diff(segments_BT, axis=1, prepend=-1) != 0
    positions_BT = at_BT - np.maximum.accumulate(np.where(first_BT, at_BT, 0), axis=1)
    return Context(
        positions_BT.astype(np.int32),
        segments_BT,
        np.arange(B, dtype=np.int32),
        memory_BSD=normal(3, B, S, D),
        memory_segments_BS=MEMORY,
    )


def part(ctx: Context, rows: slice, tokens: slice) -> Context:
    return jax.tree.map(lambda x: x[rows], ctx.replace(depth=None)).replace(
        positions_BT=ctx.positions_BT[rows, tokens],
        segments_BT=ctx.segments_BT[rows, tokens],
        depth=ctx.depth,
    )


@functools.lru_cache
def setup(config, dtype='float32'):
    """Random parameters, drawn without compiling `init`; every scale and bias matters."""
    mixer = registry.build(config, width=D, dtype=dtype)
    x_BTD = normal(0, B, T, D)
    shapes = jax.eval_shape(mixer.init, jax.random.key(0), x_BTD, context(PADDED))
    params = jax.tree.map(lambda p: 0.2 * normal(1, *p.shape), shapes)
    return mixer, jax.jit(mixer.apply), params, x_BTD


def check_full_pass_equals_pieces(config):
    mixer, apply, params, x_BTD = setup(config)
    for segments_BT in (PADDED, PACKED):
        ctx, real = context(segments_BT), segments_BT > 0
        whole, none = apply(params, x_BTD, ctx)
        assert none is None
        # Pieces that end where documents end, and pieces that end in their middle.
        for pieces in ((1,) * T, (1, 1, 1, 5, 1, 1), (5, 5)):
            cache, parts = mixer.init_cache(B, T + 3), []
            for end, size in zip(np.cumsum(pieces), pieces):
                tokens = slice(end - size, end)
                y, cache = apply(params, x_BTD[:, tokens], part(ctx, slice(B), tokens), cache)
                parts.append(np.asarray(y))
            whole, parts = np.asarray(whole), np.concatenate(parts, 1)
            np.testing.assert_allclose(parts[real], whole[real], atol=1e-5)


def check_sees_only_its_own_past(config):
    _, apply, params, x_BTD = setup(config)
    cotangent_BTD = normal(4, *x_BTD.shape)

    @jax.jit
    def reach(ctx):
        """How much output t depends on input s and on slot s of the memory, [B, t, s]."""

        def output(x, memory, t):
            y_BTD, _ = apply(params, x, ctx.replace(memory_BSD=memory))
            return (y_BTD * cotangent_BTD)[:, t].sum()

        grads = jax.vmap(jax.grad(output, (0, 1)), (None, None, 0))
        return [jnp.abs(g).sum(-1).swapaxes(0, 1) for g in grads(x_BTD, ctx.memory_BSD, at_T)]

    at_T = jnp.arange(T)
    for segments_BT in (PADDED, PACKED):
        tokens_BTS, memory_BTS = (np.asarray(r) for r in reach(context(segments_BT)))
        own_BTS = segments_BT[:, :, None] == segments_BT[:, None, :]
        real_BT = segments_BT > 0
        hidden = ~(own_BTS & np.tri(T, dtype=bool)) & real_BT[:, :, None]
        assert (tokens_BTS[hidden] == 0).all()
        assert (np.einsum('btt->bt', tokens_BTS)[real_BT] > 0).all()
        others = (segments_BT[:, :, None] != MEMORY[:, None, :]) & real_BT[:, :, None]
        assert (memory_BTS[others] == 0).all()


def check_packed_equals_separate(config):
    _, apply, params, x_BTD = setup(config)
    ctx = context(PACKED)
    together, _ = apply(params, x_BTD, ctx)
    for b in range(B):
        for segment in range(1, PACKED[b].max() + 1):
            at = np.flatnonzero(PACKED[b] == segment)
            row, tokens = slice(b, b + 1), slice(at[0], at[-1] + 1)
            alone, _ = apply(params, x_BTD[row, tokens], part(ctx, row, tokens))
            np.testing.assert_allclose(alone, np.asarray(together)[row, tokens], atol=1e-5)


def check_gradient(config):
    _, apply, params, x_BTD = setup(config, 'bfloat16')
    ctx = context(PACKED)

    @jax.jit
    def gradient(params, x_BTD):
        loss = lambda *inputs: jnp.square(apply(*inputs, ctx)[0].astype(jnp.float32)).sum()  # noqa: E731
        return jax.grad(loss, (0, 1))(params, x_BTD)

    for path, g in jax.tree_util.tree_leaves_with_path(gradient(params, x_BTD)):
        assert np.isfinite(g).all(), jax.tree_util.keystr(path)
        assert np.any(g), jax.tree_util.keystr(path)


def check_cache_keeps_its_shape(config):
    """One compiled step serves, and costs the same, however much was decoded before."""
    for dtype in ('float32', 'bfloat16'):
        mixer, apply, params, x_BTD = setup(config, dtype)
        ctx = part(context(PACKED), slice(B), slice(1))
        before = mixer.init_cache(B, S)
        _, after = jax.eval_shape(apply, params, x_BTD[:, :1], ctx, before)
        kinds = [
            jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), c) for c in (before, after)
        ]
        assert kinds[0] == kinds[1]
        assert all(x.ndim == 0 or len(x) == B for x in jax.tree.leaves(before))


def check_rows_can_change_places(config):
    mixer, apply, params, x_BTD = setup(config)
    ctx, first, then = context(PADDED), slice(5), slice(5, T)
    flip = lambda tree: jax.tree.map(lambda x: np.asarray(x)[::-1] if np.ndim(x) else x, tree)  # noqa: E731
    cache = mixer.init_cache(B, T)
    _, cache = apply(params, x_BTD[:, first], part(ctx, slice(B), first), cache)
    here = part(ctx, slice(B), then)
    y, _ = apply(params, x_BTD[:, then], here, cache)
    flipped, _ = apply(params, x_BTD[::-1, then], flip(here), flip(cache))
    np.testing.assert_allclose(np.asarray(flipped)[::-1], y, atol=1e-5)


def check_decoding_cost(config):
    """A state of fixed size costs the same whatever length it is for; attention pays for slots."""
    mixer, _, params, x_BTD = setup(config)

    def step(length):
        cache = jax.eval_shape(lambda: mixer.init_cache(1, length))
        ctx = Context.of(
            np.zeros((1, 1)),
            memory_BSD=jnp.zeros((1, length, D)),
            memory_segments_BS=jnp.ones((1, length), jnp.int32),
        )
        compiled = jax.jit(mixer.apply).lower(params, x_BTD[:1, :1], ctx, cache).compile()
        return compiled.cost_analysis()['flops'], [x.shape for x in jax.tree.leaves(cache)]

    (short, few), (long, many) = step(16), step(4096)
    assert short > 0
    if few == many:
        assert long == short
    else:
        assert long > 10 * short


CHECKS = [
    check_full_pass_equals_pieces,
    check_sees_only_its_own_past,
    check_packed_equals_separate,
    check_gradient,
    check_cache_keeps_its_shape,
    check_rows_can_change_places,
    check_decoding_cost,
]


def test_they_are_found():
    names = {m.__name__ for m in MIXERS}
    assert names >= {'AttentionConfig', 'LinearAttentionConfig', 'MambaConfig', 'RetNetConfig'}


@pytest.mark.parametrize('config_type', MIXERS)
@pytest.mark.parametrize('check', CHECKS)
def test_mixer(check, config_type):
    check(config_type())


@dataclasses.dataclass(frozen=True)
class MeanConfig:
    """The mean of everything so far, scaled."""

    leak: bool = False  # whether documents run into one another

    @classmethod
    def of(cls, options):
        return cls()


class Mean(nn.Module):
    config: MeanConfig
    width: int
    dtype: str = 'float32'

    def init_cache(self, batch, length):
        return jnp.zeros((batch, self.width)), jnp.zeros(batch), jnp.zeros(batch, jnp.int32)

    @nn.compact
    def __call__(self, x_BTD, ctx, cache=None):
        def step(past, token):
            (sum_BD, count_B, before_B), (x_BD, segment_B) = past, token
            goes_on_B = jnp.where(before_B == segment_B, 1.0, 1.0 * self.config.leak)
            sum_BD = sum_BD * goes_on_B[:, None] + x_BD
            count_B = count_B * goes_on_B + 1
            return (sum_BD, count_B, segment_B), sum_BD / count_B[:, None]

        past = self.init_cache(len(x_BTD), 0) if cache is None else cache
        tokens = (x_BTD.astype(jnp.float32).swapaxes(0, 1), ctx.segments_BT.T)
        past, y_TBD = jax.lax.scan(step, past, tokens)
        scale_D = self.param('scale', nn.initializers.ones, (self.width,))
        y_BTD = (y_TBD.swapaxes(0, 1) * scale_D[None, None]).astype(self.dtype)
        return y_BTD, None if cache is None else past


@pytest.fixture
def mean():
    registry.register(MeanConfig, name='mean')(Mean)
    yield MeanConfig
    del registry._MODULES[MeanConfig], registry._NAMES['mean']


@pytest.mark.parametrize('check', CHECKS)
def test_a_new_idea_passes_the_same_checks(check, mean):
    assert registry.names()['mean'] is mean
    check(mean())


def test_the_checks_find_a_leak(mean):
    """A mixer whose documents run into one another is caught by each of the two checks."""
    for check in (check_sees_only_its_own_past, check_packed_equals_separate):
        with pytest.raises(AssertionError):
            check(mean(leak=True))
