"""Causal linear attention that forgets at a constant rate, in chunks.

B batch, N heads, T length, H key width, P value width; M chunks of C tokens.
"""

import flax.struct
import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from transformer.ops import handoff, partition
from transformer.ops.segments import starts


@flax.struct.dataclass
class RetentionState:
    """What is kept of the past, sum_s gamma^(t - s) k_s v_s^T, and the segment that it is of."""

    sum_BNHP: jax.Array
    segment_B: jax.Array

    @classmethod
    def empty(cls, B: int, N: int, H: int, P: int) -> 'RetentionState':
        """Nothing yet."""
        return cls(jnp.zeros((B, N, H, P), jnp.float32), jnp.zeros(B, jnp.int32))


def retention(
    q_BNTH: jax.Array,
    k_BNTH: jax.Array,
    v_BNTP: jax.Array,
    log_decay_N: jax.Array,
    segments_BT: jax.Array,
    state: RetentionState | None = None,
    chunk: int = 64,
) -> tuple[jax.Array, RetentionState]:
    """y_t = sum of gamma^(t - s) (q_t . k_s) v_s over s <= t of t's segment; float32 throughout.

    Chunkwise form, https://arxiv.org/abs/2307.08621: within a chunk by scores, from chunk to chunk
    by a state. One chunk of all tokens is the parallel form, chunks of one token the recurrent one.
    Memory grows with T * C + T / C * H * P. A token of another segment than the one before it finds
    an empty state.

    Where devices split the sequence (`ops.partition`), each works on its part from an empty state,
    then adds what it reads of the state that those before it hand along (`ops.handoff`).

    Args:
      log_decay_N: log gamma of each head, at most 0; 0 forgets nothing.
      segments_BT: int32 ids, each of them in one piece.
      state: of the call before, or None.
      chunk: C. Where it does not divide T, the last chunk is shorter.

    Returns:
      y_BNTP, float32, and the state after the last token.

    Raises:
      ValueError: `chunk` is below 1, or T does not split evenly over devices.
    """
    if chunk < 1:
        raise ValueError(f'retention: chunk={chunk} cannot be used; accepted: at least 1')
    if state is None and partition.CONTEXT in partition.ways():
        return _split(q_BNTH, k_BNTH, v_BNTP, log_decay_N, segments_BT, chunk)
    B, N, T, H = q_BNTH.shape
    if state is None:
        state = RetentionState.empty(B, N, H, v_BNTP.shape[-1])
    whole = T - T % chunk
    if 0 < whole < T:
        parts = []
        for part in (slice(whole), slice(whole, T)):
            qkv = (x[:, :, part] for x in (q_BNTH, k_BNTH, v_BNTP))
            y, state = retention(*qkv, log_decay_N, segments_BT[:, part], state, chunk)
            parts.append(y)
        return jnp.concatenate(parts, axis=2), state

    C = min(chunk, T)
    q, k, v = (x.astype(jnp.float32).reshape(B, N, T // C, C, -1) for x in (q_BNTH, k_BNTH, v_BNTP))
    begins_BT = starts(segments_BT, state.segment_B)
    # Counts the segments within a chunk; 0 goes on with the last one of the chunk before.
    run_BMC = jnp.cumsum(begins_BT.reshape(B, T // C, C), axis=-1)
    at_C = jnp.arange(C)
    power = lambda n: jnp.exp(log_decay_N.reshape(N, *[1] * n.ndim) * n[None])  # noqa: E731

    gap_CC = at_C[:, None] - at_C[None, :]
    same_BMCC = (run_BMC[..., :, None] == run_BMC[..., None, :]) & (gap_CC >= 0)[None, None]
    # Above the diagonal the power would overflow, were the gap not held at 0.
    weight_NCC = power(jnp.maximum(gap_CC, 0))
    scores = jnp.einsum('bnmch,bnmsh->bnmcs', q, k) * weight_NCC[None, :, None]
    scores = jnp.where(same_BMCC[:, None], scores, 0)
    y_BNMCP = jnp.einsum('bnmcs,bnmsp->bnmcp', scores, v)

    stays_BMC = run_BMC == run_BMC[..., -1:]
    kept = k * (power(C - 1 - at_C)[None, :, None] * stays_BMC[:, None])[..., None]
    added_MBNHP = jnp.einsum('bnmch,bnmcp->mbnhp', kept, v)
    passes_MB = (run_BMC[..., -1] == 0).swapaxes(0, 1)
    factor_MBN = passes_MB[..., None] * jnp.exp(log_decay_N * C)[None, None]

    def next_chunk(sum_BNHP, xs):
        added_BNHP, factor_BN = xs
        return sum_BNHP * factor_BN[..., None, None] + added_BNHP, sum_BNHP

    last_BNHP, before_MBNHP = lax.scan(next_chunk, state.sum_BNHP, (added_MBNHP, factor_MBN))
    sees_BNMC = power(at_C + 1)[None, :, None] * (run_BMC == 0)[:, None]
    y_BNMCP += jnp.einsum('bnmch,mbnhp->bnmcp', q * sees_BNMC[..., None], before_MBNHP)
    return y_BNMCP.reshape(B, N, T, -1), RetentionState(last_BNHP, segments_BT[:, -1])


def _split(q_BNTH, k_BNTH, v_BNTP, log_decay_N, segments_BT, chunk):
    """`retention` of a sequence that devices hold in parts."""
    handoff.check_length(q_BNTH.shape[2], 'retention')
    rows = partition.dividing(partition.ROWS, len(q_BNTH))
    heads = partition.dividing(partition.HEADS, len(log_decay_N))
    x, ids = PartitionSpec(rows, heads, partition.CONTEXT), PartitionSpec(rows, partition.CONTEXT)

    def part(q_BNTH, k_BNTH, v_BNTP, log_decay_N, segments_BT):
        (B, N, T, H), P = q_BNTH.shape, v_BNTP.shape[-1]
        before_B = handoff.last_before(segments_BT, 1)[:, 0]
        empty = RetentionState.empty(B, N, H, P).replace(segment_B=before_B)
        y_BNTP, own = retention(q_BNTH, k_BNTH, v_BNTP, log_decay_N, segments_BT, empty, chunk)
        goes_on_BT = jnp.cumsum(starts(segments_BT, before_B), axis=1) == 0
        sees_BNT = jnp.exp(log_decay_N[:, None] * (1 + jnp.arange(T))[None])[None]
        sees_BNT = sees_BNT * goes_on_BT[:, None]
        keep_BN11 = sees_BNT[:, :, -1, None, None]
        sum_BNHP = handoff.state_before(keep_BN11, own.sum_BNHP)
        reads_BNTH = q_BNTH.astype(jnp.float32) * sees_BNT[..., None]
        y_BNTP += jnp.einsum('bnth,bnhp->bntp', reads_BNTH, sum_BNHP)
        state = own.replace(sum_BNHP=own.sum_BNHP + keep_BN11 * sum_BNHP)
        return y_BNTP, jax.tree.map(lambda x: x[None], state)

    in_specs = (x, x, x, PartitionSpec(heads), ids)
    states = RetentionState(
        PartitionSpec(partition.CONTEXT, rows, heads), PartitionSpec(partition.CONTEXT, rows)
    )
    y_BNTP, state = partition.mapped(part, in_specs, (x, states))(
        q_BNTH, k_BNTH, v_BNTP, log_decay_N, segments_BT
    )
    return y_BNTP, jax.tree.map(lambda x: x[-1], state)
