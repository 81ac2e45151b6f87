"""Products by groups of rows. S rows of work, E kernels, D in, F out.

Rows lie group by group, each group's rows times its own kernel.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax


def owners(sizes_E: jax.Array, count: int) -> jax.Array:
    """int32 [count]: the group of each row, where groups have so many; the last has the rest."""
    ends_E, E = jnp.cumsum(sizes_E), len(sizes_E)
    at = jnp.searchsorted(ends_E, jnp.arange(count), side='right', method='compare_all')
    return jnp.minimum(at, E - 1)


@jax.custom_vjp
def grouped_dot(x_SD: jax.Array, kernel_EDF: jax.Array, sizes_E: jax.Array) -> jax.Array:
    """y_SF: the first sizes_E[0] rows times the first kernel, the next sizes_E[1] times the second.

    `jax.lax.ragged_dot`, except on CPUs, where that multiplies every row with every kernel.

    Args:
      sizes_E: int32, summing to S.
    """
    return lax.platform_dependent(x_SD, kernel_EDF, sizes_E, cpu=_block_dot, default=_ragged_dot)


def _forward(x_SD, kernel_EDF, sizes_E):
    return grouped_dot(x_SD, kernel_EDF, sizes_E), (x_SD, kernel_EDF, sizes_E)


def _backward(kept, y_SF):
    # A derivative of the choice between platforms would keep what either of them needs.
    pulls = {'cpu': _pull(_block_dot), 'default': _pull(_ragged_dot)}
    return *lax.platform_dependent(*kept, y_SF, **pulls), None


grouped_dot.defvjp(_forward, _backward)


def _pull(dot):
    def pull(x_SD, kernel_EDF, sizes_E, y_SF):
        return jax.vjp(functools.partial(dot, sizes_E=sizes_E), x_SD, kernel_EDF)[1](y_SF)

    return pull


def _ragged_dot(x_SD, kernel_EDF, sizes_E):
    return lax.ragged_dot(x_SD, kernel_EDF, sizes_E)


def _block_dot(x_SD, kernel_EDF, sizes_E):
    """Rows in blocks of at most one expert each: twice the arithmetic at worst, whatever E is.

    A group of rows fills as many blocks of C rows as it needs. The last of them also reads rows of
    the next group, but what comes of these is not read back.
    """
    S, E = len(x_SD), len(sizes_E)
    if not S:
        return jnp.zeros((0, kernel_EDF.shape[2]), x_SD.dtype)
    C = -(-S // E)
    G = min(S, (S + E * (C - 1)) // C)  # blocks that suffice for any sizes
    blocks_E = -(-sizes_E // C)
    block_starts_E = jnp.cumsum(blocks_E) - blocks_E
    row_starts_E = jnp.cumsum(sizes_E) - sizes_E
    expert_G, expert_S = owners(blocks_E, G), owners(sizes_E, S)
    first_G = row_starts_E[expert_G] + (jnp.arange(G) - block_starts_E[expert_G]) * C
    from_GC = first_G[:, None] + jnp.arange(C)[None]
    x_GCD = jnp.take(x_SD, from_GC, axis=0, mode='clip')
    y_GCF = jnp.einsum('gcd,gdf->gcf', x_GCD, kernel_EDF[expert_G])
    to_S = block_starts_E[expert_S] * C + jnp.arange(S) - row_starts_E[expert_S]
    return y_GCF.reshape(G * C, -1)[to_S]
