"""Which expert works on which token. N tokens, K choices of each, E experts, S rows of work.

Tokens are copied into S rows that lie expert by expert, worked on there, and read back. Nothing of
size N * E * D is ever made: memory grows with N * K * D.
"""

import functools
import math

import flax.struct
import jax
import jax.numpy as jnp
from jax import lax


def choose(logits_NE: jax.Array, top_k: int, normalize: bool) -> tuple[jax.Array, jax.Array]:
    """The K likeliest experts of each token and what each counts: their softmax probabilities.

    Top-1 as it is, https://arxiv.org/abs/2101.03961, or the top K normalised to sum to one, which
    is the softmax over these K alone, https://arxiv.org/abs/2401.04088. Ties go to the lower index.

    Returns:
      weights_KN, float32, and experts_KN, int32; first choices first.
    """
    probs_NK, experts_NK = lax.top_k(jax.nn.softmax(logits_NE, axis=-1), top_k)
    if normalize:
        probs_NK /= probs_NK.sum(-1, keepdims=True)
    return probs_NK.T, experts_NK.T


def report(logits_NE: jax.Array, experts_KN: jax.Array, real_N: jax.Array) -> dict[str, jax.Array]:
    """What the router does, over real tokens only; float32 scalars.

    With f_e the share of all choices that fall on expert e and p_e its mean probability:
    `balance` = E * sum_e f_e p_e, equation 4 of https://arxiv.org/abs/2101.03961, 1 where all is
    even; `router_z` = mean of logsumexp(logits)^2, https://arxiv.org/abs/2202.08906; `load_max` and
    `load_min` = the largest and the smallest E * f_e; `entropy` of the router, mean, in nats.
    """
    E, K = logits_NE.shape[1], len(experts_KN)
    count = jnp.maximum(real_N.sum(dtype=jnp.float32), 1)
    mean = lambda x_N: jnp.where(real_N, x_N, 0).sum() / count  # noqa: E731
    log_probs_NE = jax.nn.log_softmax(logits_NE, axis=-1)
    probs_NE = jnp.exp(log_probs_NE)
    mean_E = jnp.where(real_N[:, None], probs_NE, 0).sum(0) / count
    share_E = _sizes(jnp.where(real_N[None], experts_KN, E), E).astype(jnp.float32) / (K * count)
    return {
        'balance': E * (share_E * mean_E).sum(),
        'router_z': mean(jnp.square(jax.nn.logsumexp(logits_NE, axis=-1))),
        'load_max': E * share_E.max(),
        'load_min': E * share_E.min(),
        'entropy': mean(-(probs_NE * log_probs_NE).sum(-1)),
    }


@flax.struct.dataclass
class Plan:
    """Where the work of each choice is done. Row s belongs to expert `experts_S[s]`.

    Attributes:
      tokens_S: int32, the token in each row; N for a row without one.
      rows_KN: int32, the row of each choice; S for a choice that was dropped.
      experts_S: int32, ascending.
      sizes_E: int32, rows of each expert; they sum to S.
      even: whether all experts have the same number of rows.
    """

    tokens_S: jax.Array
    rows_KN: jax.Array
    experts_S: jax.Array
    sizes_E: jax.Array
    even: bool = flax.struct.field(pytree_node=False)

    def gather(self, x_ND: jax.Array) -> jax.Array:
        """x_SD, zeros in a row without a token."""
        return jnp.take(x_ND, self.tokens_S, axis=0, mode='fill', fill_value=0)

    def combine(self, y_SD: jax.Array, weights_KN: jax.Array) -> jax.Array:
        """y_ND, float32: the weighted sum over a token's choices; a dropped one counts as zero."""
        y_KND = jnp.take(y_SD, self.rows_KN, axis=0, mode='fill', fill_value=0)
        return jnp.einsum('knd,kn->nd', y_KND.astype(jnp.float32), weights_KN)

    def dot(self, x_SD: jax.Array, kernel_EDF: jax.Array) -> jax.Array:
        """x_SF: each row times the kernel of its expert."""
        if not self.even:
            return grouped_dot(x_SD, kernel_EDF, self.sizes_E)
        x_ECD = x_SD.reshape(len(kernel_EDF), -1, x_SD.shape[1])
        return jnp.einsum('ecd,edf->ecf', x_ECD, kernel_EDF).reshape(len(x_SD), -1)


def dropless(experts_KN: jax.Array, real_N: jax.Array, E: int) -> Plan:
    """A row for every choice, sorted by expert: S = K * N.

    Padding is worked on too, behind the tokens of the last expert, since every row must be
    somebody's. The caller gives it weight 0.
    """
    K, N = experts_KN.shape
    order_S, place_S, experts_S = _sort(experts_KN, real_N, E)
    experts_S = jnp.minimum(experts_S, E - 1)
    rows_KN = place_S.reshape(K, N)
    return Plan(order_S % N, rows_KN, experts_S, _sizes(experts_S, E), even=False)


