"""What the processes that make batches do besides: they leave with the one that they work for."""

import os
import signal
import threading
import time

EVERY = 1.0  # seconds


class Attend:
    """Called in a worker as it begins.

    A worker outlives a trainer that is killed, and would keep its pipes open and its memory; so it
    looks whether its parent is still there. Ctrl-C, and a SIGTERM that goes to the whole group, are
    the trainer's to answer: it saves first and needs its workers until then.
    """

    def __init__(self):
        self._parent = os.getpid()

    def __call__(self, worker: int, count: int) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        threading.Thread(target=self._watch, name='attend', daemon=True).start()

    def _watch(self) -> None:
        while os.getppid() == self._parent:
            time.sleep(EVERY)
        os._exit(1)
