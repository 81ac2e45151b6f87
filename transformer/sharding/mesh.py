"""The mesh: devices along named axes, so that those that talk most are neighbours."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh

from transformer.errors import ConfigError
from transformer.experiment import MeshConfig

# Outermost first: what lies further in talks more, and over shorter ways.
AXES = ('data', 'stage', 'fsdp', 'expert', 'context', 'tensor')


def make_mesh(
    config: MeshConfig, experts: int = 0, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """A mesh over all devices, or those given.

    Several slices of TPUs are joined along `data`: only gradients cross the slow network between.

    Args:
      experts: of the model; without any, nothing can be split along `expert`.

    Raises:
      ConfigError: the axes do not multiply to the number of devices, or `data` does not divide into
        the slices.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = _sizes(config, experts, len(devices))
    slices = _slices(devices)
    if sizes['data'] % slices:
        raise ConfigError('mesh.data', sizes['data'], f'a multiple of the {slices} slices')
    kinds = (AxisType.Auto,) * len(AXES)
    return Mesh(_arranged(tuple(sizes[axis] for axis in AXES), slices, devices), AXES, kinds)


def _slices(devices: Sequence[Any]) -> int:
    """How many slices of TPUs; of GPUs the number tells hosts, which `fsdp` may cross."""
    if devices[0].platform != 'tpu':
        return 1
    return len({getattr(device, 'slice_index', 0) for device in devices})


def _sizes(config: MeshConfig, experts: int, count: int) -> dict[str, int]:
    sizes = dataclasses.asdict(config)
    for axis, size in sizes.items():
        if size == 0 or size < -1:
            accepted = 'a whole number above 0, or -1 for what is left'
            raise ConfigError(f'mesh.{axis}', size, accepted)
    if config.expert != 1 and not experts:  # the devices along it would hold nothing of their own
        raise ConfigError('mesh.expert', config.expert, '1, as config.model.experts=0')
    free = [axis for axis, size in sizes.items() if size == -1]
    if len(free) > 1:
        accepted = f'-1 on one axis only; config.mesh.{free[0]} has it'
        raise ConfigError(f'mesh.{free[1]}', -1, accepted)
    fixed = math.prod(size for size in sizes.values() if size != -1)
    if count % fixed or (not free and count != fixed):
        raise _unfit(sizes, fixed, count, bool(free))
    if free:
        sizes[free[0]] = count // fixed
    return sizes


def _unfit(sizes: dict[str, int], fixed: int, count: int, free: bool) -> ConfigError:
    """Says both numbers, and what one axis would have to be."""
    axis = max((a for a in sizes if sizes[a] != -1), key=lambda a: sizes[a])
    rest = fixed // sizes[axis]
    near = []
    if count % rest == 0:
        most = count // rest
        fitting = [n for n in range(1, most + 1) if most % n == 0] if free else [most]
        near = sorted(fitting, key=lambda n: (abs(n - sizes[axis]), n))[:1]
    hint = f'; nearest: config.mesh.{axis}={near[0]}' if near else ''
    shape = ' * '.join(f'{a} {s}' for a, s in sizes.items() if s not in (1, -1))
    accepted = (
        f'sizes that multiply to the {count} devices here, -1 once for what is left '
        f'(now {shape or "all 1"} = {fixed}){hint}'
    )
    return ConfigError(f'mesh.{axis}', sizes[axis], accepted)


def _arranged(shape: tuple[int, ...], slices: int, devices: list[Any]) -> np.ndarray:
    """The devices in the shape of the mesh, by how they are wired where they tell it."""
    if slices > 1:
        within = (shape[0] // slices, *shape[1:])
        between = (slices, *(1,) * (len(shape) - 1))
        return mesh_utils.create_hybrid_device_mesh(
            within, between, devices, allow_split_physical_axes=True
        )
    if devices[0].platform != 'tpu':  # in the order of processes
        return np.asarray(devices).reshape(shape)
    return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)


def under(mesh: Mesh, f: Callable) -> Callable:
    """`f`, to be compiled, with the mesh in force while it is traced."""

    @functools.wraps(f)
    def on_mesh(*args, **kwargs):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return f(*args, **kwargs)

    return on_mesh
