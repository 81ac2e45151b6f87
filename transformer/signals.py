"""SIGTERM and Ctrl-C: finish the step, save, leave. A second Ctrl-C leaves at once."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator


class Stop:
    """Whether the process was asked to end.

    Attributes:
      signal: the number of the signal that asked, or None.
    """

    def __init__(self):
        self.signal: int | None = None

    def ask(self, number: int) -> None:
        """Asks, for this signal."""
        self.signal = number

    def begin(self, n: int) -> None:
        """Step n, the first one here, begins."""

    def after(self, n: int) -> bool:
        """Whether step n is the last one; asked after every step."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells count."""
        return 128 + self.signal


@contextlib.contextmanager
def graceful(stop: Stop | None = None) -> Iterator[Stop]:
    """Asks `stop`, a new one if there is none, to end at a signal while the block runs.

    The interpreter calls signal handlers only between bytecodes of the main thread, which may sit
    in a compilation for a minute. The wake-up file descriptor is written to at once, so a thread
    reads that one, and a second Ctrl-C is heard whatever the main thread does.
    """
    stop = stop or Stop()
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
                _say('second Ctrl-C: leaving at once, without saving')
                os._exit(128 + signal.SIGINT)
            if stop.signal is None:
                stop.ask(number)
                name = signal.Signals(number).name
                again = ' (Ctrl-C again leaves at once)' if number == signal.SIGINT else ''
                _say(f'{name}: saving after this step, then leaving{again}')

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


def _say(line: str) -> None:
    print(f'\n{line}', file=sys.stderr, flush=True)
