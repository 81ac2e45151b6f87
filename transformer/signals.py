"""SIGTERM and Ctrl-C: finish the step, save, leave. A second Ctrl-C leaves at once."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator


class Stop:
    """Whether the process was asked to end.

    Attributes:
      signal: the number of the signal that asked, or None.
    """

    def __init__(self):
        self.signal: int | None = None

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells count."""
        return 128 + self.signal


@contextlib.contextmanager
def graceful() -> Iterator[Stop]:
    """Turns the signals into `Stop.signal` while the block runs.

    The interpreter calls signal handlers only between bytecodes of the main thread, which may sit
    in a compilation for a minute. The wake-up file descriptor is written to at once, so a thread
    reads that one, and a second Ctrl-C is heard whatever the main thread does.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals belong to the main thread
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def listen():
        interrupts = 0
        while data := os.read(reader, 1):
            number = data[0]
            if number not in (signal.SIGINT, signal.SIGTERM):
                continue
            interrupts += number == signal.SIGINT
            if interrupts > 1:
                os.write(2, b'\nsecond Ctrl-C: leaving at once, without saving\n')
                os._exit(128 + signal.SIGINT)
            if stop.signal is None:
                stop.signal = number
                name = signal.Signals(number).name
                again = ' (Ctrl-C again leaves at once)' if number == signal.SIGINT else ''
                os.write(2, f'\n{name}: saving after this step, then leaving{again}\n'.encode())

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before_fd)
        os.close(writer)
        listener.join()
        os.close(reader)
