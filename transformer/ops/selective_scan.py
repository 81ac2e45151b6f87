"""The selective state space, https://arxiv.org/abs/2312.00752, as a scan over chunks.

B batch, T length, F channels, M state of a channel, C tokens of a chunk.
"""

import functools

import flax.struct
import jax
import jax.numpy as jnp
from jax import lax

from transformer.ops.segments import starts


@flax.struct.dataclass
class ScanState:
    """h of the last token and its segment."""

    h_BFM: jax.Array
    segment_B: jax.Array

    @classmethod
    def empty(cls, B: int, F: int, M: int) -> 'ScanState':
        """Nothing yet."""
        return cls(jnp.zeros((B, F, M), jnp.float32), jnp.zeros(B, jnp.int32))


def selective_scan(
    x_BTF: jax.Array,
    step_BTF: jax.Array,
    A_FM: jax.Array,
    B_BTM: jax.Array,
    C_BTM: jax.Array,
    segments_BT: jax.Array,
    state: ScanState | None = None,
    chunk: int = 32,
) -> tuple[jax.Array, ScanState]:
    """h_t = exp(step_t A) h_{t-1} + step_t B_t x_t, then y_t = C_t . h_t; float32 throughout.

    Parallel within a chunk, one chunk after the other. The states of one chunk are all that is in
    memory at a time: the backward pass computes them again. A token of another segment than the one
    before it finds h = 0.

    Args:
      A_FM: below 0.
      segments_BT: int32 ids, each of them in one piece.
      state: of the call before, or None.
      chunk: C. Where it does not divide T, the last chunk is shorter.

    Returns:
      y_BTF, float32, and the state after the last token.

    Raises:
      ValueError: `chunk` is below 1.
    """
    if chunk < 1:
        raise ValueError(f'selective_scan: chunk={chunk} cannot be used; accepted: at least 1')
    B, T, F = x_BTF.shape
    if state is None:
        state = ScanState.empty(B, F, A_FM.shape[-1])
    floats = (x.astype(jnp.float32) for x in (x_BTF, step_BTF, B_BTM, C_BTM))
    tokens = (starts(segments_BT, state.segment_B), *floats)
    of_chunk = functools.partial(_chunk, A_FM.astype(jnp.float32))

    h_BFM, parts, whole = state.h_BFM, [], T - T % chunk
    if whole:
        chunks = [x[:, :whole].reshape(B, -1, chunk, *x.shape[2:]).swapaxes(0, 1) for x in tokens]
        h_BFM, y = lax.scan(jax.checkpoint(of_chunk, prevent_cse=False), h_BFM, chunks)
        parts.append(y.swapaxes(0, 1).reshape(B, whole, F))
    if whole < T:
        h_BFM, y = jax.checkpoint(of_chunk)(h_BFM, [x[:, whole:] for x in tokens])
        parts.append(y)
    return jnp.concatenate(parts, axis=1), ScanState(h_BFM, segments_BT[:, -1])


def _chunk(A_FM, h_BFM, tokens):
    """h after a chunk and its outputs."""
    begins_BC, x_BCF, step_BCF, B_BCM, C_BCM = tokens
    keep_BCFM = jnp.exp(step_BCF[..., None] * A_FM[None, None])
    keep_BCFM = jnp.where(begins_BC[..., None, None], 0, keep_BCFM)
    add_BCFM = (step_BCF * x_BCF)[..., None] * B_BCM[:, :, None]
    add_BCFM = add_BCFM.at[:, 0].add(keep_BCFM[:, 0] * h_BFM)

    h_BCFM = _recurrence(keep_BCFM, add_BCFM)
    return h_BCFM[:, -1], jnp.einsum('bcfm,bcm->bcf', h_BCFM, C_BCM)


def _scan(keep, add, reverse=False):
    def then(first, second):
        (keep1, add1), (keep2, add2) = first, second
        return keep1 * keep2, keep2 * add1 + add2

    return lax.associative_scan(then, (keep, add), reverse=reverse, axis=1)[1]


@jax.custom_vjp
def _recurrence(keep_BCFM, add_BCFM):
    """h_t = keep_t h_{t-1} + add_t from h = 0; its gradient is the same recurrence, backwards."""
    return _scan(keep_BCFM, add_BCFM)


def _forward(keep_BCFM, add_BCFM):
    h_BCFM = _scan(keep_BCFM, add_BCFM)
    return h_BCFM, (keep_BCFM, h_BCFM)


def _backward(kept, grad_BCFM):
    keep_BCFM, h_BCFM = kept
    none_B1FM = jnp.zeros_like(h_BCFM[:, :1])
    after_BCFM = jnp.concatenate([keep_BCFM[:, 1:], none_B1FM], axis=1)
    before_BCFM = jnp.concatenate([none_B1FM, h_BCFM[:, :-1]], axis=1)
    grad_BCFM = _scan(after_BCFM, grad_BCFM, reverse=True)
    return grad_BCFM * before_BCFM, grad_BCFM


_recurrence.defvjp(_forward, _backward)
