"""Hidden tokens from all around them, https://arxiv.org/abs/1810.04805.

Of n tokens of text in a row, rate * n are chosen, rounded up or down at random so that the share is
right on average, and at least one. A chosen token becomes [MASK], a random token of text, or stays,
each with its probability. End markers are never chosen. Training draws anew each epoch,
https://arxiv.org/abs/1907.11692.

With `whole_words` all tokens of a word are chosen together: words in random order, leaving out
those that would exceed the number; the shortest, where all would. A token goes on with the word
before it where the last character before it and its own first are letters or digits; so a word
begins at a blank, after one, and around punctuation. Part of a character counts as a letter.
"""

from pathlib import Path
from typing import Any

import numpy as np

from data.columns import Examples
from data.layouts import Layout, layout_of
from data.rows import Row, Split, StreamRows
from data.streams import Span, TokenStream
from transformer.objectives import MASK


class MaskedRows(StreamRows):
    """`inputs` (with masks), `targets`, `weights`, `positions`, `segment_ids`, [T].

    `targets` holds the text at all places; `weights` is 1 where a token was chosen.
    """

    def __init__(
        self, stream: TokenStream, layout: Layout, length: int, tokenizer: Any, objective: Any
    ):
        super().__init__(stream, layout, length)
        self._objective = objective
        self._mask, self._ordinary = tokenizer.special(MASK), tokenizer.ordinary
        self._special = np.array(list(tokenizer.specials.values()))
        self._begins, self._ends = _word_edges(tokenizer) if objective.whole_words else (None, None)

    def make(self, spans: list[Span], key: tuple[int, ...]) -> Row:
        window = self._stream.window(spans, self._length)
        tokens, rng, objective = window['inputs'], np.random.default_rng(key), self._objective
        text = (window['segment_ids'] > 0) & ~np.isin(tokens, self._special)
        chosen = self._choose(window, text, rng)
        fate = rng.random(len(tokens))
        masked = chosen & (fate < objective.mask)
        random = chosen & ~masked & (fate < objective.mask + objective.random)
        inputs = np.where(masked, self._mask, tokens)
        inputs[random] = rng.choice(self._ordinary, random.sum())
        return {
            'inputs': inputs.astype(np.int32),
            'targets': tokens,
            'weights': chosen.astype(np.float32),
            'positions': window['positions'],
            'segment_ids': window['segment_ids'],
        }

    def _choose(self, window: Row, text: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        chosen = np.zeros(len(text), bool)
        places = np.flatnonzero(text)
        if not len(places):
            return chosen
        count = max(1, int(self._objective.rate * len(places) + rng.random()))
        if not self._objective.whole_words:
            chosen[rng.choice(places, count, replace=False)] = True
            return chosen
        tokens, segments = window['inputs'], window['segment_ids']
        goes_on = ~self._begins[tokens[1:]] & ~self._ends[tokens[:-1]]
        goes_on &= text[1:] & text[:-1] & (segments[1:] == segments[:-1])
        word = np.cumsum(np.concatenate([[True], ~goes_on]))[places]
        words = np.split(places, np.flatnonzero(np.diff(word)) + 1)
        for i in rng.permutation(len(words)):
            if len(words[i]) <= count:
                chosen[words[i]] = True
                count -= len(words[i])
        if not chosen.any():
            chosen[min(words, key=len)] = True
        return chosen


def _word_edges(tokenizer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of each token, whether its first and whether its last character is outside words."""

    def outside(character: str) -> bool:
        return not (character.isalnum() or character == '\ufffd')

    begins = np.array([outside(piece[:1]) for piece in tokenizer.pieces])
    ends = np.array([outside(piece[-1:]) for piece in tokenizer.pieces])
    return begins, ends


def split(experiment: Any, examples: Examples, tokenizer: Any, plans: Path | None) -> Split:
    """Documents as rows of `experiment.context` tokens."""
    stream = TokenStream(examples)
    layout = layout_of(experiment, stream, shifted=False, directory=plans)
    rows = MaskedRows(stream, layout, experiment.context, tokenizer, experiment.objective)
    return Split(rows, 0, 0)
