"""Which expert works on which token. N tokens, K choices of each, E experts, G groups.

What is said of a batch holds whatever mesh it is spread over: numbers and places of choices on
other devices are asked for by the axes of the mesh (`jax.shard_map`) that split the rows of the
batch and the places of a row; () where none does.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

Axes = tuple[str, ...]


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


def report(
    logits_NE: jax.Array, experts_KN: jax.Array, real_N: jax.Array, axes: Axes = ()
) -> dict[str, jax.Array]:
    """What the router does, over real tokens only; float32 scalars.

    With f_e the share of all choices that fall on expert e and p_e its mean probability:
    `balance` = E * sum_e f_e p_e, equation 4 of https://arxiv.org/abs/2101.03961, 1 where all is
    even; `router_z` = mean of logsumexp(logits)^2, https://arxiv.org/abs/2202.08906; `load_max` and
    `load_min` = the largest and the smallest E * f_e; `entropy` of the router, mean, in nats.

    Args:
      axes: of the mesh that split the tokens: means are over all of them.
    """
    E, K = logits_NE.shape[1], len(experts_KN)
    total = lambda x: lax.psum(x, axes) if axes else x  # noqa: E731
    count = jnp.maximum(total(real_N.sum(dtype=jnp.float32)), 1)
    mean = lambda x_N: total(jnp.where(real_N, x_N, 0).sum()) / count  # noqa: E731
    log_probs_NE = jax.nn.log_softmax(logits_NE, axis=-1)
    probs_NE = jnp.exp(log_probs_NE)
    mean_E = total(jnp.where(real_N[:, None], probs_NE, 0).sum(0)) / count
    chosen_E = total(sizes(jnp.where(real_N[None], experts_KN, E), E))
    share_E = chosen_E.astype(jnp.float32) / (K * count)
    return {
        'balance': E * (share_E * mean_E).sum(),
        'router_z': mean(jnp.square(jax.nn.logsumexp(logits_NE, axis=-1))),
        'load_max': E * share_E.max(),
        'load_min': E * share_E.min(),
        'entropy': mean(-(probs_NE * log_probs_NE).sum(-1)),
    }


def capacity(factor: float, N: int, K: int, E: int) -> int:
    """C = ceil(factor * K * N / E), at most N: tokens of each expert, where they are limited."""
    return min(N, math.ceil(factor * K * N / E))


def rank(
    experts_KN: jax.Array,
    real_N: jax.Array,
    E: int,
    B: int,
    groups: int = 1,
    rows: Axes = (),
    context: Axes = (),
) -> jax.Array:
    """int32 [K, N]: how many choices of the same expert come before each, in its group.

    All first choices come before all second ones, in each of them by position in the batch, as in
    https://arxiv.org/abs/2006.16668. Padding chooses nobody, and has no rank: a number without
    a meaning.

    Args:
      B: rows of the batch here.
      groups: parts of the whole batch, of as many rows each, that are ranked by themselves.
      rows, context: axes of the mesh that split the rows, and the places of a row.
    """
    K, N = experts_KN.shape
    _, place_S, sorted_S = sort(experts_KN, real_N[None], E)
    sizes_E = sizes(sorted_S, E)
    first_E = jnp.append(jnp.cumsum(sizes_E) - sizes_E, 0)
    experts_M = jnp.where(real_N[None], experts_KN, E).reshape(-1)
    here_KN = (place_S - first_E[experts_M]).reshape(K, N)
    if groups == 1 and not rows and not context:
        return here_KN
    # By rows: what other devices and earlier rows have before, less what the order here has.
    experts_KBT = experts_M.reshape(K, B, N // B)
    counts_KBE = (experts_KBT[..., None] == jnp.arange(E)[None, None, None]).sum(2, dtype=jnp.int32)
    here_KBE = _before(counts_KBE.reshape(K * B, E), 0).reshape(K, B, E)
    more_KBE = _counted_before(counts_KBE, groups, rows, context) - here_KBE
    at_KBT = jnp.minimum(experts_KBT, E - 1)
    return here_KN + jnp.take_along_axis(more_KBE, at_KBT, axis=2).reshape(K, N)


def _counted_before(counts_KBE, groups: int, rows: Axes, context: Axes):
    """int32 [K, B, E]: choices of an expert in its group before the places that a row has here.

    Devices tell each other counts, [K, U, E]: U units of as many rows as lie wholly both on one
    device and in one group; and with context parallelism those of each row.
    """
    K, B, E = counts_KBE.shape
    everywhere = B * (lax.axis_size(rows) if rows else 1)
    earlier_KBE = 0
    if context:
        blocks_CKBE = lax.all_gather(counts_KBE, context)
        mine = lax.axis_index(context)
        earlier_KBE = lax.dynamic_index_in_dim(_before(blocks_CKBE, 0), mine, keepdims=False)
        counts_KBE = blocks_CKBE.sum(0)
    unit = math.gcd(B, everywhere // groups)
    counts_KUBE = counts_KBE.reshape(K, B // unit, unit, E)
    units_KUE = counts_KUBE.sum(2)
    if rows:
        units_KUE = lax.all_gather(units_KUE, rows, axis=1, tiled=True)
    by_group = units_KUE.reshape(K, groups, -1, E).swapaxes(0, 1)
    before = _before(by_group.reshape(groups, -1, E), 1).reshape(by_group.shape)
    before_KUE = before.swapaxes(0, 1).reshape(units_KUE.shape)
    if rows:
        first = lax.axis_index(rows) * (B // unit)
        before_KUE = lax.dynamic_slice_in_dim(before_KUE, first, B // unit, axis=1)
    before_KUBE = before_KUE[:, :, None] + _before(counts_KUBE, 2)
    return before_KUBE.reshape(K, B, E) + earlier_KBE


def _before(counts, axis: int):
    """The sum of all that come before, along an axis."""
    return jnp.cumsum(counts, axis) - counts


def first_come(
    experts_KN: jax.Array, segments_BT: jax.Array, E: int, limit: int, context: Axes = ()
) -> jax.Array:
    """bool [K, N]: whether fewer than `limit` earlier tokens of a document chose the same expert.

    Every choice is ranked by itself. Tokens of a document stand side by side.

    Args:
      context: axes of the mesh that split the places; whole rows of choices are gathered, K
        integers a token.
    """
    here_KBT = experts_KN.reshape(-1, *segments_BT.shape)
    experts_KBT, places = here_KBT, segments_BT.shape[1]
    if context:
        experts_KBT = lax.all_gather(here_KBT, context, axis=2, tiled=True)
        segments_BT = lax.all_gather(segments_BT, context, axis=1, tiled=True)
    T = segments_BT.shape[1]
    hits_KBTE = jax.nn.one_hot(experts_KBT, E, dtype=jnp.int32)
    before_KBTE = _before(hits_KBTE, 2)
    begins_BT = jnp.diff(segments_BT, axis=1, prepend=-1) != 0
    first_BT = lax.cummax(jnp.where(begins_BT, jnp.arange(T)[None], 0), axis=1)
    base_KBTE = jnp.take_along_axis(before_KBTE, first_BT[None, :, :, None], axis=2)
    within_KBT = ((before_KBTE - base_KBTE) * hits_KBTE).sum(-1) < limit
    if context:
        first = lax.axis_index(context) * places
        within_KBT = lax.dynamic_slice_in_dim(within_KBT, first, places, axis=2)
    return within_KBT.reshape(experts_KN.shape)


def sort(experts_KN: jax.Array, served_KN: jax.Array, E: int):
    """Order of the K * N choices by expert, the place of each in it, and their experts.

    Choices that are not served come last, as of expert E.

    Choices are numbered k * N + n, and those of an expert keep this order.
    """
    experts_M = jnp.where(served_KN, experts_KN, E).reshape(-1)
    M = len(experts_M)
    if (E + 1) * M <= 2**32:  # one number for expert and choice: much cheaper than a stable sort
        keys_M = experts_M.astype(jnp.uint32) * M + jnp.arange(M, dtype=jnp.uint32)
        order_M = (lax.sort(keys_M, is_stable=False) % M).astype(jnp.int32)
    else:
        order_M = jnp.argsort(experts_M, stable=True).astype(jnp.int32)
    return order_M, inverse(order_M), experts_M[order_M]


def inverse(order_M: jax.Array) -> jax.Array:
    """The place of each number in a permutation."""
    places_M = jnp.arange(len(order_M), dtype=jnp.int32)
    return jnp.zeros_like(order_M).at[order_M].set(places_M, unique_indices=True)


def sizes(experts: jax.Array, E: int) -> jax.Array:
    """int32 [E]: how often each expert is named; E names nobody."""
    return (experts.reshape(-1, 1) == jnp.arange(E)[None]).sum(0, dtype=jnp.int32)
