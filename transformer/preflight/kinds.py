"""The kinds of devices that preflight knows, and how a user names so many of them.

v5e:16x16       a slice of TPUs: chips along the axes of its network
v5e:16x16*2     two such slices, joined by the slow network between them
h100x8          GPUs
"""

import dataclasses
import math
import re

from transformer import hardware
from transformer.errors import UserError


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of device; the numbers of a chip are its vendor's.

    Attributes:
      name: as users write it.
      device_kind: as JAX names it, a key of `hardware.PEAK`.
      memory: bytes of a chip.
      usable: bytes of a device that a program may have, as the compiler says; of a GPU what JAX
        takes at its start, three quarters.
      bandwidth: of a chip's memory, bytes/s.
      network: between chips, bytes/s out of a chip.
      axes: of its network; 0 for GPUs, which are counted.
      devices: that JAX sees of a chip.
    """

    name: str
    device_kind: str
    memory: float
    usable: float
    bandwidth: float
    network: float
    axes: int
    devices: int = 1

    @property
    def peak(self) -> float:
        """Of a device, dense bfloat16 products, FLOP/s."""
        return hardware.PEAK[self.device_kind] / self.devices


GIB, GB, GBIT = 2**30, 1e9, 1e9 / 8
# https://cloud.google.com/tpu/docs/v4, .../v5e, .../v5p, .../v6e, .../tpu7x. A device of v4 and
# tpu7x is half a chip here. Their compiler refuses a program above `usable`.
TPUS = (
    Kind('v4', 'TPU v4', 32 * GIB, 15.25 * GIB, 1200 * GB, 2400 * GBIT, 3, 2),
    Kind('v5e', 'TPU v5 lite', 16 * GIB, 15.75 * GIB, 819 * GB, 1600 * GBIT, 2),
    Kind('v5p', 'TPU v5p', 95.74 * GIB, 95.73 * GIB, 2765 * GB, 4800 * GBIT, 3),
    Kind('v6e', 'TPU v6', 32 * GIB, 31.24 * GIB, 1600 * GB, 3200 * GBIT, 2),
    Kind('tpu7x', 'TPU7x', 192 * GIB, 94.74 * GIB, 7370 * GB, 9600 * GBIT, 3, 2),
)


def _gpu(name: str, device_kind: str, gib: float, bandwidth: float, network: float) -> Kind:
    return Kind(name, device_kind, gib * GIB, 0.75 * gib * GIB, bandwidth, network, 0)


# NVIDIA's data sheets; `network` is NVLink, one way, or PCIe where there is none.
GPUS = (
    _gpu('v100', 'Tesla V100', 32, 900 * GB, 150 * GB),
    _gpu('t4', 'Tesla T4', 16, 320 * GB, 16 * GB),
    _gpu('l4', 'NVIDIA L4', 24, 300 * GB, 32 * GB),
    _gpu('a100', 'NVIDIA A100', 80, 2039 * GB, 300 * GB),
    _gpu('h100', 'NVIDIA H100', 80, 3350 * GB, 450 * GB),
    _gpu('h200', 'NVIDIA H200', 141, 4800 * GB, 450 * GB),
)
KINDS = {kind.name: kind for kind in (*TPUS, *GPUS)}


@dataclasses.dataclass(frozen=True)
class Topology:
    """So many devices of a kind.

    Attributes:
      name: as the user wrote it.
      shape: chips along each axis of the network; (n,) of GPUs.
      slices: how many of these.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    slices: int = 1

    @property
    def chips(self) -> int:
        return math.prod(self.shape) * self.slices

    @property
    def compiles(self) -> bool:
        """Whether there is a compiler for it here."""
        return self.kind.axes > 0


def topology(name: str) -> Topology:
    """What `--topology` names.

    Raises:
      UserError: an unknown kind, or a shape that its network cannot have.
    """
    found = re.fullmatch(r'([a-z]+\d*[a-z]*)(?::(\d+(?:x\d+)*)(?:\*(\d+))?|x(\d+))?', name)
    kind = KINDS.get(found[1]) if found else None
    if kind is None:
        tpus = ', '.join(f'{kind.name}:{"x".join("4" * kind.axes)}' for kind in TPUS)
        gpus = ', '.join(f'{kind.name}x8' for kind in GPUS)
        raise UserError(
            f'--topology={name}: unknown; known kinds, with any number of chips: {tpus} (TPUs; *2 '
            f'at the end: two slices), {gpus} (GPUs)'
        )
    shape, slices, count = found[2], int(found[3] or 1), found[4]
    if not kind.axes:
        if shape or not int(count or 1):
            raise UserError(f'--topology={name}: accepted: {kind.name}x8, or another number')
        return Topology(name, kind, (int(count or 1),))
    sizes = tuple(map(int, shape.split('x'))) if shape else ()
    if len(sizes) != kind.axes or not all(sizes) or not slices:
        example = {2: '2x4, 4x4 or 16x16', 3: '2x2x1, 4x4x4 or 8x16x16'}[kind.axes]
        raise UserError(
            f'--topology={name}: {kind.name} has chips along {kind.axes} axes, at least one along '
            f'each: {kind.name}: followed by such as {example}'
        )
    return Topology(name, kind, sizes, slices)
