"""The tokenizer of a Hugging Face directory: the ids that `transformers` gives, without it.

N texts of at most T tokens.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from transformer.errors import UserError
from transformer.hf import chat, tokenizer_files
from transformer.hf.tokenizer_files import CLEAN_BPE, Parts

# What `clean_up_tokenization_spaces` takes back, in this order.
CLEANED = (
    *((f' {mark}', mark) for mark in '.?!,'),
    (" ' ", "'"),
    *((f' {end}', end) for end in ("n't", "'m", "'s", "'ve", "'re")),
)


class HFTokenizer:
    """From text to token ids and back; made by `from_directory` or `from_json`.

    Attributes:
      vocab_size: the largest id + 1, added tokens included.
      special_tokens: id of each special token by name.
      bos, eos, pad, unk, cls, sep, mask: ids, or None.
      padding_side, truncation_side: 'left' or 'right'.
      max_length: tokens of a text at most, or None where the files do not say.
      chat_templates: by name.
    """

    def __init__(self, parts: Parts):
        self._parts, self.backend = parts, parts.backend
        self.backend.no_padding()
        self.backend.no_truncation()
        self.backend.encode_special_tokens = parts.settings['split_special_tokens']
        self.padding_side = parts.settings['padding_side']
        self.truncation_side = parts.settings['truncation_side']
        self.max_length = parts.settings['model_max_length']
        self.chat_templates = parts.templates
        numbered = self.backend.get_vocab(with_added_tokens=True)
        self.vocab_size = max(numbered.values()) + 1
        added = self.backend.get_added_tokens_decoder()
        named = {added[i].content: i for i in sorted(added) if added[i].special}
        others = (*parts.roles.values(), *parts.extra)
        self.special_tokens = named | {name: numbered[name] for name in others}

        def role(name: str) -> int | None:
            return numbered.get(parts.roles.get(f'{name}_token'))

        self.bos, self.eos, self.pad, self.unk = map(role, ('bos', 'eos', 'pad', 'unk'))
        self.cls, self.sep, self.mask = map(role, ('cls', 'sep', 'mask'))

    @classmethod
    def from_directory(cls, path: str | Path) -> 'HFTokenizer':
        """The tokenizer of a directory with `tokenizer.json`, or BERT's or GPT-2's vocabulary.

        Raises:
          UserError: none, a damaged one, or one that must be converted first.
        """
        return cls(tokenizer_files.read(Path(path).expanduser()))

    @classmethod
    def from_json(cls, text: str) -> 'HFTokenizer':
        """What `to_json` gave, made again.

        Raises:
          UserError: it is damaged.
        """
        import tokenizers

        try:
            saved = json.loads(text)
            backend = tokenizers.Tokenizer.from_str(json.dumps(saved['tokenizer']))
            rest = saved['roles'], tuple(saved['extra']), saved['settings'], saved['templates']
            return cls(Parts(backend, *rest))
        except Exception as error:  # the library raises bare Exception
            raise UserError(f'the saved tokenizer is damaged: {error}') from None

    def to_json(self) -> str:
        """Everything that `from_json` needs."""
        p = self._parts
        saved = {'tokenizer': json.loads(self.backend.to_str()), 'roles': p.roles}
        saved |= {'extra': p.extra, 'settings': p.settings, 'templates': p.templates}
        return json.dumps(saved)

    def save(self, directory: str | Path) -> None:
        """Writes the files that `from_directory` and transformers' `AutoTokenizer` read."""
        tokenizer_files.write(self._parts, Path(directory))

    def encode(self, text: str, pair: str | None = None, special_tokens: bool = True) -> list[int]:
        """Ids of a text, or of two.

        Args:
          special_tokens: whether those that the model expects around texts are added.
        """
        return self.backend.encode(text, pair, add_special_tokens=special_tokens).ids

    def __call__(
        self,
        texts: str | Sequence[str],
        pairs: str | Sequence[str] | None = None,
        padding: bool | str = True,
        max_length: int | None = None,
        truncation: bool = False,
    ) -> dict[str, np.ndarray]:
        """A batch; a single text is a batch of one.

        Args:
          pairs: second texts, one each.
          padding: True: to the longest text; 'max_length': to that; False: all are as long.
          max_length: tokens at most; None: the tokenizer's own.
          truncation: whether longer texts are cut, of a pair always the longer one; or refused,
            where `max_length` is given.

        Returns:
          `input_ids`, `attention_mask` and, where the model reads them, `token_type_ids`, [N, T].

        Raises:
          UserError: texts that do not fit; padding without a token for it; no length to cut to.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        pairs = [pairs] if isinstance(pairs, str) else pairs
        if pairs is not None and len(pairs) != len(texts):
            raise UserError(f'{len(texts)} texts have {len(pairs)} pairs; accepted: as many')
        if padding not in (True, False, 'max_length'):
            raise UserError(f"padding={padding!r}; accepted: True, False, 'max_length'")
        length = self.max_length if max_length is None else max_length
        if length is None and (truncation or padding == 'max_length'):
            raise UserError('max_length=None: the tokenizer names none; accepted: a length')
        encoded = self._encoded(texts, pairs, length if truncation else None)
        sizes = [len(e) for e in encoded]
        slots = length if padding == 'max_length' else max(sizes, default=0)
        bound = max_length if max_length is not None or padding != 'max_length' else length
        for i, size in enumerate(sizes):
            if bound is not None and size > bound:
                how = 'truncation=True, or shorter texts'
                raise UserError(f'text {i + 1} has {size} tokens, max_length={bound}; {how}')
        if any(size != slots for size in sizes) and (not padding or self.pad is None):
            why = 'padding=False' if not padding else 'the tokenizer has no padding token'
            raise UserError(f'texts of {min(sizes)} to {slots} tokens make no array: {why}')

        def batch(rows: list[list[int]], fill: int) -> np.ndarray:
            array_NT = np.full((len(rows), slots), fill, np.int32)
            for i, row in enumerate(rows):
                first = slots - len(row) if self.padding_side == 'left' else 0
                array_NT[i, first : first + len(row)] = row
            return array_NT

        made = {
            'input_ids': batch([e.ids for e in encoded], self.pad or 0),
            'attention_mask': batch([[1] * size for size in sizes], 0),
        }
        if 'token_type_ids' in self._parts.settings['model_input_names']:
            made['token_type_ids'] = batch([e.type_ids for e in encoded], 0)
        return made

    def _encoded(self, texts: list[str], pairs: Sequence[str] | None, length: int | None) -> list:
        inputs = texts if pairs is None else list(zip(texts, pairs))
        if length is None:
            return self.backend.encode_batch(inputs)
        least = self.backend.num_special_tokens_to_add(pairs is not None)
        if length < max(least, 1):
            raise UserError(f'max_length={length}; accepted: at least {max(least, 1)}')
        self.backend.enable_truncation(length, direction=self.truncation_side)
        try:
            return self.backend.encode_batch(inputs)
        finally:
            self.backend.no_truncation()

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of ids.

        Raises:
          UserError: a negative id.
        """
        ids = [int(i) for i in ids]
        if ids and min(ids) < 0:
            raise UserError(f'id {min(ids)} is no token; accepted: 0 to {self.vocab_size - 1}')
        text = self.backend.decode(ids, skip_special_tokens=skip_special_tokens)
        settings = self._parts.settings
        # Of byte-level BPE the blanks are the text's own.
        of_words = type(self.backend.model).__name__ != 'BPE' or settings[CLEAN_BPE]
        if settings['clean_up_tokenization_spaces'] and of_words:
            for written, meant in CLEANED:
                text = text.replace(written, meant)
        return text

    @property
    def chat_template(self) -> str | None:
        """The template that is used where none is named."""
        return self.chat_templates.get('default')

    @property
    def roles(self) -> dict[str, str]:
        """The special tokens by what they are for, such as {'bos_token': '<s>'}."""
        return dict(self._parts.roles)

    def template_for(self, tools: bool) -> str | None:
        """The chat template that is used where none is named."""
        with_tools = tools and 'tool_use' in self.chat_templates
        return self.chat_templates.get('tool_use' if with_tools else 'default')

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool = False,
        tokenize: bool = True,
        name: str | None = None,
        **variables: Any,
    ) -> list[int] | str:
        """A conversation as the model was trained to read it.

        Args:
          messages: such as {'role': 'user', 'content': 'Hello'}.
          add_generation_prompt: whether the answer is begun.
          tokenize: ids; otherwise the text.
          name: of the template; None: 'default', or 'tool_use' for `tools` where there is one.
          variables: what the template asks for besides, such as `tools` (JSON schemas).

        Raises:
          UserError: no such template; one that fails or does what it must not.
        """
        if name is None:
            with_tools = variables.get('tools') is not None and 'tool_use' in self.chat_templates
            name = 'tool_use' if with_tools else 'default'
        if name not in self.chat_templates:
            known = ', '.join(map(repr, self.chat_templates)) or 'none'
            raise UserError(f'the tokenizer has no chat template {name!r}; it has: {known}')
        given = self._parts.roles | variables | {'add_generation_prompt': add_generation_prompt}
        text = chat.render(self.chat_templates[name], messages, **given)
        return self.encode(text, special_tokens=False) if tokenize else text
