"""Splash attention: jax's flash attention kernel for TPUs, which skips what a mask hides.

B batch, T query length, S key length, N heads, K key/value heads, H head width.
"""

import contextlib
import contextvars

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

from transformer.ops.masks import Mask

TILE = 128  # the kernel's lengths are multiples of it
BLOCKS = (512, 256, 128)  # lengths of the pieces that it works on, the largest that fits
ROWS, HEADS = ('data', 'fsdp'), ('tensor',)  # mesh axes that split batch and heads
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

    Under a mesh (`jax.set_mesh`), each device works on its rows and heads.

    Raises:
      ValueError: a causal mask or a window where T is not S, or sequences split over devices.
    """
    del drop, bias  # refused by `attend`
    B, N, T, _ = q_BNTH.shape
    K, S = k_BKSH.shape[1:3]
    if T != S and (mask.causal or mask.window is not None):
        raise ValueError(
            f"attention backend 'splash' has no causal mask or window for {T} queries and {S} "
            "keys; use 'reference' or 'xla'"
        )
    t, s = mask.segments_BT, mask.segments_BS
    if t is None and (T % TILE or S % TILE):
        t, s = jnp.zeros((B, T), jnp.int32), jnp.zeros((B, S), jnp.int32)
    q, k, v = _filled(q_BNTH * scale, 2, 0), _filled(k_BKSH, 2, 0), _filled(v_BKSH, 2, 0)
    segments = None if t is None else (_filled(t, 1, NOWHERE), _filled(s, 1, NOWHERE))

    def local(q_BNTH, k_BKSH, v_BKSH, segments):
        kernel = _kernel(q_BNTH.shape[1], q_BNTH.shape[2], k_BKSH.shape[2], mask, softcap)
        return jax.vmap(kernel)(q_BNTH, k_BKSH, v_BKSH, segments)

    out = _split(local, B, K)(q, k, v, segments)[:, :, :T]
    if mask.segments_BT is mask.segments_BS:
        return out  # every query sees itself
    return jnp.where(mask.dense(T, S).any(-1)[:, None, :, None], out, 0)


def _filled(x: jax.Array, axis: int, value: int) -> jax.Array:
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, -x.shape[axis] % TILE)
    return jnp.pad(x, widths, constant_values=value)


def _kernel(N: int, T: int, S: int, mask: Mask, softcap: float | None):
    """(q_NTH, k_KSH, v_KSH, (segments_T, segments_S) or None) -> out_NTH."""
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
    else:
        seen = masks.CausalMask((T, S)) if mask.causal else masks.FullMask((T, S))
    t, s = (next(block for block in BLOCKS if length % block == 0) for length in (T, S))
    call = kernels.make_splash_mha(
        masks.MultiHeadMask([seen] * N),
        block_sizes=kernels.BlockSizes(
            block_q=t, block_kv=s, block_q_dkv=t, block_kv_dkv=s, block_q_dq=t, block_kv_dq=s
        ),
        attn_logits_soft_cap=softcap,
        head_shards=1,
        q_seq_shards=1,
        interpret=_interpreted.get(),
    )

    def run(q_NTH, k_KSH, v_KSH, segments):
        return call(q_NTH, k_KSH, v_KSH, segments and kernels.SegmentIds(*segments))

    return run


def _split(f, B: int, K: int):
    """`f` by rows and heads over the mesh in force: XLA cannot split a kernel by itself."""
    mesh = jax.sharding.get_abstract_mesh()
    ways = {
        axis: mesh.shape[axis]
        for axis, kind in zip(mesh.axis_names, mesh.axis_types)
        if kind != AxisType.Manual and mesh.shape[axis] > 1
    }
    if not ways:
        return f
    if 'context' in ways:
        raise ValueError(
            "attention backend 'splash' does not split sequences, and the mesh has "
            f"context={ways['context']}; use 'reference' or 'xla'"
        )
    rows = _dividing(ROWS, ways, B)
    heads = _dividing(HEADS, ways, K)
    x, ids = PartitionSpec(rows, heads, None, None), PartitionSpec(rows, None)
    return jax.shard_map(f, in_specs=(x, x, x, ids), out_specs=x, check_vma=False)


def _dividing(axes: tuple[str, ...], ways: dict[str, int], size: int) -> tuple[str, ...] | None:
    """The axes that split `size` evenly together; None, so that all do all the work, if not."""
    axes = tuple(axis for axis in axes if axis in ways)
    product = 1
    for axis in axes:
        product *= ways[axis]
    return axes if axes and size % product == 0 else None
