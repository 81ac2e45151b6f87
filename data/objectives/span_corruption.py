"""Cut-out spans, each after its sentinel, https://arxiv.org/abs/1910.10683, section 3.1.4.

    text    Thank you for inviting me to your party last week END
    inputs  Thank you <extra_id_0> me to your party <extra_id_1> week END
    targets <extra_id_0> for inviting <extra_id_1> last END

A document is cut into pieces of as many tokens as make a full row of inputs once their spans are
gone; what remains of short ones is packed, several pieces a row, each with sentinels of its own and
blind to the others. The pieces are the same each epoch, the spans drawn anew.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from data.bins import Ragged
from data.objectives.pairs import PackedPairs, end_marker
from data.rows import Split
from transformer.errors import ConfigError


def noise(length: int, rate: float, mean_span: float) -> tuple[int, int]:
    """How many of `length` tokens are cut out, and in how many spans."""
    tokens = min(max(round(length * rate), 1), length - 1)
    return tokens, min(max(round(tokens / mean_span), 1), tokens, length - tokens)


def corrupted_lengths(length: int, rate: float, mean_span: float) -> tuple[int, int]:
    """Inputs and targets that `length` tokens become, both with their end marker."""
    tokens, spans = noise(length, rate, mean_span)
    return length - tokens + spans + 1, tokens + spans + 1


def span_lengths(inputs: int, rate: float, mean_span: float) -> tuple[int, int]:
    """How many tokens fill a row of `inputs`, and how many targets that gives.

    Raises:
      ConfigError: too short a row.
    """
    if corrupted_lengths(2, rate, mean_span)[0] > inputs:
        raise ConfigError('context', inputs, 'at least 3: a token, a sentinel and the end marker')
    raw = 2
    while corrupted_lengths(raw + 1, rate, mean_span)[0] <= inputs:
        raw += 1
    return raw, corrupted_lengths(raw, rate, mean_span)[1]


def noise_mask(length: int, rate: float, mean_span: float, rng: np.random.Generator) -> np.ndarray:
    """Which of `length` tokens are cut out, bool [length].

    The kept and the cut tokens are each split at random in as many parts as there are spans; the
    parts alternate, a kept one first.
    """
    tokens, spans = noise(length, rate, mean_span)

    def parts(items: int) -> np.ndarray:
        cuts = np.sort(rng.choice(items - 1, spans - 1, replace=False)) + 1
        return np.diff(np.concatenate([[0], cuts, [items]]))

    alternating = np.stack([parts(length - tokens), parts(tokens)], axis=1).reshape(-1)
    return np.repeat(np.arange(2 * spans) % 2 == 1, alternating)


def corrupt(
    tokens: np.ndarray, cut: np.ndarray, sentinels: np.ndarray, end: int
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets.

    Args:
      tokens: a piece of text.
      cut: which of them are cut out, as of `noise_mask`.
      sentinels: ids of the sentinels.
      end: the end marker's id.
    """
    first_cut = cut & ~np.concatenate([[False], cut[:-1]])
    first_kept = ~cut & ~np.concatenate([[False], ~cut[:-1]])

    def without(gone: np.ndarray, first_gone: np.ndarray) -> np.ndarray:
        number = np.cumsum(first_gone) - 1
        marked = np.where(first_gone, sentinels[np.maximum(number, 0)], tokens)
        return np.append(marked[~gone | first_gone], end).astype(np.int32)

    return without(cut, first_cut), without(~cut, first_kept)


class SpanRows(PackedPairs):
    """Rows as of `pairs.assemble`.

    Args:
      pieces: of documents, at least two tokens each.
      left_out: how many pieces have but one token, which cannot be corrupted.
      lengths: S and T.
      objective: `transformer.objectives.SpanCorruption`.
      sentinels: their ids.
      end: the end marker's id.
      start, seed: as of `PackedPairs`.
    """

    NEEDS = 'one document of 2 tokens'

    def __init__(self, pieces: Ragged, left_out, lengths, objective, sentinels, end, start, seed):
        self._options = objective.rate, objective.mean_span
        of_length = {n: corrupted_lengths(n, *self._options) for n in np.unique(pieces.lengths)}
        sizes = np.array([of_length[n] for n in pieces.lengths], np.int64).reshape(-1, 2)
        super().__init__(sizes, *lengths, start, seed)
        self._pieces, self._left_out = pieces, left_out
        self._sentinels, self._end = sentinels, end

    def pair(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        tokens = self._pieces[index]
        cut = noise_mask(len(tokens), *self._options, rng)
        return corrupt(tokens, cut, self._sentinels, self._end)

    def content(self) -> str:
        return self._pieces.digest()

    def size(self) -> str:
        short = f', {self._left_out:,} pieces of one token left out' if self._left_out else ''
        return super().size().replace('pairs', 'pieces') + short


def pieces_of(ids: np.ndarray, most: int) -> list[np.ndarray]:
    """A document in pieces of `most` tokens; none has one token alone, unless the document has."""
    cuts = np.arange(most, len(ids), most)
    if len(cuts) and len(ids) - cuts[-1] == 1 and most > 2:
        cuts[-1] -= 1
    return np.split(ids, cuts)


def split(experiment: Any, records: Sequence[str], tokenizer: Any) -> Split:
    """Documents as rows of `experiment.context` inputs and as many targets as follow from it."""
    objective, end = experiment.objective, end_marker(experiment, tokenizer)
    options = objective.rate, objective.mean_span
    raw, targets = span_lengths(experiment.context, *options)
    if experiment.target_context not in (0, targets):
        accepted = f'0 or {targets}: it follows from config.context={experiment.context}'
        raise ConfigError('target_context', experiment.target_context, accepted)
    spans = max(noise(n, *options)[1] for n in range(2, raw + 1))
    if spans > objective.sentinels:
        accepted = f'at least {spans} for rows of config.context={experiment.context}'
        raise ConfigError('objective.sentinels', objective.sentinels, accepted)
    sentinels = np.array([tokenizer.special(name) for name in objective.special_tokens])
    dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    pieces = [piece for ids in tokenizer.encode_all(records) for piece in pieces_of(ids, raw)]
    kept = Ragged([piece for piece in pieces if len(piece) > 1], dtype)
    left_out = sum(len(piece) == 1 for piece in pieces)
    lengths = experiment.context, targets
    start, seed = tokenizer.start, experiment.seed
    rows = SpanRows(kept, left_out, lengths, objective, sentinels, end, start, seed)
    return Split(rows, 0, rows.targets, records)
