r"""The middle of a text from what is before and after it, https://arxiv.org/abs/2207.14255.

    text  def area(r):\n    return 3.14 * r * r\n
    PSM   PREFIX def area(r):\n    ret SUFFIX  * r\n MIDDLE urn 3.14 * r END
    SPM   PREFIX SUFFIX  * r\n MIDDLE def area(r):\n    return 3.14 * r END

A share `rate` of the pieces of documents that rows hold is turned round, split at two places
uniform among those between characters; of these `spm_rate` in the order SPM, in which prefix and
middle are one text, as in section 4 there. The parts are tokenised anew, so that cuts fall within
what was one token, as they do where somebody writes. All tokens are learnt, as in next token
prediction; the end marker of a document follows the middle.

A piece keeps at most the length that it had, so rows do: what the markers take is cut from the end
of the suffix, and from the beginning of the prefix where that is not enough. The middle is always
whole; a piece in which it and the markers have no room stays as it was.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.columns import Examples
from data.layouts import Layout, layout_of
from data.objectives.next_token import NextTokenRows
from data.objectives.pairs import end_marker
from data.rows import Row, Split
from data.streams import Span, TokenStream
from transformer.errors import ConfigError, UserError
from transformer.objectives import FillInMiddle

PARTIAL = 3  # tokens at an end of a piece that may be parts of one character
NEAR = 8  # tokens that certainly show whether a character is whole


def permute(
    tokens: np.ndarray,
    rng: np.random.Generator,
    tokenizer: Any,
    markers: Sequence[int],
    spm_rate: float,
) -> np.ndarray:
    """A piece of text turned round, of at most as many tokens; itself where there is no room.

    Args:
      tokens: of text alone.
      tokenizer: gives each text back as it was.
      markers: ids of prefix, middle and suffix.
      spm_rate: chance of the order SPM.
    """
    begin, end = _whole(tokens, tokenizer)
    text = tokenizer.decode(tokens[begin:end])
    first, last = np.sort(rng.integers(0, len(text) + 1, 2)).tolist()
    joined = rng.random() < spm_rate
    prefix, middle = text[:first], text[first:last]
    suffix = np.concatenate([_encode(tokenizer, text[last:]), tokens[end:]])
    # In the order SPM prefix and middle are tokenised as one.
    whole = _encode(tokenizer, prefix + middle if joined else prefix)
    whole = np.concatenate([tokens[:begin], whole])
    ending = _encode(tokenizer, '' if joined else middle)
    room = len(tokens) - len(markers) - len(ending)
    if room < 0:
        return tokens
    suffix = suffix[: max(0, room - len(whole))]
    if len(whole) > room:
        whole = whole[len(whole) - room :]
        if joined and not tokenizer.decode(whole).endswith(middle):
            return tokens
    before, between, after = ([marker] for marker in markers)
    if joined:
        parts = [before, after, suffix, between, whole]
    else:
        parts = [before, whole, after, suffix, between, ending]
    return np.concatenate(parts).astype(tokens.dtype)


def _encode(tokenizer: Any, text: str) -> np.ndarray:
    return np.array(tokenizer.encode(text) if text else [], np.int64)


def _whole(tokens: np.ndarray, tokenizer: Any) -> tuple[int, int]:
    """From where to where the tokens are whole characters: a row may be cut within one."""
    begin, end = 0, len(tokens)
    while begin < min(PARTIAL, end) and _partial(tokenizer, tokens[begin : begin + NEAR], 0):
        begin += 1
    most = max(begin, end - PARTIAL)
    while end > most and _partial(tokenizer, tokens[max(begin, end - NEAR) : end], -1):
        end -= 1
    return begin, end


def _partial(tokenizer: Any, tokens: np.ndarray, place: int) -> bool:
    text = tokenizer.decode(tokens)
    return not text or text[place] == '\ufffd'


def prompt(text: str, tokenizer: Any, objective: FillInMiddle) -> list[int]:
    """What a model reads to write the middle, in the order PSM.

    Args:
      text: holds `objective.gap` where the middle belongs; without it is gone on with.

    Raises:
      UserError: two gaps.
    """
    if objective.gap not in text:
        return tokenizer.prompt(text)
    prefix, _, suffix = text.partition(objective.gap)
    if objective.gap in suffix:
        raise UserError(f'{text!r}: {objective.gap} is there twice; accepted: once')
    before, between, after = (tokenizer.special(marker) for marker in objective.markers)
    given = [before, *_encode(tokenizer, prefix), after, *_encode(tokenizer, suffix), between]
    return [*tokenizer.frame[0], *map(int, given)]


class MiddleRows(NextTokenRows):
    """`inputs`, `targets`, `weights`, `positions`, `segment_ids`, [T].

    Where a piece became shorter, what follows moves up, and the row ends in padding.
    """

    def __init__(
        self, stream: TokenStream, layout: Layout, length: int, tokenizer: Any, objective: Any
    ):
        super().__init__(stream, layout, length)
        self._tokenizer, self._objective = tokenizer, objective
        self._markers = [tokenizer.special(name) for name in objective.markers]

    def make(self, spans: list[Span], key: tuple[int, ...]) -> Row:
        row, rng = super().make(spans, key), np.random.default_rng(key)
        turn = rng.random(self._length) < self._objective.rate
        if not turn.any():
            return row
        made = {name: np.zeros_like(array) for name, array in row.items()}
        edges = np.flatnonzero(np.diff(row['segment_ids'], prepend=0, append=0))
        filled = 0
        for segment, (begin, end) in enumerate(zip(edges[:-1], edges[1:])):
            if not row['segment_ids'][begin]:
                continue
            followed = bool(row['weights'][end - 1])
            tokens = row['inputs'][begin:end]
            if followed:
                tokens = np.append(tokens, row['targets'][end - 1])
            if turn[segment]:
                tokens = self._turned(tokens, rng)
            count = len(tokens) - followed
            part = slice(filled, filled + count)
            made['inputs'][part] = tokens[:count]
            made['targets'][filled : filled + len(tokens) - 1] = tokens[1:]
            made['weights'][filled : filled + len(tokens) - 1] = 1
            made['positions'][part] = np.arange(count)
            made['segment_ids'][part] = segment + 1
            filled += count
        return made

    def _turned(self, tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A segment turned round between its end markers."""
        end = self._tokenizer.end
        first = int(tokens[0] == end)
        last = len(tokens) - int(len(tokens) > 1 and tokens[-1] == end)
        text = tokens[first:last]
        if len(text) <= len(self._markers):
            return tokens
        rate = self._objective.spm_rate
        turned = permute(text, rng, self._tokenizer, self._markers, rate)
        return np.concatenate([tokens[:first], turned, tokens[last:]])


