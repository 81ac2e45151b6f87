"""Halves of a sequence's parts dealt out so that causal attention is the same work everywhere.

n devices hold the 2n halves of n parts in order: device i the halves 2i and 2i + 1. Dealt out, it
holds i and 2n - 1 - i: a short look back and a long one. To be called inside `jax.shard_map` over
`partition.CONTEXT`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from transformer.ops.partition import CONTEXT


def halves(n: int) -> np.ndarray:
    """[n, 2]: which halves each device holds, dealt out."""
    first = np.arange(n)
    return np.stack([first, 2 * n - 1 - first], axis=1)


def deal(x: jax.Array, axis: int) -> jax.Array:
    """Parts in order to halves dealt out; `axis` is that of places."""
    even, odd = _routes()
    two = jnp.split(x, 2, axis)
    two = [lax.ppermute(half, CONTEXT, way) for half, way in zip(two, (even, odd))]
    return jnp.concatenate(_swapped(two), axis)


def collect(x: jax.Array, axis: int) -> jax.Array:
    """Halves dealt out to parts in order."""
    two = _swapped(jnp.split(x, 2, axis))
    two = [
        lax.ppermute(half, CONTEXT, [(to, at) for at, to in way])
        for half, way in zip(two, _routes())
    ]
    return jnp.concatenate(two, axis)


def _routes() -> list[list[tuple[int, int]]]:
    """From device to device: the way of the halves with even numbers, that of those with odd."""
    n = lax.axis_size(CONTEXT)
    holder = {int(half): i for i in range(n) for half in halves(n)[i]}
    return [[(i, holder[2 * i + odd]) for i in range(n)] for odd in (0, 1)]


def _swapped(two: list[jax.Array]) -> list[jax.Array]:
    """(even, odd) to (first, second) and back: a first half has the parity of its device."""
    is_odd = lax.axis_index(CONTEXT) % 2 == 1
    return [jnp.where(is_odd, *pair) for pair in (two[::-1], two)]
