"""A pipeline over depth: stages hold layers, microbatches go from stage to stage.

https://arxiv.org/abs/1811.06965, and by `schedule` the circular form of interleaved stages. All
stages run one program, `jax.shard_map` over `stage` alone: in each iteration a stage runs one of
its groups of layers on one microbatch and hands the result to the next; the last hands it back to
the first, where it waits for its next round, or for the end. What else splits the work stays XLA's.

A stage keeps what the backward pass needs of all its microbatches. With several rounds neighbouring
groups of layers lie on different stages: all parameters below the stack cross the axis once a step,
and their gradients once.

N = B A rows, row b A + a being row b of microbatch a; T length, D width, R repeats; S stages, V
rounds, I iterations, L repeats of a group: R = V S L.
"""

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import lift
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec

from transformer import schedule
from transformer.config import StackConfig
from transformer.context import Context
from transformer.ops import partition
from transformer.ops.kept import LAYER
from transformer.schedule import IDLE

AXIS = 'stage'
OF_ROWS = (  # the parts of a context that have rows
    'positions_BT',
    'segments_BT',
    'rows_B',
    'prefix_BT',
    'memory_BSD',
    'memory_segments_BS',
)
Layer = Callable[[Any, jax.Array, Context], tuple[jax.Array, Any]]
Policy = Callable[..., Any]


def stages() -> int:
    """S of the mesh in force; 1 without one."""
    return partition.ways().get(AXIS, 1)


def merged(x: jax.Array) -> jax.Array:
    """[A, B, ...] -> [N, ...], the rows of a microbatch apart: they stay where they lie."""
    return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])


def check_microbatches(stacks: Iterable[StackConfig], microbatches: int) -> None:
    """Raises a `ValueError` where a stack would deal rows out in another way than they came."""
    for c in stacks:
        if c.microbatches != microbatches:
            raise ValueError(
                f'a stack for {c.microbatches} microbatches cannot be used with a batch of '
                f'{microbatches}; accepted: the same number'
            )


def run(
    layer: Layer,
    layers_R: Any,
    x_NTD: jax.Array,
    ctx: Context,
    microbatches: int,
    rounds: int = 1,
    unroll: int = 1,
    policy: Policy | None = None,
) -> tuple[jax.Array, Any]:
    """x_NTD after all repeats, and what they report of each microbatch, [R, A, ...].

    Args:
      layer: (own, x_BTD, ctx) -> (x_BTD, reports): one repeat on one microbatch.
      layers_R: what is each repeat's own; arrays [R, ...].
      ctx: of all N rows.
      microbatches: A.
      rounds: V.
      unroll: repeats per step of the scan over those of a group.
      policy: that `layer` is rematerialised by (`jax.checkpoint_policies`), or None.
    """
    A, S = microbatches, stages()
    apart = functools.partial(_apart, A=A, S=S)
    rows = {name: getattr(ctx, name) for name in OF_ROWS if getattr(ctx, name) is not None}
    rest = ctx.replace(**dict.fromkeys(rows))
    groups_VSL = jax.tree.map(lambda x: x.reshape(rounds, S, -1, *x.shape[1:]), layers_R)
    group = functools.partial(_group, layer, unroll=unroll, policy=policy)
    mapped = jax.shard_map(
        functools.partial(_stage, group, A, rounds),
        in_specs=(PartitionSpec(None, AXIS), PartitionSpec(AXIS), PartitionSpec(), PartitionSpec()),
        out_specs=(PartitionSpec(AXIS), PartitionSpec(None, AXIS)),
        axis_names={AXIS},
        check_vma=False,
    )
    rows = {name: _laid(apart(x)) for name, x in rows.items()}  # whole on every stage
    x_ABTD, told_VSLA = mapped(groups_VSL, _laid(apart(x_NTD), AXIS), rows, rest)
    x_NTD = _laid(x_ABTD, AXIS)[:A].swapaxes(0, 1).reshape(x_NTD.shape)
    return x_NTD, jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), told_VSLA)


def _apart(x: jax.Array, A: int, S: int) -> jax.Array:
    """[N, ...] -> [A, B, ...], with microbatches of nothing until S divides them."""
    x = x.reshape(-1, A, *x.shape[1:]).swapaxes(0, 1)
    return jnp.pad(x, [(0, -A % S)] + [(0, 0)] * (x.ndim - 1))


def _laid(x: jax.Array, first: Any = None) -> jax.Array:
    """[., B, ...] with its rows split as ever: XLA would gather them here and there."""
    rows = partition.dividing(partition.ROWS, x.shape[1])
    free = [PartitionSpec.UNCONSTRAINED] * (x.ndim - 2)
    return jax.lax.with_sharding_constraint(x, PartitionSpec(first, rows, *free))


