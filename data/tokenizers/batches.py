"""Many texts at once: libraries encode on all cores while Python makes arrays of what they gave."""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from data.sources.documents import LONGEST, cut
from data.tokenizer_base import clean

AHEAD = 2  # batches that are encoded while one is handed out
ROOM = 64  # what a text counts for besides its characters: empty ones are bounded too
PER_CORE = 1 << 20  # characters of a batch, on up to `MOST_CORES`
MOST_CORES = 32  # memory: three batches are held


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def encoded_all(
    texts: Iterable[str],
    encode: Callable[[list[str]], Sequence[Any]],
    array: Callable[[Any], np.ndarray],
) -> Iterator[np.ndarray]:
    """Ids of each text, in order, uint32.

    A text of more than `LONGEST` characters is encoded in pieces, as documents are
    (`data.sources.documents`): memory is bounded, and libraries whose time grows faster than the
    text are never given more. Closing the iterator waits for the batches at work, seconds at most.

    Args:
      encode: the library's, of a batch; called in threads, so it should release the GIL.
      array: from what it gives for a text to its ids.
    """

    def work(batch: list[str]) -> Sequence[Any]:
        try:
            return encode(batch)
        except (TypeError, UnicodeEncodeError):  # what libraries raise for lone surrogates
            return encode([clean(text) for text in batch])

    held = []  # pieces of a text that goes on

    def arrays() -> Iterator[np.ndarray]:
        batch, encoded = pending.popleft()
        for (_, last), found in zip(batch, encoded.result(), strict=True):
            held.append(array(found))
            if last:
                yield held[0] if len(held) == 1 else np.concatenate(held)
                held.clear()

    pool, pending = concurrent.futures.ThreadPoolExecutor(AHEAD), collections.deque()
    try:
        for batch in _batches(texts):
            pending.append((batch, pool.submit(work, [text for text, _ in batch])))
            if len(pending) > AHEAD:
                yield from arrays()
        while pending:
            yield from arrays()
    finally:
        pool.shutdown(cancel_futures=True)


def one(encoded: Iterable[np.ndarray]) -> list[int]:
    """The ids of the only text."""
    (ids,) = encoded
    return ids.tolist()


def _batches(texts: Iterable[str]) -> Iterator[list[tuple[str, bool]]]:
    """Pieces of texts, each with whether it is its text's last."""
    most = PER_CORE * min(cores(), MOST_CORES)
    batch, size = [], 0
    for text in texts:
        pieces = [text] if len(text) <= LONGEST else list(cut([text]))
        for n, piece in enumerate(pieces, 1):
            batch.append((piece, n == len(pieces)))
            size += len(piece) + ROOM
            if size >= most:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch
