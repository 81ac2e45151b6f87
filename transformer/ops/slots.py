"""Writing into caches where they lie."""

import jax
import jax.numpy as jnp
from jax import lax


def written(
    caches: tuple[jax.Array, ...], new: tuple[jax.Array, ...], at: jax.Array
) -> tuple[jax.Array, ...]:
    """Caches [B, K, S, H] whose slots `at`, `at` + 1, ... are those of `new`, [B, K, T, H].

    Where there is a single row XLA on a CPU makes the update twice, for the attention that reads
    it and for the next step, and copies the cache for that. It does not take a loop apart, of
    which it cannot know that there is but one turn.
    """

    def plain(caches, new, at):
        zero = jnp.zeros((), at.dtype)
        start = (zero, zero, at, zero)
        return tuple(lax.dynamic_update_slice(x, y, start) for x, y in zip(caches, new))

    def once(caches, new, at):
        turns = jnp.minimum(at + 1, 1)
        return lax.fori_loop(0, turns, lambda _, caches: plain(caches, new, at), caches)

    if caches[0].shape[0] > 1 or new[0].shape[2] > 1:
        return plain(caches, new, at)
    return lax.platform_dependent(caches, new, at, cpu=once, default=plain)
