"""What the tokenizers of the `tokenizers` library have in common."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from data.sources.documents import LONGEST
from data.tokenizer_base import Tokenizer, clean
from data.tokenizers import batches


class Trained(Tokenizer):
    """A tokenizer trained here by the library.

    Args:
      tokenizer: `tokenizers.Tokenizer`.
    """

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        # A document that spells out the end marker must not end there.
        self._tokenizer.encode_special_tokens = True
        self.vocab_size = tokenizer.get_vocab_size()
        added = tokenizer.get_added_tokens_decoder()
        self.specials = {added[i].content: i for i in sorted(added) if added[i].special}

    def __reduce__(self):
        return type(self), (self._tokenizer,)  # a pickled one forgets what `__init__` sets

    def encode(self, text: str) -> list[int]:
        return encode(self._tokenizer, text)

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        yield from encode_all(self._tokenizer, texts)

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=False)

    def with_special(self, names: Sequence[str]) -> 'Trained':
        made = type(self._tokenizer).from_str(self.to_json())
        made.add_special_tokens(list(names))
        return type(self)(made)

    @functools.cached_property
    def pieces(self) -> tuple[str, ...]:
        return pieces(self._tokenizer, self.vocab_size)

    def to_json(self) -> str:
        return self._tokenizer.to_str()


def encode(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text, no special tokens added."""
    if len(text) > LONGEST:
        return batches.one(encode_all(tokenizer, [text]))
    return tokenizer.encode(clean(text), add_special_tokens=False).ids


def encode_all(tokenizer: Any, texts: Iterable[str]) -> Iterator[np.ndarray]:
    """Ids of each text, no special tokens added."""
    made = functools.partial(tokenizer.encode_batch_fast, add_special_tokens=False)
    return batches.encoded_all(texts, made, lambda found: np.array(found.ids, np.uint32))


def pieces(tokenizer: Any, vocab: int) -> tuple[str, ...]:
    """The text of each token within a text: alone, many would lose their blank."""
    before = tokenizer.encode('a', add_special_tokens=False).ids[-1:]
    text = tokenizer.decode(before, skip_special_tokens=False)
    alone = tokenizer.decode_batch([[i] for i in range(vocab)], skip_special_tokens=False)
    within = tokenizer.decode_batch([[*before, i] for i in range(vocab)], skip_special_tokens=False)
    return tuple(w[len(text) :] if w.startswith(text) else a for w, a in zip(within, alone))
