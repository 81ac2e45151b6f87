"""An estimate for GPUs, for which nothing can be compiled here.

The state is exact, by its layout. What the backward pass keeps of the forward pass is counted by
tracing the real loss: what `jax.vjp` keeps besides parameters, each array divided by the axes of
the mesh that split it. XLA computes some of it again rather than keep it, so this is rather much.
Attention counts as one kernel that keeps no scores, where the model's attention can be one.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from transformer import losses, summary
from transformer.ops.partition import CONTEXT, HEADS, ROWS
from transformer.preflight import memory, program, report
from transformer.preflight.program import Case


def estimate(case: Case) -> dict[str, Any]:
    """The findings, labelled as an estimate; keys as of `report.of`, None for what is unknown."""
    if case.writes:
        state, kept = program.parameters(case), program.decode_state(case, case.model)
        activations, temporaries = 0, memory.bytes_of(kept.logits_BV)
    else:
        state, kept = program.train_state(case), None
        each = residuals(case, state.params)
        activations = sum(each)
        # Gradients lie as parameters do; the largest array has a gradient, too.
        temporaries = memory.bytes_of(state.params) + max(each, default=0)
    parts = memory.state_of(state, kept)
    given = sum(parts[name] for name in ('parameters', 'optimizer', 'kept'))
    total, capacity = given + activations + temporaries, int(case.topology.kind.usable)
    found = memory.Memory(
        **parts,
        activations=activations,
        temporaries=temporaries,
        arguments=given,
        outputs=0,
        code=0,
        total=total,
        capacity=capacity,
        fits=total <= capacity,
    )
    unknown = dict.fromkeys(('compile_seconds', 'collective_bytes'))
    known = report.common(case, state, found) | report.arithmetic(case, state, found, None)
    return known | {'estimate': True, 'largest_buffers': []} | unknown


def residuals(case: Case, params: Any) -> list[int]:
    """Bytes of a device of each array that the backward pass keeps."""
    c, task = case.experiment, case.task
    # The stages of a pipeline keep what all microbatches need; otherwise one follows the other.
    microbatches = 1 if case.mesh.shape['stage'] > 1 else c.accumulation
    rows = c.batch_size // microbatches
    batch = {
        name: jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
        for name, x in task.batch(c.batch_size, microbatches).items()
    }

    with jax.sharding.use_abstract_mesh(case.mesh):
        way = losses.way(case.model.config.head, batch['targets'].shape, c.loss_chunk)

    def loss(params, batch, key):
        found, aux = case.model.apply(
            {'params': params},
            batch,
            jnp.arange(rows),
            True,
            rngs={'dropout': key},
            method=way.method,
        )
        nats, _ = way.loss(found, batch['targets'], batch['weights'], c.objective.smoothing)
        return nats + losses.reports(aux)[0]

    def kept(params, batch, key):
        return jax.vjp(lambda params: loss(params, batch, key), params)[1]

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    found = jax.tree.leaves(jax.eval_shape(kept, shapes, batch, jax.random.key(0)))
    own = {x.shape for x in jax.tree.leaves(params)}
    splits = Splits(case, rows)
    return [
        math.prod(x.shape) * x.dtype.itemsize // splits.ways(x.shape)
        for x in found
        if x.shape not in own
    ]


class Splits:
    """Which axes of the mesh split an array, told by the sizes of its own axes."""

    def __init__(self, case: Case, rows: int):
        mesh = case.mesh.shape
        self._rows, self._row_ways = rows, math.prod(mesh[axis] for axis in ROWS)
        stacks = summary.stacks(case.model.config).values()
        self._lengths, self._context = {length for _, length in stacks}, mesh[CONTEXT]
        self._repeats, self._stages = {stack.repeats for stack, _ in stacks}, mesh['stage']
        self._tensor = math.prod(mesh[axis] for axis in HEADS)
        parts = [part for stack, _ in stacks for b in stack.pattern for part in (b.mixer, b.mlp)]
        names = ('heads', 'kv_heads', 'hidden')
        wide = {getattr(part, name, 0) for part in parts for name in names}
        self._wide = wide | {case.task.vocab}

    def ways(self, shape: tuple[int, ...]) -> int:
        """Into how many parts an array of this shape is split."""
        if self._rows not in shape[:3]:
            return 1
        at, ways = shape.index(self._rows), self._row_ways
        if at and shape[0] in self._repeats:
            ways *= self._stages
        rest = shape[at + 1 :]
        if any(size in self._lengths for size in rest):
            ways *= self._context
        if any(size in self._wide and size % self._tensor == 0 for size in rest):
            ways *= self._tensor
        return ways
