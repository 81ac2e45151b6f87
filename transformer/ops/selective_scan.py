"""The selective state space, https://arxiv.org/abs/2312.00752, as a scan over chunks.

B batch, T length, F channels, M state of a channel, C tokens of a chunk.
"""

import functools

import flax.struct
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from transformer.ops import handoff, partition
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

    Where devices split the sequence (`ops.partition`), each works on its part from h = 0, then adds
    what it reads of the h that those before it hand along (`ops.handoff`).

    Args:
      A_FM: below 0.
      segments_BT: int32 ids, each of them in one piece.
      state: of the call before, or None.
      chunk: C. Where it does not divide T, the last chunk is shorter.

    Returns:
      y_BTF, float32, and the state after the last token.

    Raises:
      ValueError: `chunk` is below 1, or T does not split evenly over devices.
    """
    if chunk < 1:
        raise ValueError(f'selective_scan: chunk={chunk} cannot be used; accepted: at least 1')
    if state is None and partition.CONTEXT in partition.ways():
        return _split(x_BTF, step_BTF, A_FM, B_BTM, C_BTM, segments_BT, chunk)
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


def _split(x_BTF, step_BTF, A_FM, B_BTM, C_BTM, segments_BT, chunk):
    """`selective_scan` of a sequence that devices hold in parts."""
    handoff.check_length(x_BTF.shape[1], 'selective_scan')
    rows = partition.dividing(partition.ROWS, len(x_BTF))
    channels = partition.dividing(partition.HEADS, len(A_FM))
    x = PartitionSpec(rows, partition.CONTEXT, channels)
    shared = PartitionSpec(rows, partition.CONTEXT)

    def part(x_BTF, step_BTF, A_FM, B_BTM, C_BTM, segments_BT):
        before_B = handoff.last_before(segments_BT, 1)[:, 0]
        empty = ScanState.empty(len(x_BTF), *A_FM.shape).replace(segment_B=before_B)
        y_BTF, own = selective_scan(x_BTF, step_BTF, A_FM, B_BTM, C_BTM, segments_BT, empty, chunk)
        goes_on_BT = jnp.cumsum(starts(segments_BT, before_B), axis=1) == 0
        passed_BTF = jnp.cumsum(step_BTF.astype(jnp.float32), axis=1)
        A_FM = A_FM.astype(jnp.float32)

        def kept(passed_BF, goes_on_B):
            keep_BFM = jnp.exp(passed_BF[..., None] * A_FM[None])
            return jnp.where(goes_on_B[:, None, None], keep_BFM, 0)

        keep_BFM = kept(passed_BTF[:, -1], goes_on_BT[:, -1])
        h_BFM = handoff.state_before(keep_BFM, own.h_BFM)

        @jax.checkpoint
        def read(token):
            passed_BF, goes_on_B, C_BM = token
            return jnp.einsum('bfm,bm->bf', kept(passed_BF, goes_on_B) * h_BFM, C_BM)

        tokens = (passed_BTF, goes_on_BT, C_BTM.astype(jnp.float32))
        tokens = [x.swapaxes(0, 1) for x in tokens]
        y_BTF += lax.map(read, tokens, batch_size=chunk).swapaxes(0, 1)
        state = own.replace(h_BFM=own.h_BFM + keep_BFM * h_BFM)
        return y_BTF, jax.tree.map(lambda x: x[None], state)

    in_specs = (x, x, PartitionSpec(channels), shared, shared, shared)
    states = ScanState(
        PartitionSpec(partition.CONTEXT, rows, channels), PartitionSpec(partition.CONTEXT, rows)
    )
    y_BTF, state = partition.mapped(part, in_specs, (x, states))(
        x_BTF, step_BTF, A_FM, B_BTM, C_BTM, segments_BT
    )
    return y_BTF, jax.tree.map(lambda x: x[-1], state)
