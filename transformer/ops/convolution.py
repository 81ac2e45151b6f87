"""Short causal convolution of each channel for itself. B batch, T length, F channels, W kernel."""

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class ConvolutionState:
    """The W - 1 inputs before the next one, with the segment of each."""

    x_BWF: jax.Array
    segments_BW: jax.Array

    @classmethod
    def empty(cls, B: int, W: int, F: int, dtype: str) -> 'ConvolutionState':
        """Nothing yet: zeros, which add nothing to any output."""
        return cls(jnp.zeros((B, W - 1, F), dtype), jnp.zeros((B, W - 1), jnp.int32))


def causal_convolution(
    x_BTF: jax.Array,
    kernel_WF: jax.Array,
    segments_BT: jax.Array,
    state: ConvolutionState | None = None,
) -> tuple[jax.Array, ConvolutionState]:
    """y_t = sum_w kernel_{W-1-w} * x_{t-w} over the last W inputs that are of t's segment.

    Args:
      state: of the call before, or None.

    Returns:
      y_BTF, in the type of x, and the state after the last token.
    """
    B, T, F = x_BTF.shape
    W = kernel_WF.shape[0]
    if state is None:
        state = ConvolutionState.empty(B, W, F, x_BTF.dtype)
    x = jnp.concatenate([state.x_BWF, x_BTF], axis=1)
    segments = jnp.concatenate([state.segments_BW, segments_BT], axis=1)
    y_BTF = jnp.zeros_like(x_BTF)
    for w in range(W):
        same_BT = segments[:, w : w + T] == segments_BT
        y_BTF += jnp.where(same_BT[..., None], x[:, w : w + T] * kernel_WF[w][None, None], 0)
    return y_BTF, ConvolutionState(x[:, T:], segments[:, T:])
