"""Resident memory of this process."""

import contextlib
import resource
import sys
from pathlib import Path

STATUS = Path('/proc/self/status')


def resident() -> int:
    """Bytes now; the most so far where the system does not say."""
    return _field('VmRSS') or _most()


def peak() -> int:
    """The most bytes since `forget`, where the system can forget; else since the start."""
    return _field('VmHWM') or _most()


def forget() -> None:
    """The peak begins anew: https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html."""
    with contextlib.suppress(OSError):
        Path('/proc/self/clear_refs').write_text('5')


def _most() -> int:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == 'darwin' else 1024 * most


def _field(name: str) -> int:
    if not STATUS.is_file():
        return 0
    for line in STATUS.read_text(encoding='utf-8').splitlines():
        if line.startswith(f'{name}:'):
            return 1024 * int(line.split()[1])
    return 0
