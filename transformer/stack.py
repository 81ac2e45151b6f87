"""The stack: a pattern of blocks repeated under one scan over depth."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from transformer import pipeline, registry, schedule
from transformer.blocks import Block
from transformer.config import InitConfig, StackConfig
from transformer.context import Context
from transformer.layers import Dropout, Linear
from transformer.ops.kept import ATTENTION, BRANCH

# What the backward pass keeps of each repeat; it computes the rest again. 'none' keeps everything.
REMAT = {
    'none': None,
    # Products of activations with parameters; those among activations, as in attention, again.
    'dots': jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    # What branches add to the residual stream, and results of attention kernels: none runs twice.
    'minimal': jax.checkpoint_policies.save_only_these_names(ATTENTION, BRANCH),
    # Nothing but the input of each repeat.
    'full': jax.checkpoint_policies.nothing_saveable,
    # As 'minimal', and it waits in the host's memory.
    'offload': jax.checkpoint_policies.save_and_offload_only_these_names(
        names_which_can_be_saved=[],
        names_which_can_be_offloaded=[ATTENTION, BRANCH],
        offload_src='device',
        offload_dst='pinned_host',
    ),
}


class Pattern(nn.Module):
    """The blocks of one repeat, in order: the body of the scan."""

    config: StackConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, ctx: Context, repeat: jax.Array, caches: tuple | None):
        c = self.config
        new_caches, auxes = [], []
        for i, block in enumerate(c.pattern):
            cache = None if caches is None else caches[i]
            depth = (repeat * len(c.pattern) + i) / max(c.layers - 1, 1)
            module = Block(block, c.width, c.dtype, name=f'block_{i}')
            x_BTD, cache, aux = module(x_BTD, ctx.replace(depth=depth), cache)
            new_caches.append(cache)
            auxes.append(aux)
        return x_BTD, (None if caches is None else tuple(new_caches), tuple(auxes))


class Stack(nn.Module):
    """`repeats` patterns, then a norm.

    Every parameter below `repeat` and every cache has a leading axis of length `repeats`; where the
    repeats share parameters, these lie below `shared` and have no such axis; where some of them
    do, the axis has length `groups`. The layout is the same whatever `unroll` and `remat` are, and
    so are the checkpoints. Only where repeats are `apart` there is no such axis: set i of the
    parameters lies below `repeat_i`, and there is a tuple of caches.
    """

    config: StackConfig

    def setup(self):
        c = self.config
        body = Pattern
        if c.remat != 'none':
            # Inside a rolled scan nothing can be merged across the barrier; unrolled it could.
            body = nn.remat(body, policy=REMAT[c.remat], prevent_cse=c.unroll > 1)
        if c.apart:
            self.repeat = [body(c) for _ in range(c.sets)]
        else:
            self.layers = self._stacked(body)
        if c.relative is not None:
            self.relative = registry.build(c.relative)
        if c.norm is not None:
            self.norm = registry.build(c.norm, dtype=c.dtype)
        if c.output:
            shape = (c.width, c.output)
            self.project = Linear('btd,de->bte', shape, InitConfig(), dtype=c.dtype)
        self.drop = Dropout(c.dropout)

    def _stacked(self, body: type[nn.Module]) -> nn.Module:
        """All repeats as one module, whose arrays have an axis of them."""
        c = self.config
        one = c.shared and c.groups == 1
        if pipeline.stages() > 1 and not self.is_initializing():
            scan = self._piped(body)
        else:
            scan = nn.scan(
                body,
                variable_axes={'intermediates': 0} | ({} if one else {'params': 0}),
                variable_broadcast='params' if one else False,
                split_rngs={'params': not one, 'dropout': True},
                in_axes=(nn.broadcast, 0, 0),
                length=c.repeats,
                unroll=c.unroll,
                # Whether the body is traced twice; counts of drawn keys would go on.
                check_constancy_invariants=self.is_initializing(),
            )
            if c.shared and not one:
                scan = _grouped(scan, c.repeats, c.groups, self.is_initializing())
        return scan(c, name='shared' if one else 'repeat')

    def _piped(self, body: type[nn.Module]) -> type[nn.Module]:
        """`body` repeated along a mesh's axis `stage`."""
        c = self.config
        schedule.check_layers(c.repeats, c.shared, pipeline.stages(), c.rounds)
        if self.is_mutable_collection('intermediates'):
            raise ValueError('a pipeline collects no intermediates; accepted: config.mesh.stage=1')
        return nn.transforms.lift_transform(
            pipeline.lifted,
            body,
            rounds=c.rounds,
            microbatches=c.microbatches,
            unroll=c.unroll,
            policy=REMAT[c.remat],
        )

    def init_cache(self, batch: int, length: int, memory: int = 0) -> tuple:
        """Empty caches for all layers: stacked over repeats, or a tuple of them."""
        c = self.config
        one = tuple(
            Block(b, c.width, c.dtype, parent=None).init_cache(batch, length, memory)
            for b in c.pattern
        )
        if c.apart:
            return (one,) * c.repeats
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (c.repeats, *x.shape)), one)

    def __call__(self, x_BTD: jax.Array, ctx: Context, caches: tuple | None = None):
        """Returns x_BTD, the new caches and what the MLPs report, the last two stacked.

        Under a mesh with stages the repeats are a pipeline (`pipeline.py`), and reports have a
        second axis, that of the microbatches.
        """
        c = self.config
        ctx = ctx.replace(causal=c.causal, bias=self.relative() if c.relative is not None else None)
        index = jnp.arange(c.repeats, dtype=jnp.float32)
        layers = self._one_by_one if c.apart else self.layers
        x_BTD, (caches, auxes) = layers(x_BTD, ctx, index, caches)
        if c.norm is not None:
            x_BTD = self.norm(x_BTD)
        if c.output:
            x_BTD = self.project(x_BTD)
        return self.drop(x_BTD, ctx), caches, auxes

    def _one_by_one(self, x_BTD, ctx: Context, index_R: jax.Array, caches: tuple | None):
        c, found = self.config, []
        for r in range(c.repeats):
            repeat, old = self.repeat[r * c.sets // c.repeats], caches and caches[r]
            x_BTD, new = repeat(x_BTD, ctx, index_R[r], old)
            found.append(new)
        new_caches, auxes = zip(*found)
        auxes = jax.tree.map(lambda *x: jnp.stack(x), *auxes)
        return x_BTD, (caches and new_caches, auxes)


def _grouped(scan: type[nn.Module], repeats: int, groups: int, starts: bool) -> type[nn.Module]:
    """`scan` whose parameters have an axis of `groups`, of which each repeat reads its own."""
    group = jnp.arange(repeats) * groups // repeats
    first = jnp.searchsorted(group, jnp.arange(groups))
    return nn.map_variables(
        scan,
        'params',
        trans_in_fn=lambda params: jax.tree.map(lambda x: x[group], params),
        trans_out_fn=lambda params: jax.tree.map(lambda x: x[first], params),
        init=starts,
    )
