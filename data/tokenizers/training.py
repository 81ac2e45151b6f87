"""The texts that a tokenizer is trained on: a bounded part of all sources, read as a stream."""

import functools
import itertools
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from data.sources import Corpus
from data.sources.documents import cut, pieces_of
from data.tokenizer_base import clean

# Characters that training reads at most, taken evenly from all sources: what more adds to a
# vocabulary is little, and time and memory stay bounded.
MOST = 1 << 27
PROBES = 2048  # records read to estimate the length of all
PIECE = 1 << 16  # characters given to a trainer at a time; the library holds 256 of them
LONGEST_WORD = 256  # time to train grows with the square of a word
_LONG = re.compile(rf'\S{{{LONGEST_WORD + 1},}}')


class Texts:
    """What the sources of a run hold.

    Args:
      corpora: of all sources.
    """

    def __init__(self, corpora: Iterable[Corpus]):
        self._corpora = list(corpora)

    def all(self) -> Iterator[str]:
        """Every text of every split, long ones in pieces."""
        for corpus in self._corpora:
            for split in (corpus.train, corpus.validation, corpus.test):
                yield from map(clean, _strings(split or ()))

    def sample(self, most: int = 0) -> Iterator[str]:
        """Training texts for the trainers of `tokenizers`, in pieces; the same ones each time.

        Args:
          most: characters in all; 0: `MOST`.
        """
        most = most or MOST
        share = min(1.0, most / max(sum(self._sizes), 1))
        for corpus, size in zip(self._corpora, self._sizes):
            # Where all is read an estimate that is too low must not end it.
            limit = math.ceil(size * share) if share < 1 else most
            for text in _limited(_part(corpus.train, share), limit):
                for piece in cut([clean(text)], PIECE):
                    yield from _short_words(piece)

    @functools.cached_property
    def _sizes(self) -> list[int]:
        return [_size(corpus.train) for corpus in self._corpora]

    def counts(self) -> dict[str, int]:
        """How often each character is in the sample."""
        total = np.zeros(sys.maxunicode + 1, np.int64)
        for text in self.sample():
            if text:
                found = np.bincount(np.frombuffer(text.encode('utf-32-le'), np.uint32))
                total[: len(found)] += found
        return {chr(code): int(total[code]) for code in np.flatnonzero(total)}


def most_frequent(counts: Mapping[str, int], most: int) -> list[str]:
    """So many of the characters, sorted."""
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    return sorted(ranked[:most])


def strings_of(record: Any) -> Iterator[str]:
    """Every text of a record: of both sides of a pair, the words of tags, what messages say."""
    if isinstance(record, str):
        yield record
    elif isinstance(record, Mapping):
        for name in ('content', 'text'):
            yield from strings_of(record.get(name))
    elif isinstance(record, tuple) and record and isinstance(record[0], tuple):
        yield ' '.join(record[0])
    elif isinstance(record, tuple | list):
        for part in record:
            if isinstance(part, str | Mapping):
                yield from strings_of(part)


def _strings(records: Sequence[Any]) -> Iterator[str]:
    if hasattr(records, 'blocks'):
        return (text for text, _ in pieces_of(records))
    return itertools.chain.from_iterable(map(strings_of, records))


def _size(records: Sequence[Any]) -> int:
    """Characters of all records: counted where they are read in blocks, otherwise estimated."""
    if hasattr(records, 'blocks'):
        return sum(map(len, _strings(records)))
    count = len(records)
    probes = min(count, PROBES)
    found = sum(
        len(text) for n in range(probes) for text in strings_of(records[n * count // probes])
    )
    return math.ceil(found * count / max(probes, 1))


def _part(records: Sequence[Any], share: float) -> Iterator[str]:
    """About this share of the characters, from everywhere."""
    if not hasattr(records, 'blocks'):
        count = len(records)
        taken = math.ceil(count * share)
        for n in range(taken):
            yield from strings_of(records[n * count // taken])
        return
    owed = 0.0
    for text in _strings(records):
        for piece in cut([text], PIECE):
            owed += len(piece) * share
            if owed >= len(piece) * 0.5:
                owed -= len(piece)
                yield piece


def _limited(texts: Iterable[str], most: int) -> Iterator[str]:
    for text in texts:
        yield text[:most]
        most -= len(text)
        if most <= 0:
            return


def _short_words(text: str) -> Iterator[str]:
    """The text, cut within what has no blank for too long."""
    begin = 0
    for found in _LONG.finditer(text):
        for place in range(found.start(), found.end(), LONGEST_WORD):
            yield text[begin:place]
            begin = place
    yield text[begin:]
