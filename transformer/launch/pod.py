"""The processes of a run, as one of them sees them. Process 0 stands in the middle of a star.

Every process is connected to process 0, which hands on what one has to tell to all. The end of a
connection without a goodbye is a death: whoever sees it says so in a line and leaves, whatever its
main thread is waiting for, a collective that will never end included.
"""

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from transformer.errors import UserError
from transformer.launch.link import Link
from transformer.signals import Stop

NEWS = 3.0  # seconds in which the death behind a failed collective becomes known
PARTING = 5.0  # ... that process 0 gives the others to leave before itself
AGAIN = 'the same command goes on from the last checkpoint'


class Pod:
    """All processes of a run.

    Attributes:
      index: of this process.
      count: of processes.
      leads: whether this is process 0, which writes and prints.
      stop: whether the run was asked to end.
      on: what is done, in another thread, with a message that has a certain field: its sender and
        the message.

    Args:
      peers: what each process says of itself, `host` and `pid`.
      links: to all others for process 0, to process 0 for the others.
      prefix: of lines on the error stream.
    """

    def __init__(
        self,
        index: int = 0,
        peers: Sequence[dict] = (),
        links: Mapping[int, Link] | None = None,
        prefix: str = '',
    ):
        self.index, self.count, self.leads = index, max(1, len(peers)), index == 0
        self.on: dict[str, Callable[[int, dict], None]] = {}
        self._peers, self._links, self._prefix = peers, links or {}, prefix
        self._changed = threading.Condition()
        self._values: dict[str, dict[int, Any]] = {}
        self._asked = 0  # values exchanged so far: all processes count alike
        self._bye: set[int] = set()  # who said goodbye
        self._cut: set[int] = set()  # whose connection has ended
        self.stop = Stop()
        self._leaving = threading.Lock()  # held for ever by whoever ends this process

    def listen(self) -> None:
        """Begins to hear the others; `on` is complete."""
        for index, link in self._links.items():
            args = (index, link)
            threading.Thread(target=self._hear, args=args, name='pod', daemon=True).start()

    def name(self, index: int) -> str:
        """'process 2 of 4 (host, pid 77)'."""
        peer = self._peers[index]
        return f'process {index} of {self.count} ({peer["host"]}, pid {peer["pid"]})'

    def tell(self, message: dict) -> None:
        """Sends to process 0; process 0 to all others."""
        for link in self._links.values():
            link.send(message)

    def gather(self, value: Any) -> list[Any] | None:
        """What all processes pass, in their order, at process 0; None elsewhere.

        All call it the same number of times, as they do `broadcast`. Values are what JSON knows.
        """
        self._asked += 1
        name = f'gather {self._asked}'
        if not self.leads:
            self.tell({'value': name, 'is': value})
            return None
        return [value, *self._wait(name, self.count - 1)]

    def broadcast(self, value: Any = None) -> Any:
        """What process 0 passes."""
        self._asked += 1
        name = f'broadcast {self._asked}'
        if self.leads:
            self.tell({'value': name, 'is': value})
            return value
        return self._wait(name, 1)[0]

    def meet(self) -> None:
        """Returns once all have called it."""
        self.gather(None)
        self.broadcast()

    def _wait(self, name: str, count: int) -> list[Any]:
        with self._changed:
            self._changed.wait_for(lambda: len(self._values.get(name, ())) == count)
            return [x for _, x in sorted(self._values.pop(name, {}).items())]

    def _hear(self, index: int, link: Link) -> None:
        for message in link.messages():
            if 'value' in message:
                with self._changed:
                    self._values.setdefault(message['value'], {})[index] = message['is']
                    self._changed.notify_all()
            elif 'bye' in message:
                self._add(self._bye, index)
            elif 'failed' in message:
                self._end(f'{self.name(index)} ended with an error: {message["failed"]}')
            elif 'over' in message:
                self._end(message['over'])
            else:
                for field in message.keys() & self.on.keys():
                    self.on[field](index, message)
        link.close()
        self._add(self._cut, index)
        if index not in self._bye:
            self._end(f'{self.name(index)} has died; {AGAIN}')

    def _add(self, to: set[int], index: int) -> None:
        with self._changed:
            to.add(index)
            self._changed.notify_all()

    def _end(self, what: str) -> None:
        """Says why the run is over, and leaves; returns only where that is under way already."""
        if self._leaving.acquire(blocking=False):
            os.write(2, f'{self._prefix}error: {what}\n'.encode())
            self._leave(what, 1)

    def _leave(self, what: str, code: int) -> NoReturn:
        """Tells the others and ends this process at once. Process 0, without whom JAX's own
        service in the others gives up with a stack trace, goes last."""
        if self.leads:
            self.tell({'over': what})
            self._until_all(self._cut, PARTING)
        else:
            self.tell({'failed': what})
        os._exit(code)

    def fail(self, error: BaseException) -> NoReturn:
        """Prints the error, tells the others and leaves."""
        known = isinstance(error, UserError | KeyboardInterrupt)
        if not known:
            time.sleep(NEWS)  # a collective fails for want of another process: that one is named
        self._leaving.acquire()
        if known:
            what = str(error) or 'interrupted'
            print(f'error: {what}', file=sys.stderr, flush=True)
        else:
            what = traceback.format_exception_only(error)[-1].strip()
            traceback.print_exception(error)
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
        self._leave(what.splitlines()[0][:500], code)

    def finish(self) -> None:
        """The end of a run that went well: returns once all are here, and JAX is told."""
        if self.count == 1:
            return
        if self.leads:
            self._until_all(self._bye)
            self.tell({'bye': True})
        else:
            self.tell({'bye': True})
            self._until_all(self._bye)
        for link in self._links.values():
            link.end()
        self._until_all(self._cut)
        import jax

        jax.distributed.shutdown()

    def _until_all(self, among: set[int], timeout: float | None = None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: among >= self._links.keys(), timeout)


_here = Pod()


def here() -> Pod:
    """The run that this process is part of."""
    return _here


def enter(pod: Pod) -> None:
    """Makes it the run that this process is part of."""
    global _here
    _here = pod


@contextlib.contextmanager
def guard() -> Iterator[None]:
    """Ends all processes where the block raises; alone, what is raised goes on as ever.

    What would be cleaned up on the way out may wait for the others, who do not: it is not.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if here().count > 1:
            here().fail(error)
        raise
