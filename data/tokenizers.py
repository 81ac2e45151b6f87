"""Tokenizers: from text to token ids and back. Saved with the run as `tokenizer.json`.

A tokenizer has `vocab_size`, `end` (the id that ends and begins documents, or None), `start` (what
a decoder reads first), `encode`, `encode_all`, `decode`, `special`, `to_json`, and what models read
of a text: `wrap`, `close`, `side`, `prompt`. Special tokens are for objectives: text that spells
one out is encoded as any other text.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from data.pretrained import Pretrained
from data.sources import Corpus
from data.tokenizer_base import END, Tokenizer, encoded_all
from transformer.errors import ConfigError, UserError
from transformer.experiment import DataConfig


class BytePairs(Tokenizer):
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
        added = tokenizer.get_added_tokens_decoder()
        self.specials = {added[i].content: i for i in sorted(added) if added[i].special}

    @classmethod
    def train(cls, corpus: Corpus, vocab: int, special_tokens: Sequence[str]) -> 'BytePairs':
        """Learns `vocab` tokens from the training records.

        Raises:
          ConfigError: too small a vocabulary for all bytes and the special tokens.
        """
        import tokenizers
        from tokenizers import decoders, models, pre_tokenizers, trainers

        alphabet = pre_tokenizers.ByteLevel.alphabet()
        special_tokens = [END, *(name for name in special_tokens if name != END)]
        if vocab < len(alphabet) + len(special_tokens):
            what = 'the end marker' if len(special_tokens) == 1 else 'the special tokens'
            accepted = f'at least {len(alphabet) + len(special_tokens)}: every byte and {what}'
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
            special_tokens=special_tokens,
            initial_alphabet=sorted(alphabet),
            show_progress=False,
        )
        tokenizer.train_from_iterator(corpus.texts(), trainer)
        return cls(tokenizer)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        yield from encoded_all(self._tokenizer, texts)

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=False)

    def to_json(self) -> str:
        return self._tokenizer.to_str()


class Characters(Tokenizer):
    """One token a character; the alphabet is that of the whole text.

    Documents have no end, unless the end marker is among the special tokens.
    """

    def __init__(self, alphabet: str, special_tokens: Sequence[str] = ()):
        self._alphabet = np.array([ord(c) for c in alphabet], np.uint32)  # sorted
        self.specials = {name: len(alphabet) + i for i, name in enumerate(special_tokens)}
        self._texts = [*alphabet, *special_tokens]
        self.vocab_size = len(self._texts)

    @classmethod
    def train(cls, corpus: Corpus, vocab: int, special_tokens: Sequence[str]) -> 'Characters':
        """The alphabet of all splits, as in nanoGPT: a rare character may be in one alone.

        Raises:
          ConfigError: `vocab` is given and smaller than the alphabet.
        """
        texts = itertools.chain(*(corpus.texts(s) for s in ('train', 'validation', 'test')))
        alphabet = ''.join(sorted(set().union(*(set(text) for text in texts))))
        if vocab and vocab < len(alphabet) + len(special_tokens):
            accepted = f'0, or at least the {len(alphabet)} distinct characters of the text'
            if special_tokens:
                accepted += f' and {len(special_tokens)} special tokens'
            raise ConfigError('data.vocab', vocab, accepted)
        return cls(alphabet, special_tokens)

    def encode(self, text: str) -> list[int]:
        return self._ids(text).tolist()

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        yield from (self._ids(text) for text in texts)

    def _ids(self, text: str) -> np.ndarray:
        codes = np.frombuffer(text.encode('utf-32-le', 'surrogatepass'), np.uint32)
        ids = np.searchsorted(self._alphabet, codes).clip(max=len(self._alphabet) - 1)
        missing = np.flatnonzero(self._alphabet[ids] != codes)
        if missing.size:
            at = int(missing[0])
            raise UserError(
                f'character {text[at]!r} at position {at} is not among the {len(self._alphabet)} '
                f'characters of the tokenizer: {"".join(map(chr, self._alphabet))!r}'
            )
        return ids.astype(np.uint32)

    def decode(self, ids: Sequence[int]) -> str:
        return ''.join(self._texts[i] for i in ids)

    def to_json(self) -> str:
        saved = {'type': 'characters', 'alphabet': ''.join(map(chr, self._alphabet))}
        return json.dumps(saved | ({'special': list(self.specials)} if self.specials else {}))


class Bytes(Tokenizer):
    """One token a byte of UTF-8, and one that ends documents, https://arxiv.org/abs/2105.13626."""

    def __init__(self, special_tokens: Sequence[str] = ()):
        names = [END, *(name for name in special_tokens if name != END)]
        self.specials = {name: 256 + i for i, name in enumerate(names)}
        self._texts = [bytes([i]) for i in range(256)] + [name.encode() for name in names]
        self.vocab_size = len(self._texts)

    @classmethod
    def train(cls, corpus: Corpus, vocab: int, special_tokens: Sequence[str]) -> 'Bytes':
        """Nothing to learn.

        Raises:
          ConfigError: `vocab` is given and is not 257 and the special tokens.
        """
        del corpus
        made = cls(special_tokens)
        if vocab not in (0, made.vocab_size):
            what = 'the end marker' if len(made.specials) == 1 else 'the special tokens'
            raise ConfigError('data.vocab', vocab, f'0 or {made.vocab_size}: every byte and {what}')
        return made

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        yield from (np.frombuffer(text.encode(), np.uint8).astype(np.uint32) for text in texts)

    def decode(self, ids: Sequence[int]) -> str:
        return b''.join(self._texts[i] for i in ids).decode('utf-8', 'replace')

    def to_json(self) -> str:
        special = [name for name in self.specials if name != END]
        return json.dumps({'type': 'bytes'} | ({'special': special} if special else {}))


