"""Tokenizers: from text to token ids and back. Saved with the run as `tokenizer.json`.

A tokenizer has `vocab_size`, `end` (the id that ends and begins documents, or None), `encode`,
`encode_all`, `decode` and `save`.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from data.sources import Corpus
from transformer.errors import ConfigError, UserError
from transformer.experiment import DataConfig

END = '<|endoftext|>'
CHUNK = 1 << 20  # characters encoded in one call: bounds what the library holds at a time


class BytePairs:
    """Byte-level BPE by the `tokenizers` library, https://arxiv.org/abs/1508.07909."""

    # Words with one leading blank, short runs of digits, runs of punctuation, blanks with their
    # line ends: indentation stays together, which halves the tokens of source code.
    PATTERN = (
        r'[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+\s*|\s+(?!\S)|\s+'
    )

    def __init__(self, tokenizer):
        self._tokenizer = tokenizer
        # A document that spells out the end marker must not end there.
        self._tokenizer.encode_special_tokens = True
        self.vocab_size = tokenizer.get_vocab_size()
        self.end = tokenizer.token_to_id(END)

    @classmethod
    def train(cls, corpus: Corpus, vocab: int) -> 'BytePairs':
        """Learns `vocab` tokens from the training documents.

        Raises:
          ConfigError: too small a vocabulary for all bytes and the end marker.
        """
        import tokenizers
        from tokenizers import decoders, models, pre_tokenizers, trainers

        alphabet = pre_tokenizers.ByteLevel.alphabet()
        if vocab < len(alphabet) + 1:
            accepted = f'at least {len(alphabet) + 1}: every byte and the end marker'
            raise ConfigError('data.vocab', vocab, accepted)
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(tokenizers.Regex(cls.PATTERN), 'isolated'),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab,
            special_tokens=[END],
            initial_alphabet=sorted(alphabet),
            show_progress=False,
        )
        tokenizer.train_from_iterator(iter(corpus.train), trainer)
        return cls(tokenizer)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        for batch in _batches(texts):
            encoded = self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)
            yield from (np.array(e.ids, np.uint32) for e in encoded)

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=False)

    def to_json(self) -> str:
        return self._tokenizer.to_str()


class Characters:
    """One token a character; the alphabet is that of the whole text. Documents have no end."""

    end = None

    def __init__(self, alphabet: str):
        self._alphabet = np.array([ord(c) for c in alphabet], np.uint32)  # sorted
        self._known = frozenset(alphabet)
        self.vocab_size = len(alphabet)

    @classmethod
    def train(cls, corpus: Corpus, vocab: int) -> 'Characters':
        """The alphabet of both splits, as in nanoGPT: a rare character may be in one alone.

        Raises:
          ConfigError: `vocab` is given and smaller than the alphabet.
        """
        texts = itertools.chain(corpus.train, corpus.validation)
        alphabet = ''.join(sorted(set().union(*(set(text) for text in texts))))
        if vocab and vocab < len(alphabet):
            accepted = f'0, or at least the {len(alphabet)} distinct characters of the text'
            raise ConfigError('data.vocab', vocab, accepted)
        return cls(alphabet)

    def encode(self, text: str) -> list[int]:
        return self._ids(text).tolist()

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        yield from (self._ids(text) for text in texts)

    def _ids(self, text: str) -> np.ndarray:
        codes = np.frombuffer(text.encode('utf-32-le', 'surrogatepass'), np.uint32)
        ids = np.searchsorted(self._alphabet, codes).clip(max=self.vocab_size - 1)
        missing = np.flatnonzero(self._alphabet[ids] != codes)
        if missing.size:
            at = int(missing[0])
            raise UserError(
                f'character {text[at]!r} at position {at} is not among the {self.vocab_size} '
                f'characters of the tokenizer: {"".join(map(chr, self._alphabet))!r}'
            )
        return ids.astype(np.uint32)

    def decode(self, ids: Sequence[int]) -> str:
        return ''.join(chr(self._alphabet[i]) for i in ids)

    def to_json(self) -> str:
        alphabet = ''.join(map(chr, self._alphabet))
        return json.dumps({'type': 'characters', 'alphabet': alphabet})


class Bytes:
    """One token a byte of UTF-8, and one that ends documents, https://arxiv.org/abs/2105.13626."""

    vocab_size, end = 257, 256

    @classmethod
    def train(cls, corpus: Corpus, vocab: int) -> 'Bytes':
        """Nothing to learn.

        Raises:
          ConfigError: `vocab` is given and is not 257.
        """
        del corpus
        if vocab not in (0, cls.vocab_size):
            raise ConfigError('data.vocab', vocab, '0 or 257: every byte and the end marker')
        return cls()

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        yield from (np.frombuffer(text.encode(), np.uint8).astype(np.uint32) for text in texts)

    def decode(self, ids: Sequence[int]) -> str:
        marked = [bytes([i]) if i != self.end else END.encode() for i in ids]
        return b''.join(marked).decode('utf-8', 'replace')

    def to_json(self) -> str:
        return json.dumps({'type': 'bytes'})


KINDS = {'bpe': BytePairs, 'characters': Characters, 'bytes': Bytes}


def train(config: DataConfig, corpus: Corpus) -> BytePairs | Characters | Bytes:
    """The tokenizer that the config asks for.

    Raises:
      ConfigError: a vocabulary that is too small.
    """
    return KINDS[config.tokenizer].train(corpus, config.vocab)


def load(path: Path) -> BytePairs | Characters | Bytes:
    """The tokenizer saved at `path`.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        text = path.read_text(encoding='utf-8')
        saved = json.loads(text)
        if saved.get('type') == 'characters':
            return Characters(saved['alphabet'])
        if saved.get('type') == 'bytes':
            return Bytes()
        import tokenizers

        return BytePairs(tokenizers.Tokenizer.from_str(text))
    except FileNotFoundError:
        raise UserError(f'there is no tokenizer at {path}') from None
    except Exception as error:  # the library raises bare Exception for a damaged file
        raise UserError(f'the tokenizer at {path} is damaged: {error}') from None


def digest(tokenizer: BytePairs | Characters | Bytes) -> str:
    """SHA-256 of the saved form: the same tokenizer has the same digest."""
    return hashlib.sha256(tokenizer.to_json().encode()).hexdigest()


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch, size = [], 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= CHUNK:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
