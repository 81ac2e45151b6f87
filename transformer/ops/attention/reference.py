"""Every step in sight. It honours everything; the other ways are tested against it."""

import jax
import jax.numpy as jnp

from transformer.ops import partition
from transformer.ops.masks import Mask

NEVER = -1e30  # added to the score of a forbidden pair


def reference(q_BNTH, k_BKSH, v_BKSH, mask: Mask, *, scale: float, drop, bias, softcap):
    """Scores, softmax in float32, weighted values.

    The softmax's division follows the product with the values: it is S / H times smaller there.
    """
    weights_BKGTS, total = _numerators(q_BNTH, k_BKSH, mask, scale, bias, softcap)
    if drop is not None:
        weights_BKGTS = drop(weights_BKGTS)
    out = _product('bkgts,bksh->bkgth', weights_BKGTS.astype(v_BKSH.dtype), v_BKSH)
    out /= jnp.where(total > 0, total, 1).astype(out.dtype)
    return out.reshape(q_BNTH.shape)


def weights(q_BNTH, k_BKSH, mask: Mask, *, scale: float, bias=None, softcap=None) -> jax.Array:
    """How much each query attends to each key, float32 [B, N, T, S]; arguments as of `attend`.

    Rows add up to 1, those of queries that see nothing to 0.
    """
    weights_BKGTS, total = _numerators(q_BNTH, k_BKSH, mask, scale, bias, softcap)
    weights_BKGTS /= jnp.where(total > 0, total, 1)
    return weights_BKGTS.reshape(*q_BNTH.shape[:3], k_BKSH.shape[2])


def scores(q_BKGTH, k_BKSH, allowed_BTS, added_BNTS, softcap) -> jax.Array:
    """cap(q k^T) + what is added, float32 [B, K, G, T, S]; hardly above NEVER where forbidden."""
    s = _product('bkgth,bksh->bkgts', q_BKGTH, k_BKSH, preferred_element_type=jnp.float32)
    if softcap is not None:
        s = softcap * jnp.tanh(s / softcap)
    if added_BNTS is not None:
        s += added_BNTS.reshape(-1, *s.shape[1:])
    return s + jnp.where(allowed_BTS, 0.0, NEVER)[:, None, None]


def _product(equation: str, x_BKGTX: jax.Array, y_BKSH: jax.Array, **how) -> jax.Array:
    """An einsum; on a single CPU with one axis for all heads and places that share keys.

    Of two axes XLA on a CPU transposes an operand. Elsewhere places may be split over devices.
    """
    if not partition.on_one_cpu():
        return jnp.einsum(equation, x_BKGTX, y_BKSH, **how)
    B, K, G, T, X = x_BKGTX.shape
    x_BKRX = x_BKGTX.reshape(B, K, G * T, X)
    z_BKRX = jnp.einsum(equation.replace('gt', 'r'), x_BKRX, y_BKSH, **how)
    return z_BKRX.reshape(B, K, G, T, -1)


def _numerators(q_BNTH, k_BKSH, mask, scale, bias, softcap):
    """The softmax's numerators [B, K, G, T, S] and their sum over S, float32."""
    B, N, T, H = q_BNTH.shape
    K, S = k_BKSH.shape[1:3]
    q_BKGTH = (q_BNTH * scale).reshape(B, K, N // K, T, H)
    added = None if bias is None else bias.dense(mask.offset, T, S)
    s = scores(q_BKGTH, k_BKSH, mask.dense(T, S), added, softcap)
    # A query that may see nothing has a maximum of NEVER; its weights, and its output, become zero.
    top = jnp.maximum(jax.lax.stop_gradient(s.max(-1, keepdims=True)), NEVER / 2)
    weights_BKGTS = jnp.exp(s - top)
    return weights_BKGTS, weights_BKGTS.sum(-1, keepdims=True)
