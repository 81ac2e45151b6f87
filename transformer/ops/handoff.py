"""What devices that hold the parts of a sequence one after the other hand along.

To be called inside `jax.shard_map` over `partition.CONTEXT`, but for `check_length`.
"""

import jax
import jax.numpy as jnp
from jax import lax

from transformer.ops.partition import CONTEXT, ways


def check_length(T: int, what: str) -> None:
    """Raises a ValueError where the devices along the axis cannot hold equal parts."""
    n = ways()[CONTEXT]
    if T % n:
        raise ValueError(
            f'{what} of {T} places cannot be split over context={n}; accepted: a multiple of {n}'
        )


def from_before(x: jax.Array, hops: int = 1) -> jax.Array:
    """`x` of the device that many places before this one; zeros where there is none."""
    n = lax.axis_size(CONTEXT)
    return lax.ppermute(x, CONTEXT, [(i, i + hops) for i in range(n - hops)])


def last_before(x: jax.Array, count: int) -> jax.Array:
    """The `count` places of axis 1 before this device's first; zeros before the sequence.

    They are of the device before, and of those before that one where a part is shorter.
    """
    if not count:
        return x[:, :0]
    T = x.shape[1]
    hops = min(-(-count // T), lax.axis_size(CONTEXT) - 1)
    parts = [from_before(x[:, -count:], hop) for hop in range(hops, 0, -1)]
    missing = max(count - sum(part.shape[1] for part in parts), 0)
    none = jnp.zeros((x.shape[0], missing, *x.shape[2:]), x.dtype)
    return jnp.concatenate([none, *parts], axis=1)[:, -count:]


def state_before(keep: jax.Array, add: jax.Array) -> jax.Array:
    """What comes in, of a state that each device's part turns from h into keep * h + add.

    Summaries of neighbours, then of pairs, of fours ... are put together: log2(n) + 1 hops of the
    size of a state. Zeros are the right summary of nothing: a state that starts at nothing.

    Args:
      keep: share of the state that outlives the part; its shape broadcasts to that of `add`.
      add: the state after the part where none came in.
    """
    n, hops = lax.axis_size(CONTEXT), 1
    keep, add = from_before(keep), from_before(add)
    while hops < n:
        keep, add = keep * from_before(keep, hops), add + keep * from_before(add, hops)
        hops *= 2
    return add
