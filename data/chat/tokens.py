"""From the text of conversations to tokens, and which of them are learnt.

What the template spells is a special token; what a message spells is text, whatever it looks like.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data.chat.spans import BREAK, Span
from data.tokenizer_base import Tokenizer

# As JSON may write BREAK, too.
BROKEN = re.compile(f'{BREAK}|{re.escape(ascii(BREAK)[1:-1])}')


@dataclasses.dataclass(frozen=True)
class Written:
    """Attributes:

    text: of a conversation.
    spans: what of it is learnt, ascending.
    quoted: where messages spell a special token.
    """

    text: str
    spans: tuple[Span, ...] = ()
    quoted: tuple[int, ...] = ()

    @classmethod
    def of(cls, text: str, spans: Sequence[Span]) -> 'Written':
        """Of a text with BREAK after the first character of what messages spell."""
        found = [match.span() for match in BROKEN.finditer(text)]
        if not found:
            return cls(text, tuple(spans))
        begins = np.array([begin for begin, _ in found])
        sizes = np.cumsum([0, *(end - begin for begin, end in found)])
        moved = lambda at: int(at - sizes[np.searchsorted(begins, at)])  # noqa: E731
        return cls(
            BROKEN.sub('', text),
            tuple((moved(begin), moved(end)) for begin, end in spans),
            tuple(moved(begin) - 1 for begin in begins),
        )


Encoded = tuple[np.ndarray, np.ndarray]  # ids, and 1 for those that are learnt


class Parts:
    """Tokens by a tokenizer of ours: the text between special tokens, part by part.

    Text is also divided where something to be learnt begins or ends: what a model is given to
    answer has the same tokens as what it learnt from.
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._specials = spellings(tokenizer.specials)

    def encode(self, written: Sequence[Written]) -> list[Encoded]:
        """Of each text."""
        plans, parts = [], []
        for one in written:
            plan = list(self._plan(one))
            plans.append(plan)
            parts += [part for part, _ in plan if isinstance(part, str)]
        ids = iter(self._tokenizer.encode_all(parts))
        return [self._joined(plan, ids) for plan in plans]

    def _plan(self, one: Written):
        """Texts and ids of special tokens, in order, each with whether it is learnt."""
        edges, quoted = [edge for span in one.spans for edge in span], set(one.quoted)
        specials = {
            m.start(): m for m in self._specials.finditer(one.text) if m.start() not in quoted
        }
        ends = (m.end() for m in specials.values())
        borders = sorted({0, len(one.text), *edges, *specials, *ends})
        for begin, end in zip(borders, borders[1:]):
            # An odd number of edges lies before what is within a span.
            learnt = np.searchsorted(edges, begin, side='right') % 2
            match = specials.get(begin)
            yield (self._tokenizer.special(match[0]) if match else one.text[begin:end]), learnt

    def _joined(self, plan, ids) -> Encoded:
        made = [(next(ids) if isinstance(p, str) else np.array([p]), learnt) for p, learnt in plan]
        sizes = [len(part) for part, _ in made]
        tokens = np.concatenate([np.zeros(0, np.int64), *(part for part, _ in made)])
        learnt = np.repeat([learnt for _, learnt in made], sizes)
        return tokens.astype(np.int64), learnt.astype(np.uint8)


class Whole:
    """Tokens by the tokenizer of a checkpoint, as its own `apply_chat_template` gives them.

    The whole text is encoded at once; a token is learnt if it has a character of what is to be.

    Args:
      tokenizer: `transformer.hf.tokenizer.HFTokenizer`.
      guarded: ids of what messages cannot spell, by spelling.
    """

    def __init__(self, tokenizer: Any, guarded: Mapping[str, int]):
        self._tokenizer, self._guarded = tokenizer, frozenset(guarded.values())

    def encode(self, written: Sequence[Written]) -> list[Encoded]:
        """Of each text."""
        texts = [one.text for one in written]
        encoded = self._tokenizer.backend.encode_batch(texts, add_special_tokens=False)
        return [self._one(one, e) for one, e in zip(written, encoded)]

    def _one(self, one: Written, encoded: Any) -> Encoded:
        tokens = np.array(encoded.ids, np.int64)
        learnt = np.zeros(len(tokens), np.uint8)
        for span in one.spans:
            learnt[_within(encoded, span)] = 1
        if not one.quoted:
            return tokens, learnt
        quoted = np.array(one.quoted)
        parts, flags = [], []
        for token, (begin, end), flag in zip(encoded.ids, encoded.offsets, learnt):
            spelt = token in self._guarded and ((quoted >= begin) & (quoted < end)).any()
            part = self._plainly(one.text[begin:end]) if spelt else [token]
            parts += part
            flags += [flag] * len(part)
        return np.array(parts, np.int64), np.array(flags, np.uint8)

    def _plainly(self, text: str) -> list[int]:
        """A special token's spelling as text; one that is no text even so is divided."""
        ids = self._after_a_letter(text)
        if self._guarded.isdisjoint(ids) or len(text) < 2:
            return ids
        cut = len(text) - len(text.lstrip()) + 1
        return [*self._after_a_letter(text[:cut]), *self._after_a_letter(text[cut:])]

    def _after_a_letter(self, text: str) -> list[int]:
        """As within a text: at its beginning, some tokenizers add a blank."""
        made = self._plain.encode(f'a{text}', add_special_tokens=False)
        first = next((i for i, (begin, _) in enumerate(made.offsets) if begin >= 1), None)
        if first and made.offsets[first - 1][1] <= 1:
            return made.ids[first:]
        return self._plain.encode(text, add_special_tokens=False).ids

    @functools.cached_property
    def _plain(self) -> Any:
        import tokenizers

        made = tokenizers.Tokenizer.from_str(self._tokenizer.backend.to_str())
        made.encode_special_tokens = True
        return made


def _within(encoded: Any, span: Span) -> slice:
    """Tokens that have a character of a span. A blank may be of no token."""
    begin, end = span
    found = (encoded.char_to_token(at) for at in range(begin, end))
    first = next((token for token in found if token is not None), None)
    if first is None:
        return slice(0)
    found = (encoded.char_to_token(at) for at in range(end - 1, begin - 1, -1))
    last = next(token for token in found if token is not None)
    # A character may be of several tokens, of which that was the first.
    while (chars := encoded.token_to_chars(last + 1)) and chars[0] < end:
        last += 1
    return slice(first, last + 1)


def spellings(names: Mapping[str, int]) -> re.Pattern:
    """Matches the names, the longest first; nothing where there are none."""
    ordered = sorted((name for name in names if name), key=len, reverse=True)
    return re.compile('|'.join(map(re.escape, ordered)) or r'(?!)')
