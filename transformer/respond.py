"""What a trained model says to a text: each objective has its way. One entry a text."""

import dataclasses
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
from transformer.objectives import MASK, Objective
from transformer.sampling import Sampling
from transformer.scores import Ends
from transformer.seq2seq import Seq2SeqGenerator
from transformer.speculative import SpeculativeGenerator


@dataclasses.dataclass(frozen=True)
class Draft:
    """A small model that proposes tokens, `speculative.py`."""

    model: Any
    params: Any
    tokens: int = 4


@dataclasses.dataclass(frozen=True)
class Speaker:
    """A model with what it takes to talk to it.

    Attributes:
      classes: names of the classes, if there are any.
      how: how tokens are chosen.
      max_tokens: new tokens at most; 0 means as many as the model was trained on.
      system: what a chat model is told first; '' means nothing.
      cut: whether a source that is too long is cut, as in training, or refused.
      draft: what proposes tokens to a decoder, or None.
    """

    model: Any
    params: Any
    tokenizer: Any
    objective: Objective
    classes: tuple[str, ...] = ()
    how: Sampling | Beam = Sampling()
    max_tokens: int = 0
    seed: int = 0
    system: str = ''
    cut: bool = False
    draft: Draft | None = None

    def generator(self, end: Ends) -> Generator:
        """What continues prompts until `end`."""
        given = self.model, self.params, end, self.how, self.objective.kind == 'prefix'
        if self.draft is None:
            return Generator(*given)
        d = self.draft
        draft = {'draft': d.model, 'draft_params': d.params, 'draft_tokens': d.tokens}
        return SpeculativeGenerator(*given, **draft)


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


def _continue(speaker: Speaker, texts: Sequence[str]) -> list[str]:
    s = speaker
    if not isinstance(s.how, Sampling):
        raise UserError('a decoder has no beam search here; accepted: temperature, top_k, top_p')
    prompts = begun(s, texts)
    rows = s.generator(s.tokenizer.end).generate(prompts, s.max_tokens or 200, s.seed)
    return [s.tokenizer.continuation(*both) for both in zip(prompts, rows)]


def begun(speaker: Speaker, texts: Sequence[str]) -> list[list[int]]:
    """What a decoder reads of texts: to go on with, or with a gap that it fills."""
    if speaker.objective.kind != 'fill_in_middle':
        return [speaker.tokenizer.prompt(text) for text in texts]
    from data.objectives.fill_in_middle import prompt

    return [prompt(text, speaker.tokenizer, speaker.objective) for text in texts]


def _answer(speaker: Speaker, texts: Sequence[str]) -> list[str]:
    if not isinstance(speaker.how, Sampling):
        raise UserError('a decoder has no beam search here; accepted: temperature, top_k, top_p')
    ends, prompts = asked(speaker, texts)
    room = speaker.max_tokens or 200
    rows = speaker.generator(ends).generate(prompts, room, speaker.seed)
    return [speaker.tokenizer.continuation(*both) for both in zip(prompts, rows)]


def asked(speaker: Speaker, texts: Sequence[str]) -> tuple[tuple[int, ...], list[list[int]]]:
    """What a chat model reads of texts that a user says: tokens that end an answer, and prompts."""
    from data.chat import Format

    written = Format(speaker.tokenizer, speaker.objective)
    before = [{'role': 'system', 'content': speaker.system}] if speaker.system else []
    said = [[*before, {'role': 'user', 'content': text}] for text in texts]
    prompts = [written.prompt(one, f'prompt {i + 1}') for i, one in enumerate(said)]
    return written.ends, prompts


def _rewrite(speaker: Speaker, texts: Sequence[str]) -> list[str]:
    s = speaker
    specials = s.objective.special_tokens
    if getattr(s.objective, 'lowercase', False):
        texts = [text.lower() for text in texts]
    most = s.model.config.context if s.cut else None
    ended = s.tokenizer.side if s.objective.kind == 'seq2seq' else s.tokenizer.close
    encoded = (s.tokenizer.encode_marked(text, specials) for text in texts)
    sources = [ended(ids, most).tolist() for ids in encoded]
    generator = Seq2SeqGenerator(s.model, s.params, s.tokenizer.start, s.tokenizer.end, s.how)
    rows = generator.generate(sources, s.max_tokens, s.seed)
    return [s.tokenizer.decode(row) for row in rows]


def _fill(speaker: Speaker, texts: Sequence[str]) -> list[str]:
    s = speaker
    before, after = s.tokenizer.frame
    encoded = (s.tokenizer.encode_marked(text, s.objective.special_tokens) for text in texts)
    rows = [[*before, *ids, *after] for ids in encoded]
    gaps = fill(s.model, s.params, rows, s.tokenizer.special(MASK))
    show = lambda gap: ', '.join(f'{s.tokenizer.decode([t])!r} {p:.2f}' for t, p in gap)  # noqa: E731
    return ['; '.join(show(gap) for gap in row) for row in gaps]


def _classify(speaker: Speaker, texts: Sequence[str]) -> list[str]:
    s, context = speaker, speaker.model.config.context
    encoded = [s.tokenizer.encode(text) for text in texts]
    rows = [s.tokenizer.wrap(ids, context) for ids in encoded]
    for i, ids in enumerate(encoded):
        if (size := len(s.tokenizer.wrap(ids))) > context:
            workdir.warn(f'text {i + 1} has {size} tokens; the first {context} are read')
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
    'fill_in_middle': _continue,
    'chat': _answer,
    'masked': _fill,
    'span_corruption': _rewrite,
    'denoising': _rewrite,
    'seq2seq': _rewrite,
    'classification': _classify,
}
