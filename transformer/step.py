"""The training state, and the step that moves it. A microbatches, B rows, T tokens.

A batch is a dict of arrays [A, B, ...]: `targets` and `weights`, and what the model's `forward`
reads: `inputs`, `positions`, `segment_ids`, `images` ... Of a mixture also `source` [A, B], which
source each row is of; models do not see it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from transformer import hardware, losses, optim, pipeline, sharding, summary
from transformer.experiment import Experiment


@flax.struct.dataclass
class TrainState:
    """All that an update reads and writes.

    Attributes:
      step: int32, updates done.
      params: nested dict of float32 arrays.
      opt_state: of optax.
      rng: uint32 key data; the key of step n is fold_in(rng, n).
      skipped: int32, updates that were not finite and were left out.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    rng: jax.Array
    skipped: jax.Array


def init_fn(model: Any, tx: optax.GradientTransformation) -> Callable[[jax.Array], TrainState]:
    """A function from a key to the first state, for `jax.eval_shape` and `jax.jit`."""

    def init(key: jax.Array) -> TrainState:
        init_key, train_key = jax.random.split(key)
        params = model.init(init_key, model.example(), method='forward')['params']
        zero = jnp.zeros((), jnp.int32)
        return TrainState(zero, params, tx.init(params), jax.random.key_data(train_key), zero)

    return init


def abstract_state(
    init: Callable, tx: optax.GradientTransformation, mesh: Mesh, offload: bool = False
) -> TrainState:
    """Shapes, types and layout of the state, without making it; `sharding.state_shardings`."""
    shapes = jax.eval_shape(init, jax.random.key(0))
    shardings = sharding.state_shardings(shapes, tx, mesh, offload)
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings
    )


def abstract_batch(batch: dict[str, Any], mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes, types and layout of a batch like this one, which has the rows of all processes."""

    def one(x) -> jax.ShapeDtypeStruct:
        layout = NamedSharding(mesh, sharding.batch_spec(len(x.shape)))
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=layout)

    return {name: one(x) for name, x in batch.items()}


def train_step_fn(
    model: Any,
    tx: optax.GradientTransformation,
    experiment: Experiment,
    sources: Sequence[str] = (),
) -> Callable[[TrainState, dict], tuple[TrainState, dict]]:
    """The update as a pure function (state, batch) -> (state, metrics), not yet compiled.

    The gradient is that of the mean over all weighted tokens of the batch, whatever the number of
    microbatches. Metrics: `loss` (nats a target, not smoothed), `grad_norm` (before clipping),
    `learning_rate`, `tokens` (targets that count), `skipped`, and what experts report; of each
    source the sums `nats/NAME` and `tokens/NAME`, of which `report.SourceLosses` makes means.

    Args:
      sources: names of the sources of a mixture, whose batches have `source`.
    """
    rate = optim.schedule(experiment)
    smoothing = experiment.objective.smoothing
    stacks = [stack for stack, _ in summary.stacks(model.config).values()]

    def scored(params, batch, rows_B, key):
        """The loss of all rows, each row's nats, and what the MLPs report."""
        used = {'params': sharding.at_use(params, model)}
        way = losses.way(model.config.head, batch['targets'].shape, experiment.loss_chunk)
        found, aux = sharding.apply(
            model, used, batch, rows_B, True, rngs={'dropout': key}, method=way.method
        )
        loss, nats_B = way.loss(found, batch['targets'], batch['weights'], smoothing)
        return loss, nats_B, aux

    def loss_fn(params, batch, rows_B, key):
        loss, nats_B, aux = scored(params, batch, rows_B, key)
        extra, stats = losses.reports(aux)
        return loss + extra * batch['weights'].sum(), (nats_B, stats)

    def piped_loss_fn(params, batch, rows_AB, key):
        A = len(rows_AB)
        pipeline.check_microbatches(stacks, A)
        merged, rows_N = jax.tree.map(pipeline.merged, (batch, rows_AB))
        loss, nats_N, aux = scored(params, merged, rows_N, key)
        extra_A, stats_A = losses.reports_of_each(aux, A)
        weights_A = batch['weights'].reshape(A, -1).sum(1)
        return loss + (extra_A * weights_A).sum(), (nats_N.reshape(-1, A).T, stats_A)

    def gradients(params, batch, key):
        A, B = batch['weights'].shape[:2]
        rows_AB = jnp.arange(A * B, dtype=jnp.int32).reshape(A, B)
        if pipeline.stages() > 1:
            grad = jax.grad(piped_loss_fn, has_aux=True)
            grads, (nats_AB, stats_A) = grad(params, batch, rows_AB, key)
            return grads, (nats_AB, over_microbatches(stats_A))
        grad = jax.grad(loss_fn, has_aux=True)
        if A == 1:
            grads, (nats_B, stats) = grad(
                params, jax.tree.map(lambda x: x[0], batch), rows_AB[0], key
            )
            return grads, (nats_B[None], stats)

        def add(total, micro):
            grads, told = grad(params, *micro, key)
            return jax.tree.map(jnp.add, total, grads), told

        zeros = jax.tree.map(jnp.zeros_like, params)
        grads, (nats_AB, stats_A) = jax.lax.scan(add, zeros, (batch, rows_AB))
        return grads, (nats_AB, over_microbatches(stats_A))

    def over_microbatches(stats_A):
        counts = {'dropped': jnp.sum}
        return {name: counts.get(name, jnp.mean)(x) for name, x in stats_A.items()}

    def train_step(state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
        tokens = batch['weights'].sum()
        grads, (nats_AB, stats) = gradients(state.params, batch, key)
        scale = 1 / jnp.maximum(tokens, 1)
        loss, grads = nats_AB.sum() * scale, jax.tree.map(lambda g: g * scale, grads)
        grad_norm = optax.tree.norm(grads)
        moments = state.opt_state
        if experiment.optimizer.offload:
            moments = sharding.on_device(moments)
        updates, opt_state = tx.update(grads, moments, state.params)
        params = optax.apply_updates(state.params, updates)
        skipped = state.skipped
        if experiment.skip_nonfinite:
            finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
            keep = lambda new, old: jnp.where(finite, new, old)  # noqa: E731
            params = jax.tree.map(keep, params, state.params)
            opt_state = jax.tree.map(keep, opt_state, moments)
            skipped += ~finite
        metrics = {
            'loss': loss,
            'grad_norm': grad_norm,
            'learning_rate': rate(state.step - state.skipped),
            'tokens': tokens,
            'skipped': skipped,
        } | {f'experts/{name}': x for name, x in stats.items()}
        if sources:
            metrics |= losses.by_source(nats_AB, batch['weights'], batch['source'], sources)
        new = state.replace(
            step=state.step + 1, params=params, opt_state=opt_state, skipped=skipped
        )
        return new, metrics

    return train_step


def jit_train_step(train_step: Callable, shardings: Any, mesh: Mesh) -> Callable:
    """`train_step` compiled for the mesh: the state's layout is pinned, its memory reused."""
    whole = NamedSharding(mesh, PartitionSpec())

    return jax.jit(
        sharding.under(mesh, train_step),
        in_shardings=(shardings, None),  # a batch lies as `sharding.put_batch` puts it
        out_shardings=(shardings, whole),
        donate_argnums=0,
        compiler_options=hardware.COMPILER_OPTIONS.get(mesh.devices.flat[0].platform),
    )
