"""One token a character."""

import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from data.tokenizer_base import Tokenizer, clean
from data.tokenizers.training import Texts
from transformer.errors import ConfigError, UserError


class Characters(Tokenizer):
    """One token a character; the alphabet is that of the whole text.

    Documents have no end, unless the end marker is among the special tokens.
    """

    def __init__(self, alphabet: Sequence[str], special_tokens: Sequence[str] = ()):
        self._alphabet = np.array([ord(c) for c in alphabet], np.uint32)  # sorted
        self.specials = {name: len(alphabet) + i for i, name in enumerate(special_tokens)}
        self._texts = [*alphabet, *special_tokens]
        self.vocab_size = len(self._texts)

    @classmethod
    def train(cls, texts: Texts, vocab: int, special_tokens: Sequence[str]) -> 'Characters':
        """The alphabet of all splits, as in nanoGPT: a rare character may be in one alone.

        Raises:
          ConfigError: `vocab` is given and is not that of the alphabet and the special tokens.
        """
        alphabet = ''.join(sorted(set().union(*map(set, texts.all()))))
        size = len(alphabet) + len(special_tokens)
        if vocab not in (0, size):
            accepted = f'0 or {size}: the {len(alphabet)} distinct characters of the text'
            if special_tokens:
                accepted += f' and {len(special_tokens)} special tokens'
            raise ConfigError('data.vocab', vocab, accepted)
        return cls(alphabet, special_tokens)

    def encode(self, text: str) -> list[int]:
        return self._ids(text).tolist()

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        yield from map(self._ids, texts)

    def _ids(self, text: str) -> np.ndarray:
        text = clean(text)
        codes = np.frombuffer(text.encode('utf-32-le'), np.uint32)
        if not len(self._alphabet):
            ids, known = np.zeros(len(codes), np.uint32), np.zeros(len(codes), bool)
        else:
            ids = np.searchsorted(self._alphabet, codes).clip(max=len(self._alphabet) - 1)
            known = self._alphabet[ids] == codes
        missing = np.flatnonzero(~known)
        if missing.size:
            at = int(missing[0])
            raise UserError(
                f'character {text[at]!r} at position {at} is not among the {len(self._alphabet)} '
                f'characters of the tokenizer: {"".join(map(chr, self._alphabet))!r}'
            )
        return ids.astype(np.uint32)

    def decode(self, ids: Sequence[int]) -> str:
        return ''.join(self._texts[i] for i in ids)

    def with_special(self, names: Sequence[str]) -> 'Characters':
        return Characters(self._texts[: len(self._alphabet)], [*self.specials, *names])

    def to_json(self) -> str:
        saved = {'type': 'characters', 'alphabet': ''.join(map(chr, self._alphabet))}
        return json.dumps(saved | ({'special': list(self.specials)} if self.specials else {}))
