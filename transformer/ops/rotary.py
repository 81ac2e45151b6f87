"""Rotary position embedding, https://arxiv.org/abs/2104.09864."""

import jax
import jax.numpy as jnp


def rotate(x_BNTH: jax.Array, positions_BT: jax.Array, theta: float) -> jax.Array:
    """Turns each pair (h, h + H/2) of a head by position * theta^(-2h/H); float32 inside."""
    half = x_BNTH.shape[-1] // 2
    frequency_h = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angle_B1Th = positions_BT[:, None, :, None].astype(jnp.float32) * frequency_h[None, None, None]
    cos, sin = jnp.cos(angle_B1Th), jnp.sin(angle_B1Th)
    low, high = x_BNTH[..., :half], x_BNTH[..., half:]
    turned = jnp.concatenate([low * cos - high * sin, high * cos + low * sin], axis=-1)
    return turned.astype(x_BNTH.dtype)