def split(experiment: Any, examples: Examples, tokenizer: Any, plans: Path | None) -> Split:
    """Documents as rows of `experiment.context` tokens.

    Raises:
      ConfigError: a tokenizer without an end marker, or one that does not give texts back as they
        were, wherever they are cut.
    """
    objective = experiment.objective
    end_marker(experiment, tokenizer)
    _check_exact(experiment, tokenizer)
    stream = TokenStream(examples)
    layout = layout_of(experiment, stream, shifted=True, directory=plans)
    rows = MiddleRows(stream, layout, experiment.context, tokenizer, objective)
    if objective.rate:
        return Split(rows, 0, 0)
    return Split(rows, stream.text_bytes, stream.predicted)


def _check_exact(experiment: Any, tokenizer: Any) -> None:
    """Refuses tokenizers that change texts, such as by a blank before each."""
    ordinary = (tokenizer.pieces[i] for i in tokenizer.ordinary)
    known = [piece for piece in ordinary if piece.strip() and '\ufffd' not in piece]
    text = max(known, key=len, default='') * 2
    for cut in range(1, len(text)):
        parts = [_encode(tokenizer, part) for part in (text[:cut], text[cut:])]
        if tokenizer.decode(np.concatenate(parts)) != text:
            accepted = "'bpe', 'bytes' or another that keeps texts as they are, however cut"
            raise ConfigError('data.tokenizer', experiment.data.tokenizer, accepted)
