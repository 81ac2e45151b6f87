"""Short causal convolution of each channel for itself. B batch, T length, F channels, W kernel."""

import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from transformer.ops import handoff, partition


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

    Where devices split the sequence (`ops.partition`), each gets the W - 1 inputs before its part.

    Args:
      state: of the call before, or None.

    Returns:
      y_BTF, in the type of x, and the state after the last token.

    Raises:
      ValueError: T does not split evenly over devices.
    """
    B, T, F = x_BTF.shape
    W = kernel_WF.shape[0]
    split = state is None and partition.CONTEXT in partition.ways()
    if state is None:
        state = ConvolutionState.empty(B, W, F, x_BTF.dtype)
    x = jnp.concatenate([state.x_BWF, x_BTF], axis=1)
    segments = jnp.concatenate([state.segments_BW, segments_BT], axis=1)
    after = ConvolutionState(x[:, T:], segments[:, T:])
    if split:
        return _split(x_BTF, kernel_WF, segments_BT), after
    y_BTF = jnp.zeros_like(x_BTF)
    for w in range(W):
        same_BT = segments[:, w : w + T] == segments_BT
        y_BTF += jnp.where(same_BT[..., None], x[:, w : w + T] * kernel_WF[w][None, None], 0)
    return y_BTF, after


def _split(x_BTF, kernel_WF, segments_BT):
    """The outputs for a sequence that devices hold in parts."""
    handoff.check_length(x_BTF.shape[1], 'causal_convolution')
    rows = partition.dividing(partition.ROWS, len(x_BTF))
    channels = partition.dividing(partition.HEADS, kernel_WF.shape[1])

    def part(x_BTF, kernel_WF, segments_BT):
        count = len(kernel_WF) - 1
        before = [handoff.last_before(x, count) for x in (x_BTF, segments_BT)]
        return causal_convolution(x_BTF, kernel_WF, segments_BT, ConvolutionState(*before))[0]

    x = PartitionSpec(rows, partition.CONTEXT, channels)
    in_specs = (x, PartitionSpec(None, channels), PartitionSpec(rows, partition.CONTEXT))
    return partition.mapped(part, in_specs, x)(x_BTF, kernel_WF, segments_BT)
