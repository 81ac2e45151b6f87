"""A run begins: alone, or as one of several processes."""

import argparse

from transformer.launch import last_words, meeting, quiet, stopping
from transformer.launch.environment import Place, find
from transformer.launch.pod import Pod, enter

HEARTBEAT = 50  # seconds after which JAX's own service ends all for one that is silent
SHUTDOWN = 30  # ... that it waits for all at the end
CONNECT = 120  # ... at the beginning, when all are known to be there


def start(flags: argparse.Namespace) -> Pod:
    """Finds the other processes, if there are any; call it before anything touches a device.

    Args:
      flags: with those of `environment.add_flags`.

    Returns:
      The run, which `here()` gives from now on.

    Raises:
      UserError: flags that cannot be, a coordinator out of reach, too few processes.
    """
    place = find(flags)
    if place is None:
        return Pod()
    quiet.begin(place.prefix, prints=place.index == 0)
    links, peers = (meeting.gather if place.index == 0 else meeting.call)(place)
    pod = Pod(place.index, peers, links, place.prefix)
    pod.stop = stopping.Together(pod)
    enter(pod)
    last_words.allow()
    pod.listen()
    _join(place)
    return pod


def _join(place: Place) -> None:
    """Makes the processes one to JAX."""
    import jax

    # Signals are ours: JAX would catch SIGTERM for a service of its own.
    jax.config.update('jax_enable_preemption_service', False)
    jax.config.update('jax_cpu_collectives_implementation', 'gloo')  # where devices are CPUs
    if place.index:
        meeting.wait_for_port(place)
    jax.distributed.initialize(
        place.coordinator,
        place.count,
        place.index,
        local_device_ids=place.devices,
        cluster_detection_method='deactivate',
        initialization_timeout=CONNECT,
        heartbeat_timeout_seconds=HEARTBEAT,
        shutdown_timeout_seconds=SHUTDOWN,
    )
