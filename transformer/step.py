"""The training state, and the step that moves it. A microbatches, B rows, T tokens.

A batch is a dict of arrays [A, B, T]: `inputs`, `targets`, `weights`, `positions`, `segment_ids`.
"""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from transformer import losses, optim, sharding
from transformer.context import Context
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


def context_of(batch: dict[str, jax.Array], rows_B: jax.Array | None = None, **mode) -> Context:
    """The context of one microbatch."""
    return Context.of(batch['inputs'], batch['positions'], batch['segment_ids'], rows_B, **mode)


def init_fn(model: Any, tx: optax.GradientTransformation) -> Callable[[jax.Array], TrainState]:
    """A function from a key to the first state, for `jax.eval_shape` and `jax.jit`."""

    def init(key: jax.Array) -> TrainState:
        init_key, train_key = jax.random.split(key)
        inputs = jnp.zeros((1, 8), jnp.int32)
        params = model.init(init_key, inputs, Context.of(inputs))['params']
        zero = jnp.zeros((), jnp.int32)
        return TrainState(zero, params, tx.init(params), jax.random.key_data(train_key), zero)

    return init


def abstract_state(init: Callable, tx: optax.GradientTransformation, mesh: Mesh) -> TrainState:
    """Shapes, types and layout of the state, without making it."""
    shapes = jax.eval_shape(init, jax.random.key(0))
    shardings = sharding.state_shardings(shapes, tx, mesh)
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings
    )


def abstract_batch(shape: tuple[int, int, int], mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes, types and layout of a batch [A, B, T]."""
    layout = NamedSharding(mesh, sharding.BATCH)
    names = ('inputs', 'targets', 'positions', 'segment_ids')
    types = dict.fromkeys(names, jnp.int32) | {'weights': jnp.float32}
    return {
        name: jax.ShapeDtypeStruct(shape, dtype, sharding=layout) for name, dtype in types.items()
    }


def train_step_fn(
    model: Any, tx: optax.GradientTransformation, experiment: Experiment
) -> Callable[[TrainState, dict], tuple[TrainState, dict]]:
    """The update as a pure function (state, batch) -> (state, metrics), not yet compiled.

    The gradient is that of the mean over all weighted tokens of the batch, whatever the number of
    microbatches. Metrics: `loss` (nats a token), `grad_norm` (before clipping), `learning_rate`,
    `tokens`, `skipped`.
    """
    rate = optim.schedule(experiment)

    def loss_fn(params, batch, rows_B, key):
        ctx = context_of(batch, rows_B, train=True)
        rngs = {'dropout': key}
        logits_BTV, _, _ = model.apply({'params': params}, batch['inputs'], ctx, rngs=rngs)
        return losses.next_token(logits_BTV, batch['targets'], batch['weights'])

    def gradients(params, batch, key):
        A, B, _ = batch['inputs'].shape
        rows_AB = jnp.arange(A * B, dtype=jnp.int32).reshape(A, B)
        if A == 1:
            one = jax.tree.map(lambda x: x[0], batch)
            return jax.value_and_grad(loss_fn)(params, one, rows_AB[0], key)

        def add(total, micro):
            part = jax.value_and_grad(loss_fn)(params, *micro, key)
            return jax.tree.map(jnp.add, total, part), None

        zeros = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
        return jax.lax.scan(add, zeros, (batch, rows_AB))[0]

    def train_step(state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
        tokens = batch['weights'].sum()
        nats, grads = gradients(state.params, batch, key)
        scale = 1 / jnp.maximum(tokens, 1)
        loss, grads = nats * scale, jax.tree.map(lambda g: g * scale, grads)
        grad_norm = optax.tree.norm(grads)
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        skipped = state.skipped
        if experiment.skip_nonfinite:
            finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
            keep = lambda new, old: jnp.where(finite, new, old)  # noqa: E731
            params = jax.tree.map(keep, params, state.params)
            opt_state = jax.tree.map(keep, opt_state, state.opt_state)
            skipped += ~finite
        metrics = {
            'loss': loss,
            'grad_norm': grad_norm,
            'learning_rate': rate(state.step - state.skipped),
            'tokens': tokens,
            'skipped': skipped,
        }
        new = state.replace(
            step=state.step + 1, params=params, opt_state=opt_state, skipped=skipped
        )
        return new, metrics

    return train_step


def jit_train_step(train_step: Callable, shardings: Any, mesh: Mesh) -> Callable:
    """`train_step` compiled for the mesh: the state's layout is pinned, its memory reused."""
    batch = NamedSharding(mesh, sharding.BATCH)
    whole = NamedSharding(mesh, PartitionSpec())
    return jax.jit(
        train_step,
        in_shardings=(shardings, batch),
        out_shardings=(shardings, whole),
        donate_argnums=0,
    )
