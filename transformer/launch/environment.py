"""Which processes make up a run: told by flags, or by whatever started them.

What clusters say is read by JAX's own classes; here it is only decided whether there is one, so
that a single process on a cluster's machine, in a notebook or in a pod starts as it does anywhere.
"""

import argparse
import dataclasses
import os
import re
import socket

from transformer.errors import UserError

FLAGS = ('coordinator', 'processes', 'process')
VARIABLES = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JAX_PROCESS_ID')
PATIENCE = 45  # seconds in which the host of process 0 must be known by its name
METADATA = ('metadata.google.internal', 80)  # what a TPU VM asks about itself


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a process stands among all of a run.

    Attributes:
      coordinator: HOST:PORT, of process 0.
      count: of processes.
      index: of this process.
      devices: which of this machine's it uses; None: all.
    """

    coordinator: str
    count: int
    index: int
    devices: tuple[int, ...] | None = None

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.coordinator.rpartition(':')
        return host.strip('[]'), int(port)

    @property
    def prefix(self) -> str:
        """What this process's lines on the error stream begin with."""
        return f'[process {self.index} of {self.count}, {socket.gethostname()}] '


def add_flags(to: argparse.ArgumentParser) -> None:
    """Adds the flags of a run of several processes, for where nothing else tells."""
    to.add_argument('--coordinator', metavar='HOST:PORT', help='of process 0 of several')
    to.add_argument('--processes', metavar='N', help='how many there are')
    to.add_argument('--process', metavar='I', help='which one this is, from 0')


def find(flags: argparse.Namespace) -> Place | None:
    """The place of this process, or None where it is the only one.

    Raises:
      UserError: flags or variables that are incomplete or cannot be, or a cluster that does not
        answer.
    """
    told = {f'--{name}': getattr(flags, name) for name in FLAGS}
    if not any(value is not None for value in told.values()):
        told = {name: os.environ.get(name) or None for name in VARIABLES}
        if None in told.values():
            return _of_cluster(told)
    return _explicit(told)


def _explicit(told: dict[str, str | None]) -> Place | None:
    missing = [name for name, value in told.items() if value is None]
    if missing:
        given = ', '.join(f'{name}={value}' for name, value in told.items() if value is not None)
        raise UserError(f'{given}: {" and ".join(missing)} must be given too')
    (address, coordinator), (total, processes), (which, process) = told.items()
    _check_address(address, coordinator)
    if not processes.isdigit() or int(processes) < 1:
        raise UserError(f'{total}={processes}: accepted: a whole number above 0')
    if not process.isdigit() or int(process) >= int(processes):
        raise UserError(f'{which}={process}: accepted: 0 to {int(processes) - 1}')
    return Place(coordinator, int(processes), int(process)) if int(processes) > 1 else None


def _check_address(name: str, value: str) -> None:
    port = value.rpartition(':')[2]
    if not re.fullmatch(r'.+:\d{1,5}', value) or not 0 < int(port) < 1 << 16:
        raise UserError(f'{name}={value}: accepted: HOST:PORT of process 0')


def _of_cluster(told: dict[str, str | None]) -> Place | None:
    """What the cluster says, if it runs more than one process; `told` overrides it."""
    try:
        cluster = _cluster()
        if cluster is None or (count := cluster.get_process_count()) < 2:
            if any(told.values()):  # the beginning of something explicit, without its rest
                return _explicit(told)
            return None
        address, port = told[VARIABLES[0]], os.environ.get('JAX_COORDINATOR_PORT')
        if address:
            address += f':{port}' if port and ':' not in address else ''
            _check_address(VARIABLES[0], address)
        address = address or cluster.get_coordinator_address(PATIENCE, port)
        return Place(address, count, cluster.get_process_id(), _devices(cluster))
    except UserError:
        raise
    except Exception as error:  # whatever JAX's detection raises
        flags = ' '.join(f'--{name}=' for name in FLAGS)
        raise UserError(
            f'the other processes of this run cannot be found ({error}); accepted: {flags}'
        ) from error


def _cluster() -> type | None:
    """JAX's class for the cluster that this process runs in, if it may hold several processes."""
    from jax._src import clusters
    from jax._src.cloud_tpu_init import running_in_cloud_tpu_vm

    for kind in (clusters.OmpiCluster, clusters.SlurmCluster):
        if kind.is_env_present():
            return kind
    if running_in_cloud_tpu_vm:
        if clusters.GkeTpuCluster.is_env_present():
            return clusters.GkeTpuCluster
        if _reachable(METADATA) and clusters.GceTpuCluster.is_env_present():
            return clusters.GceTpuCluster
    # Any pod of Kubernetes looks like one; only those of an indexed Job have a number.
    if 'JOB_COMPLETION_INDEX' in os.environ and 'KUBERNETES_SERVICE_HOST' in os.environ:
        try:
            import kubernetes  # noqa: F401
        except ImportError:
            raise UserError(
                'this pod belongs to an indexed Job, which the package kubernetes describes: '
                "pip install 'jax[k8s]'; or give --coordinator=, --processes= and --process="
            ) from None
        if clusters.K8sCluster.is_env_present():
            return clusters.K8sCluster
    return None


def _devices(cluster: type) -> tuple[int, ...] | None:
    """Launchers that start a process for each GPU say which one it is."""
    from jax._src.cloud_tpu_init import running_in_cloud_tpu_vm

    alone = os.environ.get('OMPI_COMM_WORLD_LOCAL_SIZE') == '1'
    alone |= bool(re.fullmatch(r'1(\(x\d+\))?', os.environ.get('SLURM_STEP_TASKS_PER_NODE', '')))
    if running_in_cloud_tpu_vm or alone or 'JAX_LOCAL_DEVICE_IDS' in os.environ:
        return None
    local = cluster.get_local_process_id()
    return None if local is None else (local,)


def _reachable(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=1):
            return True
    except OSError:
        return False
