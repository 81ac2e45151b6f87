"""Numbers of a split: lengths, how full rows are, what share is learnt, and of each source."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from data.columns import Column, Examples
from data.mixture import SOURCE
from data.rows import Row

LENGTHS = ('tokens', 'source', 'target')  # columns; the others are as long as these
MEASURED = 1 << 20  # documents whose lengths are counted: more are looked at here and there


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Of documents, or of a side of pairs, in tokens, without what marks their ends.

    Attributes:
      documents: how many there are.
      counted: how many of them were measured, at equal distances.
      least, median, mean, most: of those.
      bars: (from, to, how many), both ends included; each begins at twice the one before.
    """

    documents: int
    counted: int
    least: int
    median: float
    mean: float
    most: int
    bars: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, columns: Sequence[Column], marks: int = 0) -> 'Lengths':
        """Of one column of several sources, which hold a document at least.

        Args:
          marks: tokens of each document that are none of its text.
        """
        documents = sum(len(column) for column in columns)
        every = -(-documents // MEASURED)
        found = []
        for column in columns:
            starts = np.asarray(column.starts)
            found.append(starts[1:][::every] - starts[:-1][::every])
        sizes = np.concatenate(found) - marks
        # Of 2^k to 2^(k+1) - 1 tokens; 0 is a bar of its own.
        powers = np.frexp(sizes)[1]
        counts = np.bincount(powers)
        first = int(powers.min())
        ends = [(1 << k - 1, (1 << k) - 1) if k else (0, 0) for k in range(first, len(counts))]
        bars = tuple((*ends[k - first], int(counts[k])) for k in range(first, len(counts)))
        return cls(
            documents,
            len(sizes),
            int(sizes.min()),
            float(np.median(sizes)),
            float(sizes.mean()),
            int(sizes.max()),
            bars,
        )


def lengths(examples: Sequence[Examples]) -> dict[str, Lengths]:
    """By column; sources may have different ones."""
    found = {}
    for name in LENGTHS:
        having = [each for each in examples if len(each) and name in each.columns]
        if having:
            found[name] = Lengths.of([each[name] for each in having], int(having[0].marked))
    return found


@dataclasses.dataclass
class Filled:
    """Of rows.

    Attributes:
      rows: how many were looked at.
      places: of each side, padding included.
      tokens: of each side.
      read: tokens on the side where targets are.
      trained: targets that count.
      by_source: rows, tokens and trained targets of each source.
      labels: how often each class or tag is a target that counts.
    """

    rows: int = 0
    places: dict[str, int] = dataclasses.field(default_factory=dict)
    tokens: dict[str, int] = dataclasses.field(default_factory=dict)
    read: int = 0
    trained: int = 0
    by_source: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    labels: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def efficiency(self) -> dict[str, float]:
        """Share of the places that hold a token, by side; `all` where there are two."""
        shares = {name: self.tokens[name] / self.places[name] for name in self.places}
        if len(shares) > 1:
            shares['all'] = sum(self.tokens.values()) / sum(self.places.values())
        return shares

    @property
    def trained_share(self) -> float | None:
        """Of the tokens on the side where targets are; None of images and classes."""
        return self.trained / self.read if self.read else None


def filled(
    rows: Iterable[Row], sources: Sequence[str], classes: Sequence[str], head: str
) -> Filled:
    """Counts over rows.

    Args:
      sources, classes: names, by number.
      head: that of the objective.
    """
    made = Filled(by_source={name: [0, 0, 0] for name in sources})
    counts = np.zeros(len(classes), np.int64)
    for row in rows:
        two = 'decoder_segment_ids' in row
        sides = {'source': 'segment_ids', 'target': 'decoder_segment_ids'} if two else {}
        if not two and 'segment_ids' in row:
            sides = {'text': 'segment_ids'}
        tokens = count = 0
        for name, key in sides.items():
            count = int((row[key] > 0).sum())
            made.places[name] = made.places.get(name, 0) + row[key].size
            made.tokens[name] = made.tokens.get(name, 0) + count
            tokens += count
        learnt = row['weights'] > 0
        if head != 'class':
            made.read += count  # the last side is the one with the targets
        made.rows += 1
        made.trained += int(learnt.sum())
        if head in ('class', 'token_class'):
            counts += np.bincount(row['targets'][learnt], minlength=len(classes))
        if sources:
            entry = made.by_source[sources[int(row[SOURCE])]]
            entry[0] += 1
            entry[1] += tokens
            entry[2] += int(learnt.sum())
    labelled = head in ('class', 'token_class')
    made.labels = dict(zip(classes, counts.tolist())) if labelled else {}
    return made


def of_sources(
    loaded: Any, examples: Mapping[str, Examples], experiment: Any, split: str
) -> dict[str, dict[str, float]]:
    """Of each source: documents, tokens; for training also rows, and over the run shares, epochs.

    Args:
      loaded: the data, `data.load.Loaded`.
      examples: of each source that has the split; none of images.
    """
    made: dict[str, dict[str, float]] = {}
    for name, corpus in loaded.corpora.items():
        if name in examples:
            found = examples[name]
            sizes = [found[column].size for column in LENGTHS if column in found.columns]
            made[name] = {'documents': len(found), 'tokens': int(sum(sizes))}
        elif getattr(corpus, split) is not None:
            what = 'images' if experiment.objective.RECORDS == 'images' else 'rows'
            made[name] = {what: len(getattr(corpus, split))}
    if split != 'train':
        return made
    feed, run = loaded.feed, experiment.steps * experiment.batch_size
    asked, realised = feed.order.shares(), feed.order.counts(run)
    for k, (name, rows) in enumerate(zip(made, feed.parts)):
        if feed.sources:
            made[name] |= {
                'share_asked': asked[k],
                'share_realised': float(realised[k] / max(1, realised.sum())),
            }
        made[name] |= {'rows': rows.drawn, 'epochs': float(realised[k] / max(1, rows.drawn))}
    return made
