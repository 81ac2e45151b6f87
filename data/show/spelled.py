"""Rows of integers as text again: what the model reads, what it learns, and where documents end."""

import dataclasses
import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from data.mixture import SOURCE
from data.objectives.image_classification import MEAN, STD
from data.rows import Row


@dataclasses.dataclass(frozen=True)
class Run:
    """Tokens next to each other of which the same is to be said.

    Attributes:
      text: of the tokens; special ones by name.
      trained: whether they are learnt.
      special: whether they are special tokens.
      prefix: whether they are read in both directions, by a decoder.
      wanted: what is to be said in their place, where that is learnt (masked tokens).
      label: their tag, where that is learnt.
    """

    text: str
    trained: bool = False
    special: bool = False
    prefix: bool = False
    wanted: str = ''
    label: str = ''


@dataclasses.dataclass(frozen=True)
class Side:
    """What a model reads on one side.

    Attributes:
      name: 'text', 'source' or 'target'.
      segments: documents, or parts of such, that do not see one another.
      tokens, padding: how many there are.
    """

    name: str
    segments: tuple[tuple[Run, ...], ...]
    tokens: int
    padding: int


@dataclasses.dataclass(frozen=True)
class Example:
    """A row.

    Attributes:
      index: its place in the stream, from 0.
      source: name of its source, in a mixture.
      sides: one, two, or none (images).
      label: its class.
      image: float32 [H, W, C], from 0 to 1.
    """

    index: int
    source: str
    sides: tuple[Side, ...]
    label: str = ''
    image: np.ndarray | None = None


class Speller:
    """Makes examples of rows.

    Args:
      objective: one of `transformer.objectives`.
      tokenizer: None for images; of what is made up, `data.made_up.Spelling`.
      classes: names of the classes or tags.
      sources: names of the sources of a mixture.
    """

    def __init__(
        self, objective: Any, tokenizer: Any, classes: Sequence[str], sources: Sequence[str]
    ):
        self._objective, self._tokenizer = objective, tokenizer
        self._classes, self._sources = classes, sources
        self._special: dict[int, str] = {}
        for name, number in tokenizer.specials.items() if tokenizer else ():
            self._special.setdefault(number, name)

    def __call__(self, index: int, row: Row) -> Example:
        source = self._sources[int(row[SOURCE])] if SOURCE in row else ''
        label = self._classes[int(row['targets'])] if self._objective.HEAD == 'class' else ''
        if 'images' in row:
            image = np.clip(row['images'] * STD + MEAN, 0, 1)
            return Example(index, source, (), label, image)
        if 'decoder_inputs' in row:
            sides = (
                self._side('source', row, self._read),
                self._side('target', row, self._shifted, 'decoder_'),
            )
        elif self._objective.HEAD == 'class':
            sides = (self._side('text', row, self._read),)
        elif self._objective.SHAPE == 'decoder':
            sides = (self._side('text', row, self._shifted),)
        else:
            sides = (self._side('text', row, self._in_place),)
        return Example(index, source, sides, label)

    def _side(self, name: str, row: Row, spell: Any, begins: str = '') -> Side:
        segment_ids = row[f'{begins}segment_ids']
        segments = []
        for segment in np.unique(segment_ids[segment_ids > 0]):
            at = np.flatnonzero(segment_ids == segment)
            segments.append(tuple(spell(row, at, row[f'{begins}inputs'][at])))
        real = int((segment_ids > 0).sum())
        return Side(name, tuple(segments), real, len(segment_ids) - real)

    def _read(self, row: Row, at: np.ndarray, ids: np.ndarray) -> Iterator[Run]:
        """Inputs of which none is learnt."""
        del row, at
        return self._runs(ids, np.zeros(len(ids), bool))

    def _shifted(self, row: Row, at: np.ndarray, ids: np.ndarray) -> Iterator[Run]:
        """Inputs each of which is the target of the one before it; and the last target."""
        targets, learnt = row['targets'][at], row['weights'][at] > 0
        inside = row['prefix'][at] if 'prefix' in row else np.zeros(len(at), bool)
        next_ids = np.append(ids[1:], -1)
        # What is learnt but does not come next: after the last token, above all.
        apart = np.flatnonzero(learnt & (targets != next_ids)) + 1
        trained = np.append(False, (learnt & (targets == next_ids))[:-1])
        return self._runs(
            np.insert(ids, apart, targets[apart - 1]),
            np.insert(trained, apart, True),
            np.insert(inside, apart, False),
        )

    def _in_place(self, row: Row, at: np.ndarray, ids: np.ndarray) -> Iterator[Run]:
        """Inputs at whose own place something is learnt: the token, or its tag."""
        targets, learnt = row['targets'][at], row['weights'][at] > 0
        if self._objective.HEAD != 'token_class':
            return self._runs(ids, learnt, wanted=targets)
        labels = [self._classes[t] if w else '' for t, w in zip(targets, learnt)]
        return self._runs(ids, learnt, labels=labels)

    def _runs(
        self,
        ids: np.ndarray,
        trained: np.ndarray,
        prefix: np.ndarray | None = None,
        wanted: np.ndarray | None = None,
        labels: Sequence[str] | None = None,
    ) -> Iterator[Run]:
        special = np.isin(ids, list(self._special))
        prefix = np.zeros(len(ids), bool) if prefix is None else prefix
        # What is to be said of one token alone: its tag; what it stands for, unless it is a mask.
        own = trained if labels else trained & ~special & (wanted is not None)
        own = np.cumsum(own) * own
        keys = list(zip(trained.tolist(), special.tolist(), prefix.tolist(), own.tolist()))
        for key, group in itertools.groupby(range(len(ids)), keys.__getitem__):
            places = list(group)
            answer = self._text(wanted[places]) if wanted is not None and key[0] else ''
            label = labels[places[0]] if labels else ''
            yield Run(self._text(ids[places]), *key[:3], wanted=answer, label=label)

    def _text(self, ids: np.ndarray) -> str:
        special = np.isin(ids, list(self._special))
        parts = []
        for named, group in itertools.groupby(range(len(ids)), special.__getitem__):
            part = [int(ids[i]) for i in group]
            if named:
                parts.append(''.join(self._special[i] for i in part))
                continue
            text = ''.join(self._tokenizer.pieces[i] for i in part)
            # Characters of several tokens: only together are they text.
            parts.append(self._tokenizer.decode(part) if '\ufffd' in text else text)
        return ''.join(parts)


def visible(text: str) -> str:
    """The text with all that a terminal or a browser would obey made visible.

    Line ends and tabs stay; control characters become their pictures, lone surrogates and what
    turns the direction of writing U+FFFD.
    """
    if text.isascii() and text.isprintable():
        return text
    return ''.join(_visible(c) for c in text)


def _visible(c: str) -> str:
    if c in '\n\t':
        return c
    if c < ' ':
        return chr(0x2400 + ord(c))
    if c == '\x7f':
        return '\u2421'
    hidden = unicodedata.category(c) in ('Cc', 'Cs') or unicodedata.bidirectional(c) in TURNING
    return '\ufffd' if hidden else c


TURNING = ('LRE', 'RLE', 'LRO', 'RLO', 'PDF', 'LRI', 'RLI', 'FSI', 'PDI')
