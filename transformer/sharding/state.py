"""Where each leaf of the training state lies."""

from typing import Any

import jax
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from transformer.sharding.rules import param_specs

HOST = 'pinned_host'  # memory of the host that a device can copy from by itself


def state_shardings(
    abstract_state: Any, tx: optax.GradientTransformation, mesh: Mesh, offload: bool = False
) -> Any:
    """A NamedSharding for each leaf of a `TrainState`: optimizer state lies as its parameter.

    Args:
      offload: whether the moments wait in the host's memory between updates.
    """
    specs = param_specs(abstract_state.params, mesh)
    whole = NamedSharding(mesh, PartitionSpec())
    own = NamedSharding(mesh, PartitionSpec())
    moments = optax.tree_map_params(
        tx,
        lambda _, spec: NamedSharding(mesh, spec, memory_kind=HOST if offload else None),
        abstract_state.opt_state,
        specs,
        transform_non_params=lambda _: own,
    )
    params = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)
    rest = jax.tree.map(lambda _: whole, abstract_state)
    return rest.replace(params=params, opt_state=moments)


def on_device(tree: Any) -> Any:
    """Inside a compiled step: what waits on the host, on the device."""
    return jax.tree.map(lambda x: jax.device_put(x, jax.memory.Space.Device), tree)
