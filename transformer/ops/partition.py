"""What mathematics needs to know of the mesh in force (`jax.set_mesh`): which axes split what.

Model code never names devices. Where XLA cannot split an operation by itself, or would gather what
need not be gathered, the operation in `ops/` maps itself over the mesh (`jax.shard_map`) by what it
finds here; without a mesh, or where nothing divides, it runs as it is.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, PartitionSpec

ROWS = ('data', 'fsdp', 'expert')  # axes that split the rows of a batch
HEADS = ('tensor',)  # ... heads, hidden units, the vocabulary
CONTEXT = 'context'  # ... the places of a sequence


def ways() -> dict[str, int]:
    """Size of each axis, above 1, of the mesh in force that XLA still splits; {} without a mesh.

    Inside `shard_map` over some axes these are no longer among them.
    """
    mesh = jax.sharding.get_abstract_mesh()
    return {
        axis: mesh.shape[axis]
        for axis, kind in zip(mesh.axis_names, mesh.axis_types)
        if kind != AxisType.Manual and mesh.shape[axis] > 1
    }


def on_one_cpu() -> bool:
    """Whether what is traced here is for a single CPU device; also where it is compiled for TPUs
    on a machine that has none."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    platform = jax.default_backend() if device is None else device.platform
    return platform == 'cpu' and not ways()


def dividing(axes: tuple[str, ...], size: int) -> tuple[str, ...] | None:
    """Those of `axes` in force, if together they split `size` evenly; None if nothing is split."""
    found = ways()
    axes = tuple(axis for axis in axes if axis in found)
    product = math.prod(found[axis] for axis in axes)
    return axes if axes and size % product == 0 else None


def first_dividing(axes: tuple[str, ...], size: int) -> tuple[str, ...] | None:
    """`dividing` for as many of the first `axes` as it takes."""
    shorter = (axes[:n] for n in range(len(axes), 0, -1))
    return next(filter(None, (dividing(some, size) for some in shorter)), None)


def held(x: jax.Array, axis: int, split: bool) -> jax.Array:
    """`x` with places along `axis` split over devices, or all on each; no word on other axes."""
    spec = [PartitionSpec.UNCONSTRAINED] * x.ndim
    spec[axis] = CONTEXT if split else None
    return jax.lax.with_sharding_constraint(x, PartitionSpec(*spec))


def mapped(f: Callable, in_specs: Any, out_specs: Any, kernel: bool = False) -> Callable:
    """`jax.shard_map` of `f` over the axes in force: each device works on its own part.

    Args:
      kernel: whether XLA cannot look into `f`. Then axes of size 1 must be mapped as well;
        otherwise they are better left, as gradients would be summed up over them.
    """
    mesh = jax.sharding.get_abstract_mesh()
    free = {a for a, kind in zip(mesh.axis_names, mesh.axis_types) if kind != AxisType.Manual}
    return jax.shard_map(
        f,
        in_specs=in_specs,
        out_specs=out_specs,
        axis_names=free if kernel else set(ways()),
        check_vma=False,
    )
