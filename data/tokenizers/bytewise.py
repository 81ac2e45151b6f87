"""One token a byte of UTF-8, and one that ends documents, https://arxiv.org/abs/2105.13626."""

import json
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from data.tokenizer_base import END, Tokenizer, clean, with_end
from data.tokenizers.training import Texts
from transformer.errors import ConfigError


class Bytes(Tokenizer):
    """One token a byte; ids 0 to 255 are the bytes."""

    def __init__(self, special_tokens: Sequence[str] = ()):
        names = with_end(special_tokens)
        self.specials = {name: 256 + i for i, name in enumerate(names)}
        self._texts = [bytes([i]) for i in range(256)] + [name.encode() for name in names]
        self.vocab_size = len(self._texts)

    @classmethod
    def train(cls, texts: Texts, vocab: int, special_tokens: Sequence[str]) -> 'Bytes':
        """Nothing to learn.

        Raises:
          ConfigError: `vocab` is given and is not 257 and the special tokens.
        """
        del texts
        made = cls(special_tokens)
        if vocab not in (0, made.vocab_size):
            what = 'the end marker' if len(made.specials) == 1 else 'the special tokens'
            raise ConfigError('data.vocab', vocab, f'0 or {made.vocab_size}: every byte and {what}')
        return made

    def encode(self, text: str) -> list[int]:
        return list(clean(text).encode())

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        for text in texts:
            yield np.frombuffer(clean(text).encode(), np.uint8).astype(np.uint32)

    def decode(self, ids: Sequence[int]) -> str:
        return b''.join(self._texts[i] for i in ids).decode('utf-8', 'replace')

    def with_special(self, names: Sequence[str]) -> 'Bytes':
        return Bytes([*self.specials, *names])

    def to_json(self) -> str:
        special = [name for name in self.specials if name != END]
        return json.dumps({'type': 'bytes'} | ({'special': special} if special else {}))