KINDS = {'bpe': BytePairs, 'characters': Characters, 'bytes': Bytes}


def train(
    config: DataConfig, corpus: Corpus, special_tokens: Sequence[str] = ()
) -> BytePairs | Characters | Bytes:
    """The tokenizer that the config asks for.

    Args:
      special_tokens: names of tokens to keep apart from all text.

    Raises:
      ConfigError: a vocabulary that is too small.
    """
    return KINDS[config.tokenizer].train(corpus, config.vocab, tuple(special_tokens))


def load(path: Path) -> BytePairs | Characters | Bytes | Pretrained:
    """The tokenizer saved at `path`.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        text = path.read_text(encoding='utf-8')
        saved = json.loads(text)
        if saved.get('type') == 'characters':
            return Characters(saved['alphabet'], saved.get('special', ()))
        if saved.get('type') == 'bytes':
            return Bytes(saved.get('special', ()))
        if saved.get('type') == 'pretrained':
            from transformer.hf.tokenizer import HFTokenizer

            made = HFTokenizer.from_json(json.dumps(saved['tokenizer']))
            return Pretrained(made, saved['start'])
        import tokenizers

        return BytePairs(tokenizers.Tokenizer.from_str(text))
    except FileNotFoundError:
        raise UserError(f'there is no tokenizer at {path}') from None
    except Exception as error:  # the library raises bare Exception for a damaged file
        raise UserError(f'the tokenizer at {path} is damaged: {error}') from None


def digest(tokenizer: Tokenizer | None) -> str:
    """SHA-256 of the saved form: the same tokenizer has the same digest. Images have none: ''."""
    if tokenizer is None:
        return ''
    return hashlib.sha256(tokenizer.to_json().encode()).hexdigest()


def adopt(source: str, allow: Sequence[str] = ()) -> Tokenizer:
    """The tokenizer of what a run starts from (`config.init`).

    Args:
      allow: fields of config.json that may be passed over.

    Raises:
      UserError: it has none.
    """
    from transformer import initial

    if initial.is_run(source):
        return load(Path(source) / 'tokenizer.json')
    from transformer.hf import architecture, files, pretrained

    directory = files.locate(source)
    made = architecture.read(architecture.values_of(directory), any_head=True, allow=allow)
    tokenizer = pretrained.read_tokenizer(directory, made)
    if tokenizer is None:
        raise UserError(
            f'config.init={source!r} has no tokenizer.json; to make one where transformers is: '
            'AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)'
        )
    return Pretrained(tokenizer, start=made.start)
