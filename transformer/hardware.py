"""What the machine is and can do: types, peaks, versions, memory, the compilation cache."""

import contextlib
import ctypes
import gc
import importlib.metadata
import os
import platform
import sys
from pathlib import Path

import jax

# Dense matrix products in bfloat16, FLOP/s a chip, by the start of `device_kind`; vendors' sheets.
PEAK = {
    'TPU v4': 275e12,
    'TPU v5 lite': 197e12,
    'TPU v5e': 197e12,
    'TPU v5p': 459e12,
    'TPU v5': 459e12,
    'TPU v6': 918e12,
    'TPU7x': 2307e12,
    'NVIDIA A100': 312e12,
    'NVIDIA H100': 989e12,
    'NVIDIA H200': 989e12,
    'NVIDIA L4': 121e12,
    'Tesla T4': 65e12,
    'Tesla V100': 125e12,
}

# XLA's, of a training step, by platform. By default a CPU keeps more alive, so that more can run
# side by side: a step then takes a quarter more memory, and is 5% faster or slower.
COMPILER_OPTIONS = {'cpu': {'xla_cpu_scheduler_type': 'CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED'}}


def peak_flops() -> float | None:
    """Peak FLOP/s of one device here in bfloat16, or None where it is not known (CPUs)."""
    kind = jax.devices()[0].device_kind
    return next((flops for start, flops in PEAK.items() if kind.startswith(start)), None)


def resolve_dtype(dtype: str, platform: str = '') -> str:
    """'auto' becomes bfloat16 where the hardware multiplies it fast, float32 elsewhere.

    Args:
      platform: 'cpu', 'gpu' or 'tpu'; '' means the one here.
    """
    if dtype != 'auto':
        return dtype
    return 'bfloat16' if (platform or jax.default_backend()) in ('tpu', 'gpu') else 'float32'


def resolve_unroll(unroll: int, platform: str = '') -> int:
    """0 becomes 'all layers' (0) on a CPU, where a scan costs time, and 1 elsewhere.

    Args:
      platform: as of `resolve_dtype`.
    """
    return unroll if unroll or (platform or jax.default_backend()) == 'cpu' else 1


def enable_compilation_cache(directory: str) -> None:
    """Keeps compiled programs from one process to the next; 'auto' below the user's cache."""
    if not directory:
        return
    if directory == 'auto':
        base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
        directory = str(Path(base) / 'transformer' / 'xla')
    jax.config.update('jax_compilation_cache_dir', directory)
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


def versions() -> str:
    """Python and the libraries whose version can change a number."""
    names = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'tokenizers')
    found = ', '.join(f'{name} {importlib.metadata.version(name)}' for name in names)
    return f'Python {platform.python_version()}, {found}'


def use_huge_pages() -> None:
    """Starts this process anew with large memory pages, where that is Linux's to grant.

    XLA allocates a step's buffers afresh each step; with 4 KiB pages a CPU spends a quarter of a
    training step on page faults. glibc reads the setting only at the start of a process. Call it
    first thing in a script. `GLIBC_TUNABLES` set by the user, even empty, is left as it is.
    """
    if sys.platform != 'linux' or 'GLIBC_TUNABLES' in os.environ:
        return
    os.environ['GLIBC_TUNABLES'] = 'glibc.malloc.hugetlb=1'
    os.execv(sys.executable, sys.orig_argv[:1] + sys.orig_argv[1:])


def give_back_memory() -> None:
    """Hands what is free in this process to the system, where its C library does that.

    Compiling a step leaves some 250 MiB of free memory behind, which glibc would keep. Call it
    when all is compiled.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # another system, or another C library
        ctypes.CDLL('libc.so.6').malloc_trim(0)
