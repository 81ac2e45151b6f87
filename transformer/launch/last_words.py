"""Time for last words: what gives up in C++ waits until it is known whose death is behind it."""

import ctypes
import signal


def allow() -> None:
    """Makes a thread that calls `abort`, as a failed collective may, sleep before the process dies.

    The handler is the C library's own `sleep`: it is called with the number of the signal, which is
    6, as a number of seconds. Meanwhile another thread reads that a process has died, says so and
    leaves. Nothing of Python runs in the handler.
    """
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    libc.signal(signal.SIGABRT, ctypes.cast(libc.sleep, ctypes.c_void_p))
