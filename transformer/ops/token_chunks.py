"""A loop over tokens, some at a time, which leaves out those of no weight.

B rows, T places, N = B * T tokens, C tokens of a chunk, M tokens of all chunks.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Axes = tuple[str, ...]


def over_chunks(
    step: Callable, sums: Any, arrays: Any, weights_BT: jax.Array, chunk: int, axes: Axes = ()
) -> tuple[Any, Any]:
    """Carries `sums` through `step` over all tokens whose weight is not 0, `chunk` at a time.

    Tokens that count come first, in their order; chunks of others are not run, so the loop has as
    many turns as the batch needs. It has no gradient.

    Args:
      step: (sums, *arrays of C tokens, weights_C) -> (sums, arrays of C tokens). It may see tokens
        of weight 0, too.
      arrays: [B, T, ...] each.
      axes: of the mesh, over which all devices are to make as many turns as the one that needs
        most: they may meet within `step`.

    Returns:
      The sums, and what `step` told of each token, [B, T, ...]: 0 of those left out.
    """
    N = weights_BT.size
    C = min(chunk, N)
    order_N, place_N, live = _those_first((weights_BT != 0).reshape(N))
    turns = -(-live // C)
    turns = lax.pmax(turns, axes) if axes else turns
    filling = -N % C

    def sorted_rows(x):
        x_N = x.reshape(N, *x.shape[2:])[order_N]
        return jnp.pad(x_N, [(0, filling)] + [(0, 0)] * (x_N.ndim - 1))

    rows_M = jax.tree.map(sorted_rows, (*arrays, weights_BT))
    cut = lambda x_M, i: lax.dynamic_slice_in_dim(x_M, i * C, C)  # noqa: E731
    put = lambda x_M, x_C, i: lax.dynamic_update_slice_in_dim(x_M, x_C, i * C, 0)  # noqa: E731

    def turn(i, carry):
        sums, told_M = carry
        sums, told_C = step(sums, *(cut(x_M, i) for x_M in rows_M))
        return sums, jax.tree.map(lambda x_M, x_C: put(x_M, x_C, i), told_M, told_C)

    first = (jax.ShapeDtypeStruct((C, *x.shape[1:]), x.dtype) for x in rows_M)
    _, told_C = jax.eval_shape(step, sums, *first)
    empty = lambda x: jnp.zeros((N + filling, *x.shape[1:]), x.dtype)  # noqa: E731
    sums, told_M = lax.fori_loop(0, turns, turn, (sums, jax.tree.map(empty, told_C)))
    return sums, jax.tree.map(
        lambda x_M: x_M[place_N].reshape(*weights_BT.shape, *x_M.shape[1:]), told_M
    )


def _those_first(live_N: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """An order in which those that are true come first; each one's place in it; their number.

    By counting: compilers for TPUs take seconds for a sort.
    """
    count_N, live = jnp.cumsum(live_N, dtype=jnp.int32), live_N.sum(dtype=jnp.int32)
    number_N = jnp.arange(len(live_N), dtype=jnp.int32)
    place_N = jnp.where(live_N, count_N - 1, live + number_N - count_N)
    order_N = jnp.zeros_like(number_N).at[place_N].set(number_N, unique_indices=True)
    return order_N, place_N, live