def _stage(group, A, rounds, groups_V1L, x_ABTD, rows, ctx):
    """What one stage does: returns its share of the results, [A / S, B, T, D], and its reports."""
    S = jax.lax.axis_size(AXIS)
    plan, stage = schedule.schedule(S, A, rounds), jax.lax.axis_index(AXIS)
    groups_VL = jax.tree.map(lambda x: x[:, 0], groups_V1L)
    micro_I = jnp.asarray(plan.micro_IS)[:, stage]
    # Idle stages work on what lies at hand, which nobody reads.
    flow = rows | {'x_BTD': _collected(x_ABTD)}
    fed_I = jax.tree.map(lambda x: _laid(x[jnp.maximum(micro_I, 0)]), flow)
    first_BTD = fed_I['x_BTD'][0]
    # One place more than there are microbatches: for what comes back from an idle stage.
    back = _laid(jnp.zeros((A + 1, *first_BTD.shape), first_BTD.dtype))
    back_I = jnp.asarray(np.where(plan.micro_IS[:, -1] == IDLE, A, plan.micro_IS[:, -1]))

    def iteration(carry, now):
        handed_BTD, back_ABTD = carry
        own, turn, micro, to = now
        x_BTD = own.pop('x_BTD')
        if rounds > 1:
            waiting_BTD = jax.lax.dynamic_index_in_dim(back_ABTD, micro, 0, keepdims=False)
            x_BTD = jnp.where(turn == 0, x_BTD, waiting_BTD)
        x_BTD = jnp.where(stage == 0, x_BTD, handed_BTD)
        x_BTD, told = group(groups_VL, turn, x_BTD, ctx.replace(**own))
        x_BTD = jax.lax.ppermute(x_BTD, AXIS, [(s, (s + 1) % S) for s in range(S)])
        back_ABTD = _laid(jax.lax.dynamic_update_index_in_dim(back_ABTD, x_BTD, to, 0))
        return (x_BTD, back_ABTD), told

    turn_I = jnp.asarray(plan.round_IS)[:, stage]
    xs = fed_I, turn_I, jnp.maximum(micro_I, 0), back_I
    (_, back_ABTD), told_IL = jax.lax.scan(iteration, (first_BTD, back), xs)
    done_ABTD = jnp.pad(back_ABTD[:A], [(0, -A % S)] + [(0, 0)] * (back_ABTD.ndim - 1))
    when_VA = jnp.asarray(plan.when_SVA)[stage]
    told_V1LA = jax.tree.map(lambda x: jnp.moveaxis(x[when_VA], 2, 1)[:, None], told_IL)
    return _shared(done_ABTD), told_V1LA


def _collected(x_ABTD: jax.Array) -> jax.Array:
    """All microbatches on stage 0, of which each stage has some; on other stages mostly zeros.

    By permutations alone: across other collectives along `stage` XLA gathers the rows.
    """
    S = jax.lax.axis_size(AXIS)
    others = [jax.lax.ppermute(x_ABTD, AXIS, [(s, 0)]) for s in range(1, S)]
    return _laid(jnp.concatenate([x_ABTD, *others]))


def _shared(x_ABTD: jax.Array) -> jax.Array:
    """Stage s's share of what stage 0 has."""
    first, *others = jnp.split(x_ABTD, jax.lax.axis_size(AXIS))
    for s, part in enumerate(others, 1):
        got = jax.lax.ppermute(part, AXIS, [(0, s)])
        first = jnp.where(jax.lax.axis_index(AXIS) == s, got, first)
    return _laid(first)


def _group(layer, groups_VL, turn, x_BTD, ctx, *, unroll, policy):
    """One group of repeats: that of the round `turn`."""

    V, L = jax.tree.leaves(groups_VL)[0].shape[:2]
    layers_R = jax.tree.map(lambda x: x.reshape(V * L, *x.shape[2:]), groups_VL)

    def one(x_BTD, own):
        return layer(own, checkpoint_name(x_BTD, LAYER), ctx)

    def group(layers_L, x_BTD):
        return jax.lax.scan(one, x_BTD, layers_L, unroll=min(unroll, L))

    def chosen(layers_R, x_BTD):
        pick = lambda x: jax.lax.dynamic_slice_in_dim(x, turn * L, L)  # noqa: E731
        return group(jax.tree.map(pick, layers_R), x_BTD)

    if V == 1:
        return group(layers_R, x_BTD)
    return jax.checkpoint(chosen, policy=_without_slices(policy), prevent_cse=False)(
        layers_R, x_BTD
    )


def _without_slices(policy: Policy | None) -> Policy:
    """Keeps what `policy` would in layers, and not a group's parameters for each iteration."""
    layers = jax.checkpoint_policies.save_only_these_names(LAYER)

    def keeps(primitive, *args, **params):
        if primitive is jax.lax.dynamic_slice_p:
            return False
        if policy is None or layers(primitive, *args, **params):
            return True
        return policy(primitive, *args, **params)

    return keeps


def _dealt(rows: int, microbatches: int) -> int:
    """The most microbatches, a divisor of `microbatches`, whose rows the mesh can still split."""
    found = partition.ways()
    ways = math.prod(found.get(axis, 1) for axis in partition.ROWS)
    ways = ways if rows % ways == 0 else 1
    return math.gcd(rows // ways, microbatches)


def lifted(
    body: Callable, rounds: int, microbatches: int, unroll: int, policy: Policy | None
) -> Callable:
    """A transformation of Flax modules like `flax.core.lift.scan`: repeats as stages of a pipeline.

    Parameters have a leading axis of all repeats, and each repeat draws the dropout that it would
    in a scan. With caches, in generation, it is a scan.

    Args:
      body: function (scope, x, ctx, index, cache) -> (x, (cache, reports)).
      policy: that `body` is rematerialised by, or None.
    """

    def whole(scope_fn, repack_fn, variables, rngs, x_NTD, ctx, index_R, caches):
        del repack_fn  # nothing but parameters is lifted, and these do not change

        def layer(own, x_BTD, ctx):
            *inside, index, cache = own
            return body(scope_fn(*inside), x_BTD, ctx, index, cache)

        keys_R = lift.tree_map_rngs(lambda key: jax.random.split(key, len(index_R)), rngs)
        layers_R = (variables, keys_R, index_R, caches)
        if caches is not None:
            step = lambda x_BTD, own: layer(own, x_BTD, ctx)  # noqa: E731
            return jax.lax.scan(step, x_NTD, layers_R, unroll=unroll), ()
        A = _dealt(len(x_NTD), microbatches)
        x_NTD, (_, told) = run(layer, layers_R, x_NTD, ctx, A, rounds, unroll, policy)
        return (x_NTD, (None, told)), ()

    return lift.pack(whole, ('params',), (), (True,), name='pipeline')
