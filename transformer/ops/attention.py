"""Scaled dot-product attention, https://arxiv.org/abs/1706.03762, behind one function.

B batch, T query length, S key length, N heads, K key/value heads, G = N / K heads per key/value
head, H head width.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from transformer.ops.masks import Mask

NEVER = -1e30  # added to the score of a forbidden pair


def reference(q_BNTH, k_BKSH, v_BKSH, mask: Mask, *, scale: float, drop: Callable | None):
    """Scores, softmax in float32, weighted values: every step in sight.

    The softmax's division follows the product with the values: it is S / H times smaller there.
    """
    B, N, T, H = q_BNTH.shape
    K, S = k_BKSH.shape[1:3]
    q_BKGTH = (q_BNTH * scale).reshape(B, K, N // K, T, H)
    scores = jnp.einsum('bkgth,bksh->bkgts', q_BKGTH, k_BKSH, preferred_element_type=jnp.float32)
    scores += jnp.where(mask.dense(T, S), 0.0, NEVER)[:, None, None]
    # A query that may see nothing has a maximum of NEVER; its weights, and its output, become zero.
    top = jnp.maximum(jax.lax.stop_gradient(scores.max(-1, keepdims=True)), NEVER / 2)
    weights_BKGTS = jnp.exp(scores - top)
    total = weights_BKGTS.sum(-1, keepdims=True)
    if drop is not None:
        weights_BKGTS = drop(weights_BKGTS)
    out = jnp.einsum('bkgts,bksh->bkgth', weights_BKGTS.astype(v_BKSH.dtype), v_BKSH)
    out /= jnp.where(total > 0, total, 1).astype(out.dtype)
    return out.reshape(B, N, T, H)


def xla(q_BNTH, k_BKSH, v_BKSH, mask: Mask, *, scale: float, drop: Callable | None):
    """`jax.nn.dot_product_attention` as XLA compiles it. Refuses dropout."""
    if drop is not None:
        raise ValueError("attention backend 'xla' has no dropout on weights; use 'reference'")
    T, S = q_BNTH.shape[2], k_BKSH.shape[2]
    q, k, v = (x.swapaxes(1, 2) for x in (q_BNTH, k_BKSH, v_BKSH))
    allowed = mask.dense(T, S)[:, None]
    out = jax.nn.dot_product_attention(q, k, v, mask=allowed, scale=scale, implementation='xla')
    sees_something = allowed.any(-1)[..., None]
    return jnp.where(sees_something, out.swapaxes(1, 2), 0)


BACKENDS = {'reference': reference, 'xla': xla}


def attend(
    q_BNTH: jax.Array,
    k_BKSH: jax.Array,
    v_BKSH: jax.Array,
    mask: Mask,
    *,
    scale: float,
    backend: str = 'reference',
    drop: Callable | None = None,
) -> jax.Array:
    """softmax(scale * q k^T) v over the pairs that `mask` allows; [B, N, T, H].

    Args:
      scale: factor on the scores, usually 1 / sqrt(H).
      backend: a key of `BACKENDS`. None falls back to another.
      drop: dropout for the weights [B, K, G, T, S], or None.

    Raises:
      ValueError: an unknown backend, or one that lacks what is asked.
    """
    if backend not in BACKENDS:
        raise ValueError(f'attention backend {backend!r} is unknown; known: {sorted(BACKENDS)}')
    return BACKENDS[backend](q_BNTH, k_BKSH, v_BKSH, mask, scale=scale, drop=drop)