def capacity(factor: float, N: int, K: int, E: int) -> int:
    """C = ceil(factor * K * N / E), at most N: rows of each expert, where they are limited."""
    return min(N, math.ceil(factor * K * N / E))


def limited(experts_KN: jax.Array, real_N: jax.Array, E: int, C: int) -> Plan:
    """C rows for each expert, S = E * C: who comes too late is dropped.

    All first choices come before all second ones, in each of them by position, as in
    https://arxiv.org/abs/2006.16668. Padding takes no row.
    """
    K, N = experts_KN.shape
    _, place_S, sorted_S = _sort(experts_KN, real_N, E)
    sizes_E = _sizes(sorted_S, E)
    first_E = jnp.append(jnp.cumsum(sizes_E) - sizes_E, 0)
    experts_M = jnp.where(real_N[None], experts_KN, E).reshape(-1)
    rank_M = place_S - first_E[experts_M]
    rows_M = jnp.where((rank_M < C) & (experts_M < E), experts_M * C + rank_M, E * C)
    tokens_S = jnp.full(E * C, N, jnp.int32)
    tokens_S = tokens_S.at[rows_M].set(jnp.tile(jnp.arange(N, dtype=jnp.int32), K), mode='drop')
    experts_S = jnp.repeat(jnp.arange(E, dtype=jnp.int32), C)
    sizes_E = jnp.full(E, C, jnp.int32)
    return Plan(tokens_S, rows_M.reshape(K, N), experts_S, sizes_E, even=True)


def first_come(experts_KN: jax.Array, segments_BT: jax.Array, E: int, limit: int) -> jax.Array:
    """bool [K, N]: whether fewer than `limit` earlier tokens of a document chose the same expert.

    Every choice is ranked by itself. Tokens of a document stand side by side.
    """
    B, T = segments_BT.shape
    hits_KBTE = jax.nn.one_hot(experts_KN.reshape(-1, B, T), E, dtype=jnp.int32)
    before_KBTE = jnp.cumsum(hits_KBTE, axis=2) - hits_KBTE
    begins_BT = jnp.diff(segments_BT, axis=1, prepend=-1) != 0
    first_BT = lax.cummax(jnp.where(begins_BT, jnp.arange(T)[None], 0), axis=1)
    base_KBTE = jnp.take_along_axis(before_KBTE, first_BT[None, :, :, None], axis=2)
    rank_KBT = ((before_KBTE - base_KBTE) * hits_KBTE).sum(-1)
    return (rank_KBT < limit).reshape(experts_KN.shape)


def _sort(experts_KN, real_N, E):
    """Order of the K * N choices by expert, the place of each in it, their experts; padding is E.

    The sort is stable and choices are numbered k * N + n, so that order within an expert is kept.
    """
    experts_M = jnp.where(real_N[None], experts_KN, E).reshape(-1)
    order_M = jnp.argsort(experts_M, stable=True).astype(jnp.int32)
    place_M = (
        jnp.zeros_like(order_M)
        .at[order_M]
        .set(jnp.arange(len(order_M), dtype=jnp.int32), unique_indices=True)
    )
    return order_M, place_M, experts_M[order_M]


def _sizes(experts: jax.Array, E: int) -> jax.Array:
    """int32 [E]: how often each expert is named; E names nobody."""
    return (experts.reshape(-1, 1) == jnp.arange(E)[None]).sum(0, dtype=jnp.int32)


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
    block_ends_E, row_ends_E = jnp.cumsum(blocks_E), jnp.cumsum(sizes_E)
    block_starts_E, row_starts_E = block_ends_E - blocks_E, row_ends_E - sizes_E

    def owner(ends_E, count):
        at = jnp.searchsorted(ends_E, jnp.arange(count), side='right', method='compare_all')
        return jnp.minimum(at, E - 1)

    expert_G, expert_S = owner(block_ends_E, G), owner(row_ends_E, S)
    first_G = row_starts_E[expert_G] + (jnp.arange(G) - block_starts_E[expert_G]) * C
    from_GC = first_G[:, None] + jnp.arange(C)[None]
    x_GCD = jnp.take(x_SD, from_GC, axis=0, mode='clip')
    y_GCF = jnp.einsum('gcd,gdf->gcf', x_GCD, kernel_EDF[expert_G])
    to_S = block_starts_E[expert_S] * C + jnp.arange(S) - row_starts_E[expert_S]
    return y_GCF.reshape(G * C, -1)[to_S]
