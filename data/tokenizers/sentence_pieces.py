"""SentencePiece models, by the package of that name, https://arxiv.org/abs/1808.06226."""

import base64
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data.sources.documents import LONGEST
from data.tokenizer_base import END, Tokenizer, clean
from data.tokenizers import batches
from transformer.errors import UserError
from transformer.objectives import MASK, SEPARATOR, START


def package() -> Any:
    """The package.

    Raises:
      UserError: it is not installed.
    """
    try:
        import sentencepiece
    except ImportError:
        raise UserError(
            "SentencePiece models need sentencepiece: pip install -e '.[sentencepiece]'"
        ) from None
    return sentencepiece


class SentencePieces(Tokenizer):
    """A SentencePiece model: its own ids, and special tokens of ours after them.

    Text is normalised as the model says, which most models do not give back whole. Objectives find
    its special tokens by its names and by ours: END is its `eos`; [CLS] a piece of that name or
    `bos`; [SEP] and [MASK] pieces of that name, or `<mask>`.

    Args:
      proto: the bytes of a `.model` file.
      added: names of special tokens after the model's own.

    Raises:
      UserError: the package is not installed; the bytes are no model.
    """

    def __init__(self, proto: bytes, added: Sequence[str] = ()):
        sentencepiece = package()
        self._proto, self._model = proto, sentencepiece.SentencePieceProcessor()
        try:
            if not self._model.LoadFromSerializedProto(proto) or not len(self._model):
                raise ValueError('no pieces')
        except Exception as error:  # the package raises RuntimeError and others
            raise UserError(f'this is no SentencePiece model: {error}') from None
        model, self._own = self._model, len(self._model)
        self._names = [model.id_to_piece(i) for i in range(self._own)]
        apart = [i for i in range(self._own) if model.is_control(i) or model.is_unknown(i)]
        own = {self._names[i]: i for i in apart}
        # Marks that a text may spell out; objectives may mean them all the same.
        numbered = {name: i for i, name in enumerate(self._names)}
        ours = {
            END: [model.eos_id()],
            START: [numbered.get(START, -1), model.bos_id()],
            SEPARATOR: [numbered.get(SEPARATOR, -1)],
            MASK: [numbered.get(MASK, -1), numbered.get('<mask>', -1)],
        }
        found = {name: max(ids, key=lambda i: i >= 0) for name, ids in ours.items()}
        sentinels = {name: i for name, i in numbered.items() if name.startswith('<extra_id_')}
        self.added = tuple(added)
        self.specials = own | sentinels | {name: i for name, i in found.items() if i >= 0}
        self.specials |= {name: self._own + i for i, name in enumerate(self.added)}
        self.vocab_size = self._own + len(self.added)

    @classmethod
    def read(cls, path: Path) -> 'SentencePieces':
        """The model of a file; errors as of the class, and for a file that cannot be read."""
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise UserError(f'{path} cannot be read: {error.strerror}') from None
        except UserError as error:
            raise UserError(f'config.data.tokenizer={str(path)!r}: {error}') from None

    @classmethod
    def from_saved(cls, saved: Mapping[str, Any]) -> 'SentencePieces':
        """What `to_json` gave, read."""
        return cls(base64.b64decode(saved['model'], validate=True), saved['special'])

    def with_special(self, names: Sequence[str]) -> 'SentencePieces':
        return SentencePieces(self._proto, [*self.added, *names])

    def encode(self, text: str) -> list[int]:
        if len(text) > LONGEST:
            return batches.one(self.encode_all([text]))
        return self._model.encode(clean(text))

    def encode_all(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        encode = functools.partial(self._model.encode, num_threads=batches.cores())
        yield from batches.encoded_all(texts, encode, lambda ids: np.array(ids, np.uint32))

    def decode(self, ids: Sequence[int]) -> str:
        parts, run = [], []
        for i in [*map(int, ids), None]:
            if i is not None and i < self._own and not self._model.is_control(i):
                run.append(i)
                continue
            # A part that goes on keeps the blank that a beginning loses.
            if run:
                parts.append(self._text(run, first=not parts))
            if i is not None:
                name = self.added[i - self._own] if i >= self._own else self._names[i]
                parts.append(name)
            run = []
        return ''.join(parts)

    def _text(self, ids: list[int], first: bool) -> str:
        if first:
            return self._model.decode(ids)
        before = self._model.encode('a')
        text, whole = self._model.decode(before), self._model.decode([*before, *ids])
        return whole[len(text) :] if whole.startswith(text) else self._model.decode(ids)

    @functools.cached_property
    def pieces(self) -> tuple[str, ...]:
        model, made = self._model, []
        for i, name in enumerate(self._names):
            if model.is_byte(i):
                name = bytes([int(name[1:-1], 16)]).decode('utf-8', 'replace')
            made.append(name.replace('\u2581', ' '))
        return (*made, *self.added)

    def to_json(self) -> str:
        saved = {'type': 'sentencepiece', 'special': list(self.added)}
        return json.dumps(saved | {'model': base64.b64encode(self._proto).decode()})
