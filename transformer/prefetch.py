"""Batches on the devices before the step asks for them.

A thread takes batches, puts them onto the devices and waits until they have arrived there, while
the step before computes. What `next` waits for is then what the step truly waits for.
"""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Self

import jax
from jax.sharding import Mesh

from transformer import sharding


class Ahead(Iterator):
    """The batches, in their order, as `sharding.put_batch` puts them.

    It begins at once and stays at most `size` + 1 batches ahead. Close it, or use it in a `with`
    block, before what makes the batches is closed.

    Args:
      batches: dicts of arrays, of this process's rows; another thread reads them.
      mesh: where they go.
      size: how many wait on the devices, at least 1.

    Raises:
      Exception: what making a batch raised, at the batch that it was to be.
    """

    def __init__(self, batches: Iterable[dict], mesh: Mesh, size: int = 2):
        if size < 1:
            raise ValueError(f'size={size}: at least 1')
        self._ready: queue.Queue = queue.Queue(size)
        self._closed, self._ended = threading.Event(), False
        args = (iter(batches), mesh)
        self._thread = threading.Thread(target=self._work, args=args, name='prefetch', daemon=True)
        self._thread.start()

    def _work(self, batches: Iterator[dict], mesh: Mesh) -> None:
        end: BaseException = StopIteration()
        try:
            for batch in batches:
                if self._closed.is_set():
                    return
                # Waited for here, so that no step waits for a transfer unnoticed.
                self._ready.put(jax.block_until_ready(sharding.put_batch(batch, mesh)))
                if self._closed.is_set():
                    return
        except BaseException as error:  # told to whoever asks next, whatever it is
            end = error
        self._ready.put(end)

    def __next__(self) -> dict[str, Any]:
        if self._ended:
            raise StopIteration
        found = self._ready.get()
        if isinstance(found, BaseException):
            self.close()
            raise found
        return found

    def close(self) -> None:
        """Ends the thread, once the batch that it is making is made, and drops what is waiting."""
        self._ended = True
        self._closed.set()
        while self._thread.is_alive():
            # A thread that waits for room goes on, sees that it is over, and ends.
            while not self._ready.empty():
                self._ready.get_nowait()
            self._thread.join(0.01)
        while not self._ready.empty():
            self._ready.get_nowait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception) -> None:
        self.close()
