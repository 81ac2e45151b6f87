"""The whole text from a damaged one, https://arxiv.org/abs/1910.13461, section 2.2.

Each document of a row is damaged alone. First its sentences are shuffled: a sentence ends with a
token whose text ends in '.', '!', '?' or a line end, or with the last of several such tokens. Then
spans are hidden until round(rate * n) of n tokens are, their lengths drawn from a Poisson
distribution, the last one shortened: each becomes one [MASK]. A span of length 0 puts a [MASK]
between two tokens; where the row has no more room for that, it is left out. The end marker stays
last.
"""

from pathlib import Path
from typing import Any

import numpy as np

from data.columns import Examples
from data.layouts import Layout, layout_of
from data.objectives.pairs import assemble, end_marker
from data.rows import Row, Split, StreamRows
from data.streams import Span, TokenStream
from transformer.errors import ConfigError
from transformer.objectives import MASK

SENTENCE_ENDS = ('.', '!', '?', '\n')


class DenoisingRows(StreamRows):
    """Rows as of `pairs.assemble`, S = T.

    Args:
      stream, layout, length: as of `StreamRows`.
      tokenizer: has [MASK] and an end marker.
      objective: `transformer.objectives.Denoising`.
    """

    def __init__(
        self, stream: TokenStream, layout: Layout, length: int, tokenizer: Any, objective: Any
    ):
        super().__init__(stream, layout, length)
        self._objective, self._end = objective, tokenizer.end
        self._start = tokenizer.start
        self._mask = tokenizer.special(MASK)
        self._closes = np.array([p.rstrip(' ').endswith(SENTENCE_ENDS) for p in tokenizer.pieces])

    def make(self, spans: list[Span], key: tuple[int, ...]) -> Row:
        rng = np.random.default_rng(key)
        row = self._stream.row(spans, self._length)
        real = row['weights'] > 0
        targets, segments = row['targets'][real], row['segment_ids'][real]
        pairs = []
        for target in np.split(targets, np.flatnonzero(np.diff(segments)) + 1):
            closed = target[-1] == self._end
            source = target[:-1] if closed else target
            if self._objective.permute_sentences:
                source = permuted(source, self._closes, rng)
            source = infilled(source, self._objective, self._mask, rng)
            pairs.append((np.append(source, target[-1]) if closed else source, target))
        return assemble(pairs, self._length, self._length, self._start)


def permuted(tokens: np.ndarray, closes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same tokens with their sentences in random order.

    Args:
      closes: [V], whether a token can be the last of a sentence.
    """
    last = closes[tokens]
    ends = np.flatnonzero(last[:-1] & ~last[1:]) + 1
    sentences = np.split(tokens, ends)
    return np.concatenate([sentences[i] for i in rng.permutation(len(sentences))])


def infilled(tokens: np.ndarray, objective: Any, mask: int, rng: np.random.Generator) -> np.ndarray:
    """The tokens with spans replaced by `mask`; never more tokens than before."""
    size = len(tokens)
    hidden = round(objective.rate * size)
    lengths, left = [], hidden
    while left:
        lengths.append(min(int(rng.poisson(objective.mean_span)), left))
        left -= lengths[-1]
    lengths = np.array(lengths, int)
    # Each span that hides l tokens makes room for l - 1 that hide none.
    full = lengths[lengths > 0]
    none = min((lengths == 0).sum(), hidden - len(full))
    lengths = rng.permutation(np.concatenate([full, np.zeros(none, int)]))
    kept = size - hidden
    gaps = rng.choice(kept + 1, len(lengths), replace=len(lengths) > kept + 1)
    pieces, at, place = [], 0, 0
    for gap, length in zip(np.sort(gaps), lengths):
        pieces += [tokens[at : at + gap - place], [mask]]
        at, place = at + gap - place + length, gap
    return np.concatenate([*pieces, tokens[at:]]).astype(np.int32)


def split(experiment: Any, examples: Examples, tokenizer: Any, plans: Path | None) -> Split:
    """Documents as rows of `experiment.context` tokens on both sides."""
    end_marker(experiment, tokenizer)
    if experiment.context < 2:
        raise ConfigError('context', experiment.context, 'at least 2 tokens')
    if experiment.target_context not in (0, experiment.context):
        accepted = f'0 or config.context={experiment.context}'
        raise ConfigError('target_context', experiment.target_context, accepted)
    stream = TokenStream(examples)
    layout = layout_of(experiment, stream, shifted=True, directory=plans)
    rows = DenoisingRows(stream, layout, experiment.context, tokenizer, experiment.objective)
    return Split(rows, 0, stream.predicted)
