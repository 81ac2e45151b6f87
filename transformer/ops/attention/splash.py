"""Splash attention: jax's flash attention kernel for TPUs, which skips what a mask hides.

B batch, T query length, S key length, N heads, K key/value heads, H head width.
"""

import contextlib
import contextvars
import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec

from transformer.ops import partition
from transformer.ops.attention import zigzag
from transformer.ops.kept import ATTENTION
from transformer.ops.masks import Mask
from transformer.ops.partition import CONTEXT

TILE = 128  # the kernel's lengths are multiples of it
BLOCKS = (512, 256, 128)  # lengths of the pieces that it works on, the largest that fits
NOWHERE = -1  # segment of the filling; no token has it

_interpreted = contextvars.ContextVar('interpreted', default=False)


@contextlib.contextmanager
def interpreted():
    """Within it, programs are traced with the kernel's Python instead of the kernel, for any
    platform, slowly. It is not chosen by platform: a host without a TPU compiles for TPUs too.
    """
    token = _interpreted.set(True)
    try:
        yield
    finally:
        _interpreted.reset(token)


def splash(q_BNTH, k_BKSH, v_BKSH, mask: Mask, *, scale: float, drop, bias, softcap):
    """Memory grows with T + S. Lengths are filled up to multiples of 128 and cut again.

    Under a mesh (`jax.set_mesh`), each device works on its rows and heads. Where devices split
    sequences, each works on its queries and gathers the keys and values; a causal mask is the same
    work for all where the halves of their parts are multiples of 128 (`zigzag`).

    Raises:
      ValueError: a causal mask or a window where T is not S.
    """
    del drop, bias  # refused by `attend`
    B, N, T, _ = q_BNTH.shape
    K, S = k_BKSH.shape[1:3]
    if T != S and (mask.causal or mask.window is not None):
        raise ValueError(
            f"attention backend 'splash' has no causal mask or window for {T} queries and {S} "
            "keys; use 'reference' or 'xla'"
        )
    if mask.window is not None and mask.window >= T:
        mask = mask.replace(window=None)  # it hides nothing
    n = partition.ways().get(CONTEXT, 1)
    t, s = mask.segments_BT, mask.segments_BS
    if t is None and (T % (n * TILE) or S % (n * TILE)):
        t, s = jnp.zeros((B, T), jnp.int32), jnp.zeros((B, S), jnp.int32)
    q, k, v = (_filled(x, n, 2, 0) for x in (q_BNTH * scale, k_BKSH, v_BKSH))
    segments = None if t is None else (_filled(t, n, 1, NOWHERE), _filled(s, n, 1, NOWHERE))
    heads = partition.dividing(partition.HEADS, K)
    ways = partition.ways()
    own = N // math.prod(ways[axis] for axis in heads or ())
    dealt = n > 1 and mask.causal and q.shape[2] % (2 * n * TILE) == 0
    kernel = _kernel(own, q.shape[2], k.shape[2], n, dealt, mask, softcap)

    def part(kernel, q, k, v, segments):
        if n > 1:
            k, v = (lax.all_gather(x, CONTEXT, axis=2, tiled=True) for x in (k, v))
        if n > 1 and segments:
            segments = segments[0], lax.all_gather(segments[1], CONTEXT, axis=1, tiled=True)
        if dealt:
            q = zigzag.deal(q, 2)
            segments = segments and (zigzag.deal(segments[0], 1), segments[1])
        y_BNTH = jax.vmap(lambda *x: _run(kernel, *x))(q, k, v, segments)
        return zigzag.collect(y_BNTH, 2) if dealt else y_BNTH

    if n > 1:  # keys and values are gathered again in the backward pass, and not kept until then
        keep = jax.checkpoint_policies.save_only_these_names(ATTENTION)
        part = jax.checkpoint(part, policy=keep)
    if ways:
        rows, places = partition.dividing(partition.ROWS, B), CONTEXT if n > 1 else None
        x, ids = PartitionSpec(rows, heads, places), PartitionSpec(rows, places)
        whole = mask.window is None and not mask.causal  # all devices have the same queries to do
        blocks = PartitionSpec(None, None if whole else places)
        blocks = NamedSharding(AbstractMesh((n,), (CONTEXT,)), blocks)
        in_specs = (kernel.manual_sharding_spec(blocks), x, x, x, ids)
        part = partition.mapped(part, in_specs, x, kernel=True)
    out = part(kernel, q, k, v, segments)[:, :, :T]
    if mask.segments_BT is mask.segments_BS:
        return out  # every query sees itself
    return jnp.where(mask.dense(T, S).any(-1)[:, None, :, None], out, 0)


def _filled(x: jax.Array, n: int, axis: int, value: int) -> jax.Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, -x.shape[axis] % (n * TILE))
    return jnp.pad(x, widths, constant_values=value)


def _kernel(N: int, T: int, S: int, n: int, dealt: bool, mask: Mask, softcap: float | None):
    """For N heads of a device, and T queries that n devices have in order or dealt out."""
    # Here, since it takes a fifth of a second and only this backend needs it.
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_kernel as kernels,
    )
    from jax.experimental.pallas.ops.tpu.splash_attention import (
        splash_attention_mask as masks,
    )

    if mask.window is not None:
        back = mask.window - 1
        seen = masks.LocalMask((T, S), (back, 0 if mask.causal else back), 0)
    elif mask.causal:
        seen = masks.CausalMask((T, S))
    else:
        T, n, seen = T // n, 1, masks.FullMask((T // n, S))  # the same for all devices
    if dealt:
        seen.q_sequence = seen.q_sequence.reshape(2 * n, -1)[zigzag.halves(n)].reshape(-1)
    t, s = (next(block for block in BLOCKS if length % block == 0) for length in (T // n, S))
    return kernels.make_splash_mha(
        masks.MultiHeadMask([seen] * N),
        block_sizes=kernels.BlockSizes(
            block_q=t, block_kv=s, block_q_dkv=t, block_kv_dkv=s, block_q_dq=t, block_kv_dq=s
        ),
        attn_logits_soft_cap=softcap,
        head_shards=1,
        q_seq_shards=n,
        residual_checkpoint_name=ATTENTION,
        interpret=_interpreted.get(),
    )


def _run(kernel, q_NTH, k_KSH, v_KSH, segments):
    from jax.experimental.pallas.ops.tpu.splash_attention import SegmentIds

    return kernel(q_NTH, k_KSH, v_KSH, segments and SegmentIds(*segments))
