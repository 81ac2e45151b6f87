"""Runs of several processes: how they find each other, speak, agree, stop and die together.

`start(flags)` is called first thing in a script; `here()` is the run as this process sees it, and
without other processes everything it does is nothing.

    environment   which processes there are: flags, TPU VMs, Slurm, Open MPI, Kubernetes
    meeting       all of them meet at the address of process 0
    link          JSON lines between two processes; the kernel watches over the connection
    pod           what the processes say to each other; the death of one ends all
    stopping      a signal to one of them: all finish the same step
    agreement     the same config, libraries and work directory everywhere
    last_words    C++ code that gives up waits for the line above
    quiet         process 0 prints; errors say whose they are
"""

from transformer.launch.agreement import check_same, check_shared
from transformer.launch.environment import add_flags
from transformer.launch.pod import Pod, guard, here
from transformer.launch.start import start

__all__ = ['Pod', 'add_flags', 'check_same', 'check_shared', 'guard', 'here', 'start']
