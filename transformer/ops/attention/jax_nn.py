"""`jax.nn.dot_product_attention`: as XLA compiles it, and as cuDNN's fused kernel."""

import jax
import jax.numpy as jnp

from transformer.ops.masks import Mask, starts_at_zero


def xla(q_BNTH, k_BKSH, v_BKSH, mask: Mask, *, scale: float, drop, bias, softcap):
    """Scores in memory, softmax in float32."""
    del drop, softcap  # refused by `attend`
    return _dot_product_attention(q_BNTH, k_BKSH, v_BKSH, mask, scale, bias, 'xla')


def cudnn(q_BNTH, k_BKSH, v_BKSH, mask: Mask, *, scale: float, drop, bias, softcap):
    """cuDNN's flash attention. Segments and prefixes reach it as a [B, 1, T, S] bias.

    With these it trains on even T and S alone; jax raises otherwise.

    Raises:
      ValueError: another platform than GPU, another type than float16 or bfloat16, or a head width
        that its kernels do not have.
    """
    del drop, softcap  # refused by `attend`
    platform, dtype, H = jax.default_backend(), q_BNTH.dtype, q_BNTH.shape[-1]
    instead = "use 'reference' or 'xla'"
    if platform != 'gpu':
        raise ValueError(f"attention backend 'cudnn' needs platform gpu, not {platform}; {instead}")
    if dtype not in (jnp.float16, jnp.bfloat16):
        raise ValueError(
            f"attention backend 'cudnn' needs dtype float16 or bfloat16, not {dtype}; {instead}"
        )
    if H % 8 or H > 256:
        raise ValueError(
            f"attention backend 'cudnn' needs a head width that is a multiple of 8 up to 256, "
            f'not {H}; {instead}'
        )
    return _dot_product_attention(q_BNTH, k_BKSH, v_BKSH, mask, scale, bias, 'cudnn')


def _dot_product_attention(q_BNTH, k_BKSH, v_BKSH, mask, scale, bias, implementation):
    T, S = q_BNTH.shape[2], k_BKSH.shape[2]
    # Said in words where it can be: a kernel then skips the hidden half instead of reading a mask.
    in_words = mask.causal and mask.prefix_BS is None and starts_at_zero(mask) and T == S
    rest = mask.replace(causal=False) if in_words else mask
    allowed = None
    if rest.causal or rest.window is not None or rest.segments_BT is not None:
        allowed = rest.dense(T, S)[:, None]
    if bias is not None:
        bias = bias.dense(mask.offset, T, S).reshape(-1, q_BNTH.shape[1], T, S)
        bias = bias.astype(q_BNTH.dtype)
    q, k, v = (x.swapaxes(1, 2) for x in (q_BNTH, k_BKSH, v_BKSH))
    out = jax.nn.dot_product_attention(
        q, k, v, bias, allowed, scale=scale, is_causal=in_words, implementation=implementation
    ).swapaxes(1, 2)
    if allowed is None:
        return out
    sees_something = mask.dense(T, S).any(-1)[:, None, :, None]
    return jnp.where(sees_something, out, 0)
