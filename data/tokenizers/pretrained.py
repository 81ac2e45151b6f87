"""The tokenizer of a pretrained checkpoint, as objectives want it."""

import functools
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from data.tokenizer_base import END, Tokenizer, framed
from data.tokenizers import trained
from transformer.errors import UserError
from transformer.objectives import MASK, SEPARATOR, START

# What a token that is added for an objective is for.
ROLES = {END: 'eos', MASK: 'mask', START: 'cls', SEPARATOR: 'sep'}


class Pretrained(Tokenizer):
    """The tokenizer of a pretrained checkpoint, for training on.

    Objectives find its special tokens by their own names and by ours: END is its end of sequence,
    [MASK] its mask, [CLS] its class token or else its begin of sequence, [SEP] its separator.

    Args:
      tokenizer: `transformer.hf.tokenizer.HFTokenizer`.
      start: id that a decoder reads first, where that is not the end marker: T5's padding.
    """

    def __init__(self, tokenizer: Any, start: int | None = None):
        import tokenizers

        self.tokenizer, self._start = tokenizer, start
        self.vocab_size = tokenizer.vocab_size
        # A copy, as text that spells a special token out is text here alone.
        self._plain = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
        self._plain.encode_special_tokens = True
        first = tokenizer.bos if tokenizer.cls is None else tokenizer.cls
        ours = {END: tokenizer.eos, MASK: tokenizer.mask, START: first, SEPARATOR: tokenizer.sep}
        ours = {name: number for name, number in ours.items() if number is not None}
        own = tokenizer.special_tokens
        # One of its own that has our name for another stays special, under a name of both.
        other = {f'{name}#{i}': i for name, i in own.items() if ours.get(name, i) != i}
        self.specials = own | other | ours

    def __reduce__(self):
        return type(self), (self.tokenizer, self._start)  # a pickled `_plain` forgets its setting

    def with_special(self, names: Sequence[str]) -> 'Pretrained':
        saved = json.loads(self.tokenizer.to_json())
        made = type(self.tokenizer).from_json(json.dumps(saved))
        made.backend.add_special_tokens(list(names))
        saved = json.loads(made.to_json())
        roles = {f'{ROLES[name]}_token': name for name in names if name in ROLES}
        saved['roles'] |= roles
        saved['extra'] = [*saved['extra'], *(name for name in names if name not in ROLES)]
        return Pretrained(type(self.tokenizer).from_json(json.dumps(saved)), self._start)

    @property
    def start(self) -> int | None:
        return self.end if self._start is None else self._start

    @functools.cached_property
    def frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        words = (self._plain.decode([i]) for i in self.ordinary)
        for word in itertools.chain(('a',), words):
            made = self._plain.encode(word)
            text = [i for i, special in enumerate(made.special_tokens_mask) if not special]
            if text:
                return tuple(made.ids[: text[0]]), tuple(made.ids[text[-1] + 1 :])
        raise UserError('the tokenizer has no token that text is made of')

    def wrap(self, ids: Sequence[int], length: int | None = None) -> np.ndarray:
        """A text as its own model reads it: [CLS] ids [SEP], or bos ids, or the ids alone."""
        before, after = self.frame
        return framed(before, ids, after, length, self.tokenizer.truncation_side)

    def side(self, ids: Sequence[int], length: int | None = None) -> np.ndarray:
        """A side of a pair as its own model reads it; the end marker is last in any case."""
        before, after = self.frame
        after = after if after[-1:] == (self.end,) else (*after, self.end)
        return framed(before, ids, after, length, self.tokenizer.truncation_side)

    def encode_marked(self, text: str, names: Sequence[str]) -> list[int]:
        """As `encode`, but special tokens count, those of `names` by our names or by their own."""
        for name in names:
            own = self._plain.id_to_token(self.special(name))
            text = text.replace(name, own)
        return self.tokenizer.encode(text, special_tokens=False)

    @functools.cached_property
    def pieces(self) -> tuple[str, ...]:
        return trained.pieces(self._plain, self.vocab_size)

    def encode(self, text: str) -> list[int]:
        return trained.encode(self._plain, text)

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        yield from trained.encode_all(self._plain, texts)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; where the frame of a text is around them, it is left out."""
        ids, (before, after) = [int(i) for i in ids], self.frame
        if before and tuple(ids[: len(before)]) == before:
            ids = ids[len(before) :]
        if after and tuple(ids[-len(after) :]) == after:
            ids = ids[: -len(after)]
        return self.tokenizer.decode(ids, skip_special_tokens=False)

    def to_json(self) -> str:
        saved = {'type': 'pretrained', 'start': self._start}
        return json.dumps(saved | {'tokenizer': json.loads(self.tokenizer.to_json())})
