"""What a trained model says to a text: each objective has its way. One entry a text."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from transformer import workdir
from transformer.beam import Beam
from transformer.context import Context
from transformer.decode import Generator
from transformer.errors import UserError
from transformer.fill import fill
from transformer.objectives import MASK, START, Objective
from transformer.sampling import Sampling
from transformer.seq2seq import Seq2SeqGenerator


@dataclasses.dataclass(frozen=True)
class Speaker:
    """A model with what it takes to talk to it.

    Attributes:
      classes: names of the classes, if there are any.
      how: how tokens are chosen.
      max_tokens: new tokens at most; 0 means as many as the model was trained on.
      cut: whether a source that is too long is cut, as in training, or refused.
    """

    model: Any
    params: Any
    tokenizer: Any
    objective: Objective
    classes: tuple[str, ...] = ()
    how: Sampling | Beam = Sampling()
    max_tokens: int = 0
    seed: int = 0
    cut: bool = False


def respond(speaker: Speaker, texts: Sequence[str]) -> list[str]:
    """The model's answer to each text.

    Raises:
      UserError: the objective answers no texts, or a text that it cannot read.
    """
    kind = speaker.objective.kind
    if kind not in RESPONSES:
        accepted = ', '.join(RESPONSES)
        raise UserError(f'a model of config.objective.kind={kind!r} answers no text: {accepted} do')
    return RESPONSES[kind](speaker, texts)


def encode(tokenizer: Any, text: str, special_tokens: Sequence[str]) -> list[int]:
    """Token ids of a text in which special tokens are spelt out."""
    if not special_tokens:
        return list(tokenizer.encode(text))
    ids, marks = [], '|'.join(map(re.escape, special_tokens))
    for part in re.split(f'({marks})', text):
        if part in special_tokens:
            ids.append(tokenizer.special(part))
        elif part:
            ids += tokenizer.encode(part)
    return ids


def _continue(speaker: Speaker, texts: Sequence[str]) -> list[str]:
    s = speaker
    if not isinstance(s.how, Sampling):
        raise UserError('a decoder has no beam search here; accepted: temperature, top_k, top_p')
    prompts = [s.tokenizer.encode(text) for text in texts]
    generator = Generator(s.model, s.params, s.tokenizer.end, s.how, s.objective.kind == 'prefix')
    rows = generator.generate(prompts, s.max_tokens or 200, s.seed)
    return [s.tokenizer.decode(row) for row in rows]


def _rewrite(speaker: Speaker, texts: Sequence[str]) -> list[str]:
    s = speaker
    end, specials = s.tokenizer.end, s.objective.special_tokens
    if getattr(s.objective, 'lowercase', False):
        texts = [text.lower() for text in texts]
    room = s.model.config.context - 1 if s.cut else None
    sources = [[*encode(s.tokenizer, text, specials)[:room], end] for text in texts]
    generator = Seq2SeqGenerator(s.model, s.params, end, end, s.how)
    rows = generator.generate(sources, s.max_tokens, s.seed)
    return [s.tokenizer.decode(row) for row in rows]


def _fill(speaker: Speaker, texts: Sequence[str]) -> list[str]:
    s = speaker
    rows = [encode(s.tokenizer, text, s.objective.special_tokens) for text in texts]
    gaps = fill(s.model, s.params, rows, s.tokenizer.special(MASK))
    show = lambda gap: ', '.join(f'{s.tokenizer.decode([t])!r} {p:.2f}' for t, p in gap)  # noqa: E731
    return ['; '.join(show(gap) for gap in row) for row in gaps]


def _classify(speaker: Speaker, texts: Sequence[str]) -> list[str]:
    s, context = speaker, speaker.model.config.context
    rows = [[s.tokenizer.special(START), *s.tokenizer.encode(text)] for text in texts]
    for i, row in enumerate(rows):
        if len(row) > context:
            workdir.warn(f'text {i + 1} has {len(row)} tokens; the first {context} are read')
    rows = [row[:context] for row in rows]
    slots = min(1 << (max(map(len, rows)) - 1).bit_length(), context)
    tokens_BT = np.zeros((len(rows), slots), np.int32)
    segments_BT = np.zeros_like(tokens_BT)
    for i, row in enumerate(rows):
        tokens_BT[i, : len(row)], segments_BT[i, : len(row)] = row, 1

    @jax.jit
    def chances(params, tokens_BT, segments_BT):
        ctx = Context.of(tokens_BT, segments_BT=segments_BT)
        return jax.nn.softmax(s.model.apply({'params': params}, tokens_BT, ctx)[0])

    chances_BC = np.asarray(chances(s.params, tokens_BT, segments_BT))
    return [f'{s.classes[row.argmax()]} {row.max():.3f}' for row in chances_BC]


RESPONSES: dict[str, Callable[[Speaker, Sequence[str]], list[str]]] = {
    'next_token': _continue,
    'prefix': _continue,
    'masked': _fill,
    'span_corruption': _rewrite,
    'denoising': _rewrite,
    'seq2seq': _rewrite,
    'classification': _classify,
}
