"""A signal to one process ends all after the same step, with the same exit code.

Steps are begun without asking anybody. Whoever is signalled asks process 0, which halts all: no
process begins another step until it knows the last one. Each answers, from the thread that hears
it, with the step that it has begun, whatever its main thread waits for; the latest of these is the
last step of all. Nobody waits in vain: every step up to there is begun by everyone.
"""

import threading
from typing import Any

from transformer.signals import Stop


class Together(Stop):
    """Whether the run was asked to end, and after which step it does.

    Args:
      pod: the run, before it listens.
    """

    def __init__(self, pod: Any):
        super().__init__()
        self._pod, self._changed = pod, threading.Condition()
        self._begun = 0
        self._last: int | None = None
        self._answers: dict[int, int] = {}
        pod.on |= {
            'ask': lambda _, message: self.ask(message['ask']),
            'halt': lambda _, message: self._halt(message['halt']),
            'begun': lambda index, message: self._answer(index, message['begun']),
            'last': lambda _, message: self._set_last(message['last']),
        }

    def ask(self, number: int) -> None:
        """Asks all to end, for this signal."""
        if not self._pod.leads:
            self._pod.tell({'ask': number})
            return
        with self._changed:
            if self.signal is not None:
                return
            self.signal = number
            begun = self._begun
        self._pod.tell({'halt': number})
        self._answer(0, begun)

    def begin(self, n: int) -> None:
        """Step n, the first one here, begins."""
        with self._changed:
            self._begun = n

    def after(self, n: int) -> bool:
        """Whether step n is the last; if not, the next one counts as begun."""
        with self._changed:
            self._changed.wait_for(lambda: self.signal is None or self._last is not None)
            if self._last is not None and n >= self._last:
                return True
            self._begun = n + 1
            return False

    def _halt(self, number: int) -> None:
        with self._changed:
            self.signal = number
            begun = self._begun
        self._pod.tell({'begun': begun})

    def _answer(self, index: int, begun: int) -> None:
        with self._changed:
            self._answers[index] = begun
            if len(self._answers) < self._pod.count:
                return
            last = max(self._answers.values())
        self._pod.tell({'last': last})
        self._set_last(last)

    def _set_last(self, n: int) -> None:
        with self._changed:
            self._last = n
            self._changed.notify_all()
