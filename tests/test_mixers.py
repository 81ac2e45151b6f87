"""What holds for every registered mixer. A new one is found through the registry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer import mixers, registry  # noqa: F401  (importing the package registers them)
from transformer.context import Context

MIXERS = [
    config for config, module in registry.registered().items() if hasattr(module, 'init_cache')
]
B, T, D = 2, 10, 32


def setup(config_type):
    mixer = registry.build(config_type(), width=D)
    x_BTD = jax.random.normal(jax.random.key(0), (B, T, D))
    segments_BT = jnp.array([[1] * T, [0] * 4 + [1] * (T - 4)])
    positions_BT = jnp.array([list(range(T)), [0] * 4 + list(range(T - 4))])
    ctx = Context.of(x_BTD[..., 0], positions_BT, segments_BT)
    params = mixer.init(jax.random.key(1), x_BTD, ctx)
    return mixer, params, x_BTD, ctx


def test_attention_is_among_them():
    assert 'AttentionConfig' in {m.__name__ for m in MIXERS}


@pytest.mark.parametrize('config_type', MIXERS)
@pytest.mark.parametrize('pieces', [(1,) * T, (4, 3, 3), (5, 1, 1, 1, 1, 1), (T,)])
def test_full_pass_equals_step_by_step(config_type, pieces):
    mixer, params, x_BTD, ctx = setup(config_type)
    whole, _ = mixer.apply(params, x_BTD, ctx)
    cache, parts, at = mixer.init_cache(B, T + 3), [], 0
    for size in pieces:
        piece = slice(at, at + size)
        here = ctx.replace(
            positions_BT=ctx.positions_BT[:, piece], segments_BT=ctx.segments_BT[:, piece]
        )
        y, cache = mixer.apply(params, x_BTD[:, piece], here, cache)
        parts.append(y)
        at += size
    real = np.asarray(ctx.segments_BT > 0)
    np.testing.assert_allclose(jnp.concatenate(parts, 1)[real], whole[real], atol=1e-5)


@pytest.mark.parametrize('config_type', MIXERS)
def test_no_look_ahead(config_type):
    mixer, params, x_BTD, ctx = setup(config_type)

    def output_at(t):
        grads = jax.grad(lambda x: jnp.square(mixer.apply(params, x, ctx)[0][:, t]).sum())(x_BTD)
        return jnp.abs(grads).sum((0, 2))

    for t in range(T):
        reach = output_at(t)
        assert (reach[t + 1 :] == 0).all()
        assert (reach[: t + 1] > 0).any()
