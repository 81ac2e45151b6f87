"""Encodings of the `tiktoken` package by name: byte-level BPE by ranks."""

import base64
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np

from data.tokenizer_base import Tokenizer
from data.tokenizers import batches
from transformer.errors import ConfigError, UserError

PREFIX = 'tiktoken:'
CACHE = 'TIKTOKEN_CACHE_DIR'


def package() -> Any:
    """The package.

    Raises:
      UserError: it is not installed.
    """
    try:
        import tiktoken
        import tiktoken.load
    except ImportError:
        raise UserError("tiktoken's encodings need it: pip install -e '.[tiktoken]'") from None
    return tiktoken


class Tiktoken(Tokenizer):
    """An encoding of tiktoken: its own ids, and special tokens of ours after them.

    Nothing is lost. Ids that the encoding leaves unused are never made of text; U+FFFD in `decode`.

    Args:
      pattern: regular expression of words.
      ranks: id of each sequence of bytes; all single bytes are there.
      own: the encoding's special tokens.
      added: names of special tokens after them.
    """

    def __init__(
        self,
        name: str,
        pattern: str,
        ranks: Mapping[bytes, int],
        own: Mapping[str, int],
        added: Sequence[str] = (),
    ):
        missing = 256 - sum(bytes([i]) in ranks for i in range(256))
        if missing:
            raise UserError(f'the encoding {name!r} lacks {missing} of the 256 bytes')
        self._name, self._pattern, self._ranks, self._own = name, pattern, dict(ranks), dict(own)
        self._encoding = package().Encoding(
            name, pat_str=pattern, mergeable_ranks=self._ranks, special_tokens=self._own
        )
        self.added, first = tuple(added), self._encoding.n_vocab
        self.specials = self._own | {name: first + i for i, name in enumerate(self.added)}
        self.vocab_size = first + len(self.added)
        self._bytes = dict.fromkeys(range(self.vocab_size), '\ufffd'.encode())
        self._bytes |= {i: part for part, i in self._ranks.items()}
        self._bytes |= {i: name.encode() for name, i in self.specials.items()}

    @classmethod
    def named(cls, name: str) -> 'Tiktoken':
        """The encoding of a name, if its file is there: nothing is downloaded.

        Raises:
          UserError: the package is not installed; the file of the encoding is not there.
          ConfigError: there is no such encoding.
        """
        tiktoken = package()
        known = tiktoken.list_encoding_names()
        if name not in known:
            accepted = f'{PREFIX}NAME with one of {", ".join(sorted(known))}'
            raise ConfigError('data.tokenizer', PREFIX + name, accepted)

        def refuse(url: str) -> bytes:
            raise UserError(
                f'config.data.tokenizer={PREFIX + name!r}: {url} is not in the cache of tiktoken, '
                f'or is damaged there; {CACHE} names its directory. Where there is a network: '
                f'{CACHE}=DIR python -c "import tiktoken; tiktoken.get_encoding({name!r})"'
            )

        with mock.patch.object(tiktoken.load, 'read_file', refuse):
            made = tiktoken.get_encoding(name)
        return cls(name, made._pat_str, made._mergeable_ranks, made._special_tokens)

    @classmethod
    def from_saved(cls, saved: Mapping[str, Any]) -> 'Tiktoken':
        """What `to_json` gave, read."""
        lines = (line.split() for line in saved['ranks'].splitlines())
        ranks = {base64.b64decode(part, validate=True): int(rank) for part, rank in lines}
        return cls(saved['name'], saved['pattern'], ranks, saved['own'], saved['special'])

    def with_special(self, names: Sequence[str]) -> 'Tiktoken':
        return Tiktoken(self._name, self._pattern, self._ranks, self._own, [*self.added, *names])

    def encode(self, text: str) -> list[int]:
        return batches.one(self.encode_all([text]))

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        def encode(batch: list[str]) -> list[Any]:
            return self._encoding.encode_ordinary_batch(batch, num_threads=batches.cores())

        yield from batches.encoded_all(texts, encode, lambda ids: np.array(ids, np.uint32))

    def decode(self, ids: Sequence[int]) -> str:
        return b''.join(self._bytes[int(i)] for i in ids).decode('utf-8', 'replace')

    @functools.cached_property
    def ordinary(self) -> np.ndarray:
        special = set(self.specials.values())
        return np.array(sorted(i for i in self._ranks.values() if i not in special))

    def to_json(self) -> str:
        ordered = sorted(self._ranks.items(), key=lambda entry: entry[1])
        ranks = '\n'.join(f'{base64.b64encode(part).decode()} {rank}' for part, rank in ordered)
        saved = {'type': 'tiktoken', 'name': self._name, 'pattern': self._pattern}
        saved |= {'own': self._own, 'special': list(self.added), 'ranks': ranks}
        return json.dumps(saved)
