"""What all tokenizers have; each kind has a file in `data.tokenizers`."""

import abc
import functools
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from transformer.errors import UserError
from transformer.objectives import START

END = '<|endoftext|>'


class Tokenizer(abc.ABC):
    """What all tokenizers have.

    Attributes:
      vocab_size: number of tokens, special ones included.
      specials: id of each special token by name, the end marker's too where there is one.
    """

    vocab_size: int
    specials: dict[str, int]

    @property
    def end(self) -> int | None:
        return self.specials.get(END)

    @property
    def start(self) -> int | None:
        """Id that a decoder reads first."""
        return self.end

    @property
    def frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids that the tokenizer itself puts before and after a text."""
        return (), ()

    @abc.abstractmethod
    def encode(self, text: str) -> list[int]:
        """Ids of a text; special tokens that it spells out are text. Lone surrogates are U+FFFD."""

    @abc.abstractmethod
    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        """Ids of each text in order, uint32; texts are read a few at a time."""

    @abc.abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; bytes that are no character are U+FFFD."""

    @abc.abstractmethod
    def to_json(self) -> str:
        """What `data.tokenizers.load` reads."""

    @abc.abstractmethod
    def with_special(self, names: Sequence[str]) -> 'Tokenizer':
        """The same with these special tokens, which it lacks, after its vocabulary."""

    def wrap(self, ids: Sequence[int], length: int | None = None) -> np.ndarray:
        """What a classifier reads of a text: [CLS] and its ids, cut to `length` in all.

        Of a tokenizer without [CLS] the end marker is before them, as before each document that its
        model has learnt from.

        Raises:
          UserError: the tokenizer was made without either.
        """
        first = self.specials.get(START, self.end)
        return framed((self.special(START) if first is None else first,), ids, (), length)

    def close(self, ids: Sequence[int], length: int | None = None) -> np.ndarray:
        """A text and the end marker, cut to `length` in all."""
        return framed((), ids, (self.end,), length)

    def side(self, ids: Sequence[int], length: int | None = None) -> np.ndarray:
        """A side of a pair of texts: as `close` here, or what the tokenizer's model is used to."""
        return self.close(ids, length)

    def prompt(self, text: str) -> list[int]:
        """What a decoder reads of a text that it is to go on with."""
        return [*self.frame[0], *self.encode(text)]

    def continuation(self, prompt: Sequence[int], ids: Sequence[int]) -> str:
        """The text of what follows a prompt: alone, its first token could lose its blank."""
        begun, whole = self.decode(prompt), self.decode([*prompt, *ids])
        return whole[len(begun) :] if whole.startswith(begun) else self.decode(ids)

    def encode_marked(self, text: str, names: Sequence[str]) -> list[int]:
        """Ids of a text in which special tokens are spelt out, those of `names`."""
        if not names:
            return list(self.encode(text))
        ids, marks = [], '|'.join(map(re.escape, names))
        for part in re.split(f'({marks})', text):
            if part in names:
                ids.append(self.special(part))
            elif part:
                ids += self.encode(part)
        return ids

    def special(self, name: str) -> int:
        """Id of a special token.

        Raises:
          UserError: the tokenizer was made without it.
        """
        if name not in self.specials:
            known = ', '.join(self.specials) or 'none'
            raise UserError(f'the tokenizer has no special token {name!r}; it has: {known}')
        return self.specials[name]

    @functools.cached_property
    def ordinary(self) -> np.ndarray:
        """Ids of the tokens that text is made of, ascending."""
        return np.setdiff1d(np.arange(self.vocab_size), list(self.specials.values()))

    @functools.cached_property
    def pieces(self) -> tuple[str, ...]:
        """The text of each token within a text; part of a character is U+FFFD."""
        return tuple(self.decode([i]) for i in range(self.vocab_size))


def with_end(special_tokens: Sequence[str]) -> list[str]:
    """The end marker, then the other names, each once."""
    return list(dict.fromkeys([END, *special_tokens]))


def clean(text: str) -> str:
    """The text as UTF-8 can hold it: lone surrogates are U+FFFD, pairs their character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode('utf-16-le', 'surrogatepass').decode('utf-16-le', 'replace')
    return text


def framed(
    before: Sequence[int],
    ids: Sequence[int],
    after: Sequence[int],
    length: int | None,
    cut: str = 'right',
) -> np.ndarray:
    """Ids within others, cut to `length` in all.

    Args:
      cut: the side from which ids are left out, 'left' or 'right'.

    Raises:
      UserError: the others alone are longer.
    """
    if length is not None:
        room = length - len(before) - len(after)
        if room < 0:
            least = len(before) + len(after)
            raise UserError(f'{length} tokens are too few; accepted: at least {least}')
        ids = ids[max(len(ids) - room, 0) :] if cut == 'left' else ids[:room]
    return np.concatenate([before, ids, after]).astype(np.int64)
