"""Every backend honours the whole mask, forward and backward, or refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer.ops.attention import BACKENDS, attend
from transformer.ops.masks import Mask

B, T, N, K, H = 2, 12, 4, 2, 8
SEGMENTS = np.array([[1] * 5 + [2] * 7, [0] * 3 + [1] * 9], np.int32)

MASKS = {
    'none': Mask(),
    'causal': Mask(causal=True),
    'window': Mask(causal=True, window=3),
    'window both ways': Mask(window=3),
    'packed': Mask(SEGMENTS, SEGMENTS, causal=True),
    'packed window': Mask(SEGMENTS, SEGMENTS, causal=True, window=4),
    'offset': Mask(SEGMENTS[:, -4:], SEGMENTS, offset=8, causal=True),
    'nothing to see': Mask(np.full((B, T), 9, np.int32), SEGMENTS, causal=True),
}


def inputs(T):
    keys = jax.random.split(jax.random.key(0), 4)
    q = jax.random.normal(keys[0], (B, N, T, H))
    k, v = (jax.random.normal(key, (B, K, 12, H)) for key in keys[1:3])
    return q, k, v, jax.random.normal(keys[3], (B, N, T, H))


def allowed(mask, b, t, s):
    """The description read literally, one pair at a time."""
    at = t + int(mask.offset)
    if mask.causal and s > at:
        return False
    if mask.window is not None and abs(at - s) >= mask.window:
        return False
    return mask.segments_BT is None or mask.segments_BT[b, t] == mask.segments_BS[b, s]


def by_loops(q, k, v, mask):
    """Softmax attention one query at a time, float64."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    out = np.zeros(q.shape)
    for b, n, t in np.ndindex(q.shape[:3]):
        sees = [s for s in range(k.shape[2]) if allowed(mask, b, t, s)]
        if sees:
            g = n // (N // K)
            scores = k[b, g, sees] @ q[b, n, t] / np.sqrt(H)
            weights = np.exp(scores - scores.max())
            out[b, n, t] = (weights / weights.sum()) @ v[b, g, sees]
    return out


@pytest.mark.parametrize('name', MASKS)
@pytest.mark.parametrize('backend', BACKENDS)
def test_forward_is_the_definition(backend, name):
    mask = MASKS[name]
    q, k, v, _ = inputs(4 if name == 'offset' else T)
    out = attend(q, k, v, mask, scale=H**-0.5, backend=backend)
    np.testing.assert_allclose(out, by_loops(q, k, v, mask), atol=1e-5)


@pytest.mark.parametrize('name', MASKS)
@pytest.mark.parametrize('backend', sorted(set(BACKENDS) - {'reference'}))
def test_gradients_agree_with_the_reference(backend, name):
    q, k, v, cotangent = inputs(4 if name == 'offset' else T)

    def gradients(backend):
        f = lambda *qkv: attend(*qkv, MASKS[name], scale=H**-0.5, backend=backend)  # noqa: E731
        return jax.vjp(f, q, k, v)[1](cotangent)

    for ours, reference in zip(gradients(backend), gradients('reference')):
        assert jnp.isfinite(ours).all()
        np.testing.assert_allclose(ours, reference, atol=1e-5)


def test_nothing_falls_back():
    q, k, v, _ = inputs(T)
    with pytest.raises(ValueError, match='dropout'):
        attend(q, k, v, Mask(), scale=1.0, backend='xla', drop=lambda w: w)
    with pytest.raises(ValueError, match="'flash' is unknown; known: .*reference"):
        attend(q, k, v, Mask(), scale=1.0, backend='flash')
