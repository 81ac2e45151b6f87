"""Batches over the mesh. A microbatches, B rows, T places."""

import functools
import math

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from transformer.errors import ConfigError
from transformer.ops.partition import CONTEXT, ROWS


def batch_spec(rank: int) -> PartitionSpec:
    """Of an array of a batch: [A, B], [A, B, T], or images [A, B, ...]."""
    return PartitionSpec(None, ROWS, CONTEXT) if rank == 3 else PartitionSpec(None, ROWS)


def row_ways(mesh: Mesh) -> int:
    """Into how many parts the rows of a microbatch are split."""
    return math.prod(mesh.shape[axis] for axis in ROWS)


def check_batch(batch_size: int, accumulation: int, context: int, mesh: Mesh) -> None:
    """Raises a `ConfigError` where a batch cannot be dealt out evenly over the mesh."""
    rows, ways = batch_size // accumulation, row_ways(mesh)
    if rows % ways:
        unit = ways * accumulation
        near = sorted({max(1, batch_size // unit) * unit, -(-batch_size // unit) * unit})
        each = f' in {accumulation} microbatches' if accumulation > 1 else ''
        axes = ', '.join(axis for axis in ROWS if mesh.shape[axis] > 1)
        raise ConfigError(
            'batch_size',
            batch_size,
            f'a multiple of {unit} for {ways} devices along {axes}{each}, '
            f'such as {" or ".join(map(str, near))}',
        )
    check_context(context, mesh)


def check_context(context: int, mesh: Mesh) -> None:
    """Raises a `ConfigError` where sequences of that length cannot be split evenly."""
    if context % mesh.shape[CONTEXT]:
        accepted = f'a multiple of config.mesh.context={mesh.shape[CONTEXT]}'
        raise ConfigError('context', context, accepted)


@functools.lru_cache
def rows_here(mesh: Mesh, rows: int) -> np.ndarray:
    """Which rows of a microbatch this process's devices hold, ascending; int64.

    Processes along `context`, `tensor` or `stage` hold the same ones.
    """
    layout = NamedSharding(mesh, PartitionSpec(ROWS))
    held = {
        index[0].indices(rows) for index in layout.addressable_devices_indices_map((rows,)).values()
    }
    return np.unique(np.concatenate([np.arange(*span) for span in held]))


def put_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """The rows that `rows_here` names, with all their places, onto this process's devices."""

    def put(x: np.ndarray) -> jax.Array:
        ways = row_ways(mesh)
        rows = x.shape[1] * ways // len(rows_here(mesh, ways))
        here = rows_here(mesh, rows)

        def part(index: tuple[slice, ...]) -> np.ndarray:
            first, last, _ = index[1].indices(rows)
            at = np.searchsorted(here, first)
            return x[index[0], at : at + last - first, *index[2:]]

        shape = (x.shape[0], rows, *x.shape[2:])
        return jax.make_array_from_callback(shape, NamedSharding(mesh, batch_spec(x.ndim)), part)

    return {name: put(x) for name, x in batch.items()}
