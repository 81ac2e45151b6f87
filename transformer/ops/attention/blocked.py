"""Attention by blocks of queries, for CPUs: scores that stay in the cache, none that are kept.

The backward pass makes them again, https://arxiv.org/abs/2112.05682. Memory grows with the length.

B batch, T query length, S key length, N heads, K key/value heads, H head width.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from transformer.ops import partition
from transformer.ops.attention.reference import reference
from transformer.ops.kept import ATTENTION
from transformer.ops.masks import Mask, starts_at_zero

BLOCKS = (64, 128)  # queries that are scored at once, of short sequences and of long ones
PIECES = 8  # parts of the queries, each of which reads only keys that a causal mask leaves
CACHE = 2**20  # bytes of scores that are worked on at once


def blocked(q_BNTH, k_BKSH, v_BKSH, mask: Mask, *, scale: float, drop, bias, softcap):
    """`reference`, row after row, block after block."""
    B, N, T, _ = q_BNTH.shape
    short, long = BLOCKS
    block = short if PIECES * short >= T else long
    together = CACHE // (N * min(T, block) * k_BKSH.shape[2] * 4)
    if together >= B or short > T:  # the keys of few queries are read where they lie
        return reference(
            q_BNTH, k_BKSH, v_BKSH, mask, scale=scale, drop=drop, bias=bias, softcap=softcap
        )

    def rows(q, k, v, t, s, prefix, numbers):
        own = mask.replace(segments_BT=t, segments_BS=s, prefix_BS=prefix)
        dropped = None if drop is None else drop.replace(rows_B=numbers)
        how = {'scale': scale, 'bias': bias, 'softcap': softcap}
        return _pieces(q, k, v, own, dropped, block, how)

    numbers = None if drop is None else drop.rows_B
    arrays = q_BNTH, k_BKSH, v_BKSH, mask.segments_BT, mask.segments_BS, mask.prefix_BS, numbers
    if partition.ways():  # XLA splits rows, but not the steps of a loop
        return checkpoint_name(jax.checkpoint(rows)(*arrays), ATTENTION)
    together = next(n for n in range(max(together, 1), 0, -1) if B % n == 0)
    arrays = jax.tree.map(lambda x: x.reshape(-1, together, *x.shape[1:]), arrays)
    out = lax.map(lambda x: jax.checkpoint(rows, prevent_cse=False)(*x), arrays)
    return checkpoint_name(out.reshape(q_BNTH.shape), ATTENTION)


def _pieces(q_BNTH, k_BKSH, v_BKSH, mask: Mask, drop, block: int, how) -> jax.Array:
    """Each piece of the queries with the keys that it may see at all."""
    B, N, T, _ = q_BNTH.shape
    K, S = k_BKSH.shape[1:3]
    size = -(-T // (PIECES * block)) * block
    made = []
    for start in range(0, T, size):
        stop = min(start + size, T)
        first, last = _seen(mask, start, stop, S, how['bias'])
        k, v = (lax.slice_in_dim(x, first, last, axis=2) for x in (k_BKSH, v_BKSH))
        keys = mask.replace(
            segments_BS=None if mask.segments_BS is None else mask.segments_BS[:, first:last],
            prefix_BS=None if mask.prefix_BS is None else mask.prefix_BS[:, first:last],
        )

        def one(q, t, at, k=k, v=v, keys=keys, first=first):
            own = keys.replace(segments_BT=t, offset=mask.offset + at - first)
            part = drop and drop.part((K, N // K, T, S), (0, 0, at, first))
            return reference(q, k, v, own, drop=part, **how)

        t_BT = None if mask.segments_BT is None else mask.segments_BT[:, start:stop]
        made.append(_blocks(one, q_BNTH[:, :, start:stop], t_BT, start, block))
    return jnp.concatenate(made, 2)


def _seen(mask: Mask, start: int, stop: int, S: int, bias) -> tuple[int, int]:
    """First and last + 1 of the keys that queries `start` to `stop` - 1 may see."""
    first, last = 0, S
    if not starts_at_zero(mask):
        return first, last
    if mask.causal and mask.prefix_BS is None:
        last = min(stop, S)
    elif mask.window is not None:
        last = min(stop + mask.window - 1, S)
    if mask.window is not None and bias is None:  # a bias may depend on the number of the key
        first = min(max(start - mask.window + 1, 0), last - 1)
    return first, max(last, 1)


def _blocks(one, q_BNTH, t_BT, start: int, block: int) -> jax.Array:
    """A piece, block after block where it is longer than one."""
    whole = q_BNTH.shape[2] // block * block
    if q_BNTH.shape[2] <= block:
        return one(q_BNTH, t_BT, start)

    def cut(x, axis):
        x = lax.slice_in_dim(x, 0, whole, axis=axis)
        x = x.reshape(*x.shape[:axis], -1, block, *x.shape[axis + 1 :])
        return jnp.moveaxis(x, axis, 0)

    starts = start + block * jnp.arange(whole // block)
    arrays = cut(q_BNTH, 2), None if t_BT is None else cut(t_BT, 1), starts
    out = lax.map(lambda x: jax.checkpoint(one, prevent_cse=False)(*x), arrays)
    out = jnp.moveaxis(out, 0, 2).reshape(*q_BNTH.shape[:2], whole, -1)
    if whole == q_BNTH.shape[2]:
        return out
    rest = one(q_BNTH[:, :, whole:], None if t_BT is None else t_BT[:, whole:], start + whole)
    return jnp.concatenate([out, rest], 2)
