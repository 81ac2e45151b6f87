"""A layer of experts, on one device or spread over a mesh.

B batch, T length, D width, F hidden, E experts, N = B * T tokens, K choices of each, S rows of
work.

Over a mesh every device routes the tokens that it has. Along `expert` tokens travel to the devices
that have their experts, and back, by all-to-all: they are never gathered, nor are their gradients.
Along `tensor` each device has some hidden units of every expert, and the outputs are summed. Along
`fsdp` kernels are gathered, and their gradients scattered. Numbers are those of one device.

What travels, in rows of D numbers a device, each way, with N tokens on each of X devices along
`expert`; messages of an all-to-all are of one size, so there is room for the worst case:

- with a capacity, whole groups on every device: factor * K * N, all of them rows of work;
- otherwise X * min(K, E / X) * N: all tokens of all devices may want the experts of one. As many
  rows, of D and of F numbers, are kept for the backward pass, unless rematerialisation leaves them
  out; the work follows the rows that came. `jax.lax.ragged_all_to_all`, which XLA has for TPUs and
  GPUs but not for CPUs, would send K * N;
- with a capacity for groups over several devices as well, or at most (E / X) * C of each group for
  every device, if that is less.

Where the mesh splits rows, places or experts unevenly, as with one row, all is left to XLA.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P

from transformer.ops import partition, plans, routing
from transformer.ops.grouped import grouped_dot, owners

PIECES = 4  # of the room for one peer's rows: what is empty is left out piece by piece


@dataclasses.dataclass(frozen=True)
class Split:
    """Axes of the mesh that split rows, places, experts, hidden units, and the width of kernels."""

    rows: routing.Axes = ()
    context: routing.Axes = ()
    expert: routing.Axes = ()
    tensor: routing.Axes = ()
    fsdp: routing.Axes = ()

    @classmethod
    def of(cls, B: int, T: int, D: int, F: int, E: int) -> 'Split | None':
        """For the mesh in force; None without one, or where it splits B, T or E unevenly."""
        found = partition.ways()
        rows = tuple(axis for axis in partition.ROWS if axis in found)
        one = lambda axis: (axis,) if axis in found else ()  # noqa: E731
        context, expert = one(partition.CONTEXT), one('expert')
        even = all(
            size % math.prod(found[axis] for axis in axes) == 0
            for axes, size in ((rows, B), (context, T), (expert, E))
        )
        if not found or not even:
            return None
        tensor = partition.dividing(partition.HEADS, F) or ()
        return cls(rows, context, expert, tensor, partition.dividing(('fsdp',), D) or ())


def mixture(
    x_BTD: jax.Array,
    logits_BTE: jax.Array,
    segments_BT: jax.Array,
    experts: dict[str, dict[str, jax.Array]],
    keep_BTF: jax.Array | None = None,
    **how: Any,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """y = sum over the top K experts of p_e(x) MLP_e(x), p = softmax(logits).

    Experts spread over devices: https://arxiv.org/abs/2006.16668.

    Args:
      logits_BTE: float32, of the router.
      segments_BT: 0 is padding, which no expert works on.
      experts: `up`, `down`, and `gate` where there is one: `kernel` [E, D, F], of `down` [E, F, D],
        and perhaps `bias` [E, F] or [E, D].
      keep_BTF: what the hidden units of a token are multiplied by, in all of its experts.
      how: `top_k`, `normalize`, `capacity`, `groups` and `limit` of `moe.MoEConfig`, with capacity
        and limit 0 for none, and the function `activation`.

    Returns:
      y_BTD, zero at padding, and float32 scalars: `routing.report` and `dropped`, the number of
      choices that no expert worked on.
    """
    E, D, F = experts['up']['kernel'].shape
    arrays = x_BTD, logits_BTE, segments_BT, experts, keep_BTF
    split = Split.of(*x_BTD.shape[:2], D, F, E)
    if split is None:
        return _here(*arrays, split=Split(), **how)
    rows, context, expert, tensor, fsdp = (axes or None for axes in dataclasses.astuple(split))
    tokens = P(rows, context)
    inner = {'kernel': P(expert, fsdp, tensor), 'bias': P(expert, tensor)}
    outer = {'kernel': P(expert, tensor, fsdp), 'bias': P(expert)}
    kernels = {
        name: {leaf: (outer if name == 'down' else inner)[leaf] for leaf in leaves}
        for name, leaves in experts.items()
    }
    kept = None if keep_BTF is None else P(rows, context, tensor)
    here = functools.partial(_here, split=split, **how)
    return partition.mapped(here, (tokens, tokens, tokens, kernels, kept), (tokens, P()))(*arrays)


def _here(
    x_BTD,
    logits_BTE,
    segments_BT,
    experts,
    keep_BTF,
    *,
    split,
    top_k,
    normalize,
    activation,
    **limits,
):
    """The tokens of one device."""
    (B, T, D), E, tokens = x_BTD.shape, logits_BTE.shape[-1], split.rows + split.context
    logits_NE, real_N = logits_BTE.reshape(-1, E), segments_BT.reshape(-1) != 0
    weights_KN, experts_KN = routing.choose(logits_NE, top_k, normalize)
    plan, served_KN = _plan(experts_KN, segments_BT, E, split, **limits)
    keep_SF = None if keep_BTF is None else plan.gather(keep_BTF.reshape(B * T, -1))
    work = functools.partial(_mlp, experts=_own(experts, split), activation=activation)
    y_SD = _work(plan.gather(x_BTD.reshape(-1, D)), keep_SF, plan, E, work, split.expert)
    y_ND = plan.combine(y_SD, jnp.where(served_KN, weights_KN, 0)).astype(y_SD.dtype)
    stats = routing.report(logits_NE, experts_KN, real_N, tokens)
    stats['dropped'] = (real_N[None] & ~served_KN).sum(dtype=jnp.float32)
    if tokens:
        stats['dropped'] = lax.psum(stats['dropped'], tokens)
    y_ND = _total(y_ND, split.tensor) if split.tensor else y_ND
    return y_ND.reshape(x_BTD.shape), stats


def _plan(experts_KN, segments_BT, E, split, capacity=0, groups=1, limit=0):
    """Rows of work, and which choices are worked on; capacity, groups, limit: `moe.MoEConfig`."""
    (K, N), B, rows, context = experts_KN.shape, len(segments_BT), split.rows, split.context
    real_N, ways, peers = segments_BT.reshape(-1) != 0, _ways(rows), _ways(split.expert)
    served_KN, room = jnp.broadcast_to(real_N[None], (K, N)), min(K, E // peers) * N
    if capacity:
        C = routing.capacity(capacity, N * ways * _ways(context) // groups, K, E)
        group_rows = B * ways // groups
        parts = 1 + math.ceil((B - math.gcd(B, group_rows)) / group_rows)  # of groups, at most
        room = min(room, E // peers * C * parts)
        if groups % ways == 0:  # each group is on one device
            groups, rows = groups // ways, ()
        rank_KN = routing.rank(experts_KN, real_N, E, B, groups, rows, context)
        served_KN &= rank_KN < C
    if limit:
        served_KN &= routing.first_come(experts_KN, segments_BT, E, limit, context)
    if capacity and not rows and not context:
        return plans.even(experts_KN, rank_KN, served_KN, E, C, groups), served_KN
    return plans.packed(experts_KN, served_KN, E, peers, room), served_KN


def _own(experts, split):
    """Kernels of full width; the bias of `down` on one of those whose outputs are summed."""
    if split.fsdp:
        whole = lambda x, axis: lax.all_gather(x, split.fsdp, axis=axis, tiled=True)  # noqa: E731
        experts = {
            name: leaves | {'kernel': whole(leaves['kernel'], 2 if name == 'down' else 1)}
            for name, leaves in experts.items()
        }
    if split.tensor and 'bias' in experts['down']:
        bias_ED = experts['down']['bias']
        bias_ED = jnp.where(lax.axis_index(split.tensor) == 0, bias_ED, jnp.zeros_like(bias_ED))
        experts = experts | {'down': experts['down'] | {'bias': bias_ED}}
    return experts


def _work(x_SD, keep_SF, plan, E, work, axes):
    """y_SD: what the experts of all devices along `axes` make of the rows that are here."""
    if plan.sizes_E is None:
        return _work_evenly(x_SD, keep_SF, E, work, axes)
    if not axes:
        return work(x_SD, keep_SF, plan.sizes_E)
    X, S = _ways(axes), len(x_SD)
    swap = lambda x: lax.all_to_all(x.reshape(X, -1, *x.shape[1:]), axes, 0, 0)  # noqa: E731
    sizes_XE = swap(plan.sizes_E)  # from each device, for each expert here
    expert_XR = jax.vmap(lambda sizes_E: owners(sizes_E, S // X))(sizes_XE)
    used_XR = jnp.arange(S // X)[None] < sizes_XE.sum(1, keepdims=True)
    order_S, place_S, _ = routing.sort(expert_XR, used_XR, sizes_XE.shape[1])
    come = lambda x: plans.move(swap(x).reshape(S, -1), order_S, place_S)  # noqa: E731
    y_SD = _work_by_pieces(
        come(x_SD),
        None if keep_SF is None else come(keep_SF),
        sizes_XE.sum(0),
        work,
        X * math.gcd(S // X, PIECES),
    )
    return swap(plans.move(y_SD, place_S, order_S)).reshape(S, -1)


def _work_evenly(x_SD, keep_SF, E, work, axes):
    def go(x_SD):
        x_ECD = x_SD.reshape(E, -1, x_SD.shape[1])
        return lax.all_to_all(x_ECD, axes, 0, 1, tiled=True) if axes else x_ECD

    y_ECD = work(go(x_SD), None if keep_SF is None else go(keep_SF), None)
    y_ECD = lax.all_to_all(y_ECD, axes, 1, 0, tiled=True) if axes else y_ECD
    return y_ECD.reshape(x_SD.shape)


def _work_by_pieces(x_SD, keep_SF, sizes_E, work, pieces):
    """Rows without a token lie last: pieces of nothing else are left out."""
    ends_E, size = jnp.cumsum(sizes_E), len(x_SD) // pieces
    cut = lambda x: x.reshape(pieces, size, -1)  # noqa: E731

    def piece(_, rows):
        x_RD, keep_RF, first = rows
        own_E = jnp.diff(jnp.clip(ends_E - first, 0, size), prepend=0)
        none = lambda x_RD, *_: jnp.zeros_like(x_RD)  # noqa: E731
        return None, lax.cond(first < ends_E[-1], work, none, x_RD, keep_RF, own_E)

    keep = None if keep_SF is None else cut(keep_SF)
    starts = jnp.arange(pieces, dtype=jnp.int32) * size
    return lax.scan(piece, None, (cut(x_SD), keep, starts))[1].reshape(x_SD.shape)


def _mlp(x, keep, sizes_E, *, experts, activation):
    """Each row through the MLP of its expert: rows [S, D] by sizes, or [E, C, D]."""

    def linear(name, x):
        kernel, bias = experts[name]['kernel'], experts[name].get('bias')
        if sizes_E is None:
            y = jnp.einsum('ecd,edf->ecf', x, kernel)
            return y if bias is None else y + bias[:, None]
        more_E = sizes_E.at[-1].add(len(x) - sizes_E.sum())  # rows of nobody are worked on too
        y = grouped_dot(x, kernel, more_E)
        return y if bias is None else y + jnp.take(bias, owners(more_E, len(x)), axis=0)

    hidden = linear('up', x)
    hidden = activation(linear('gate', x)) * hidden if 'gate' in experts else activation(hidden)
    return linear('down', hidden if keep is None else hidden * keep)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _total(x, axes):
    """The sum over devices, all of which have it and its gradient: that is not summed again."""
    return lax.psum(x, axes)


_total.defvjp(
    lambda x, axes: (lax.psum(x, axes), None),
    lambda axes, _, ct: (ct * _ways(axes),),  # the psum of equal parts, without communication
)


def _ways(axes: routing.Axes) -> int:
    return lax.axis_size(axes) if axes else 1
