"""Runs a command as a process of its own, to its end or until somebody wants this one to end."""

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from results.plan import ROOT

TICK = 10.0  # seconds
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def attend(words: Sequence[str], log: Path, tick: Callable[[], None]) -> int:
    """Runs a command, whose output is added to a file.

    SIGINT, SIGTERM and SIGHUP (as SIGTERM) are passed on to it, so that it may save; then this
    process leaves too.

    Args:
      tick: called every `TICK` seconds, and at the end.

    Returns:
      Its exit code.

    Raises:
      KeyboardInterrupt, SystemExit: it has ended after such a signal.
    """
    with _passed_on() as (processes, signals):
        with log.open('ab') as file:
            # In a session of its own, or Ctrl-C would reach it twice.
            process = subprocess.Popen(
                words, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        for number in signals:  # that came before there was anything to stop
            process.send_signal(_understood(number))
        processes.append(process)
        code = None
        try:
            while code is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    code = process.wait(TICK)
                tick()
        finally:
            if code is None:  # it is not left behind
                process.terminate()
                process.wait()
    if signal.SIGINT in signals:
        raise KeyboardInterrupt
    if signals:
        raise SystemExit(128 + signals[0])
    return code


def _understood(number: int) -> int:
    """`train.py` saves at SIGINT and SIGTERM."""
    return signal.SIGTERM if number == signal.SIGHUP else number


@contextlib.contextmanager
def _passed_on() -> Iterator[tuple[list[subprocess.Popen], list[int]]]:
    """Gives processes, to be filled, that get what signals come here; and those signals."""
    processes, came = [], []

    def pass_on(number, _):
        came.append(number)
        for process in processes:
            process.send_signal(_understood(number))

    before = {n: signal.signal(n, pass_on) for n in SIGNALS}
    try:
        yield processes, came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log, for a message."""
    lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
    return '\n'.join(lines[-count:])
