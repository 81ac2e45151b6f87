"""Cut-out spans, each after its sentinel, https://arxiv.org/abs/1910.10683, section 3.1.4.

    text    Thank you for inviting me to your party last week END
    inputs  Thank you <extra_id_0> me to your party <extra_id_1> week END
    targets <extra_id_0> for inviting <extra_id_1> last END

A document is cut into pieces of as many tokens as make a full row of inputs once their spans are
gone; what remains of short ones is packed, several pieces a row, each with sentinels of its own and
blind to the others. The pieces are the same each epoch, the spans drawn anew.
"""

from pathlib import Path
from typing import Any

import numpy as np

from data.columns import Examples
from data.layouts import pieces
from data.objectives.pairs import PackedPairs, end_marker, plan_pairs
from data.plans import planned
from data.rows import Split, left_out
from data.streams import TokenStream
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
      stream: documents, of which the plan's pieces are parts.
      plan: as of `PackedPairs`, with `begins` and `lengths` of the pieces, row by row.
      lengths: S and T.
      short: how many pieces have but one token, which cannot be corrupted.
      objective: `transformer.objectives.SpanCorruption`.
      sentinels: their ids.
      tokenizer: has an end marker.
    """

    NEEDS = 'one document of 2 tokens'

    def __init__(self, stream, plan, lengths, short: int, objective, sentinels, tokenizer):
        super().__init__(plan, *lengths, tokenizer.start)
        self._stream, self._short = stream, short
        self._options = objective.rate, objective.mean_span
        self._sentinels, self._end = sentinels, tokenizer.end

    def members(self, begin: int, end: int) -> range:
        return range(begin, end)

    def pair(self, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        begin, length = (int(self._plan[name][index]) for name in ('begins', 'lengths'))
        tokens = self._stream.tokens.read(begin, begin + length)
        return corrupt(tokens, noise_mask(length, *self._options, rng), self._sentinels, self._end)

    def content(self) -> str:
        return self._stream.digest()

    def size(self) -> str:
        short = f', {self._short:,} pieces of one token left out' if self._short else ''
        return super().size().replace('pairs', 'pieces') + short + left_out(self._stream.skipped)


def pieces_of(starts: np.ndarray, most: int, skip: int) -> tuple[np.ndarray, np.ndarray]:
    """As `layouts.pieces`, but none has one token alone, unless the document has."""
    begins, lengths = pieces(starts, most, skip)
    if most > 2:
        lonely = np.flatnonzero((lengths[1:] == 1) & (begins[1:] == begins[:-1] + lengths[:-1])) + 1
        begins[lonely] -= 1
        lengths[lonely] += 1
        lengths[lonely - 1] -= 1
    return begins, lengths


def split(experiment: Any, examples: Examples, tokenizer: Any, plans: Path | None) -> Split:
    """Documents as rows of `experiment.context` inputs and `experiment.target_context` targets.

    By default there are as many targets as a row of inputs can give.
    """
    objective = experiment.objective
    end_marker(experiment, tokenizer)
    options = objective.rate, objective.mean_span
    raw, targets = span_lengths(experiment.context, *options)
    if experiment.target_context and experiment.target_context < targets:
        accepted = f'0 or at least {targets}: a row of config.context={experiment.context} has them'
        raise ConfigError('target_context', experiment.target_context, accepted)
    spans = max(noise(n, *options)[1] for n in range(2, raw + 1))
    if spans > objective.sentinels:
        accepted = f'at least {spans} for rows of config.context={experiment.context}'
        raise ConfigError('objective.sentinels', objective.sentinels, accepted)
    sentinels = np.array([tokenizer.special(name) for name in objective.special_tokens])
    lengths = experiment.context, experiment.target_context or targets
    stream = TokenStream(examples)
    plan = _plan(experiment, stream, raw, lengths, plans)
    short = int(plan['left_out'][0])
    rows = SpanRows(stream, plan, lengths, short, objective, sentinels, tokenizer)
    return Split(rows, 0, rows.targets)


def _plan(experiment, stream, raw: int, lengths: tuple[int, int], plans: Path | None) -> dict:
    """Which pieces share a row; `begins` and `lengths` row by row."""
    options = experiment.objective.rate, experiment.objective.mean_span

    def make() -> dict[str, np.ndarray]:
        starts = np.asarray(stream.tokens.starts)
        begins, kept = pieces_of(starts, raw, skip=int(stream.marked))  # without end markers
        long = kept > 1
        begins, kept = begins[long], kept[long]
        sizes = [corrupted_lengths(max(n, 2), *options) for n in range(raw + 1)]
        plan = plan_pairs(experiment, np.array(sizes)[kept], lengths)
        return {
            'begins': begins[plan['items']],
            'lengths': kept[plan['items']].astype(np.int32),
            'rows': plan['rows'],
            'tokens': plan['tokens'],
            'left_out': np.array([(~long).sum()]),
        }

    key = {'spans': stream.digest(), 'lengths': list(lengths), 'options': list(options)}
    key |= {'how': experiment.data.packing, 'seed': experiment.seed}
    return planned(plans, key, make)
