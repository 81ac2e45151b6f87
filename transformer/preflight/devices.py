"""Devices that are not here, for the compiler."""

import dataclasses
import importlib.util
import os
from typing import Any

from transformer.errors import UserError
from transformer.preflight.kinds import Topology

# For libtpu: there is no TPU to ask for, and several processes may compile at once. The type of
# accelerator is asked for, and of no effect: the topology says it.
SETTINGS = {
    'TPU_SKIP_MDS_QUERY': '1',
    'TPU_ACCELERATOR_TYPE': 'v5litepod-1',
    'TPU_WORKER_HOSTNAMES': 'localhost',
    'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
}


def tpus(topology: Topology) -> list[Any]:
    """The devices of a slice, or of several; programs can be compiled for them, not run.

    Raises:
      UserError: no compiler for TPUs is installed, or it knows no such slice.
    """
    if importlib.util.find_spec('libtpu') is None:
        raise UserError(
            f'--topology={topology.name}: the compiler for TPUs is missing; to install it: '
            'pip install -e ".[tpu]"'
        )
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import jax
    from jax.experimental import topologies

    shape = 'x'.join(map(str, topology.shape))
    more = {'num_slices': topology.slices} if topology.slices > 1 else {}
    if topology.chips == 1:  # part of a host
        more['chips_per_host_bounds'] = (1, 1, 1)
    try:
        found = topologies.get_topology_desc(
            platform='tpu', topology_name=f'{topology.kind.name}:{shape}', **more
        )
    except (jax.errors.JaxRuntimeError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        known = {2: '1x1, 2x2, 2x4, 4x4, 4x8, 8x8, 8x16 and 16x16', 3: '2x2x1, 2x2x2, 4x4x4, 8x8x8'}
        raise UserError(
            f'--topology={topology.name}: the compiler for TPUs knows no such slice ({why}); '
            f'accepted: such as {known[topology.kind.axes]}'
        ) from None
    return list(found.devices)


@dataclasses.dataclass(frozen=True)
class StandIn:
    """In the place of a GPU: enough of a device to lay arrays out over a mesh of them."""

    id: int
    device_kind: str
    platform: str = 'gpu'
    process_index: int = 0


def stand_ins(topology: Topology) -> list[StandIn]:
    """As many as there are GPUs; nothing can be compiled for them."""
    return [StandIn(n, topology.kind.device_kind) for n in range(topology.chips)]
