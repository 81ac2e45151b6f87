"""The files of a tokenizer in a Hugging Face directory: read as data, and written.

What `tokenizer.json` says goes. Around it stand the special tokens' roles, the sides of padding and
truncation, and chat templates: in `tokenizer_config.json`, in files of their own, or in the
defaults of the class that the directory names, as old directories say no more than that.
"""

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformer.errors import UserError
from transformer.hf.files import CONFIG, read_json
from transformer.hf.tokenizer_classes import (
    CLASSES,
    FILE,
    LEFT,
    TYPED,
    UNTYPED,
    class_of,
    content,
    enclose,
    from_vocabulary,
    lowercased,
)

SETTINGS, ROLES = 'tokenizer_config.json', 'special_tokens_map.json'
ADDED = 'added_tokens.json'
TEMPLATE, TEMPLATES = 'chat_template.jinja', 'additional_chat_templates'
NAMED = ('bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token')
CLEAN_BPE = 'clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output'
ENDLESS = 10**20  # lengths above it stand for none


@dataclasses.dataclass(frozen=True)
class Parts:
    """What a tokenizer is made of.

    Attributes:
      backend: `tokenizers.Tokenizer` with all added tokens.
      roles: the special tokens by what they are for, such as {'bos_token': '<s>'}.
      extra: special tokens without a role.
      settings: keys of tokenizer_config.json that count here.
      templates: chat templates by name.
    """

    backend: Any
    roles: dict[str, str]
    extra: tuple[str, ...]
    settings: dict[str, Any]
    templates: dict[str, str]


def present(directory: Path) -> bool:
    """Whether there is a tokenizer."""
    return any((directory / name).is_file() for name in (FILE, 'vocab.txt', 'vocab.json'))


def read(directory: Path) -> Parts:
    """The tokenizer of a directory. Nothing of it is run.

    Raises:
      UserError: none, a damaged one, or one in a form that is not read.
    """
    if not directory.is_dir():
        raise UserError(f'there is no directory {directory}')
    try:
        return _read(directory)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = f'{type(error).__name__}: {error}'
        raise UserError(f'the tokenizer settings of {directory} are damaged: {why}') from None


def _read(directory: Path) -> Parts:
    config = _optional(directory / SETTINGS)
    model = _optional(directory / CONFIG)
    kind = class_of(config, model, directory)
    backend = from_file(directory / FILE) if (directory / FILE).is_file() else None
    if 'added_tokens_decoder' not in config:
        config |= _optional(directory / ROLES)
    config = dict.fromkeys(NAMED) | CLASSES.get(kind, {}) | config
    found = {k: v for k, v in config.items() if k.endswith('_token') and isinstance(v, str | dict)}
    extra = config.get('extra_special_tokens') or config.get('additional_special_tokens') or []
    if isinstance(extra, dict):  # by a role of the model's own, such as 'image_token'
        found, extra = found | extra, []
    if kind == 'T5Tokenizer' and not any('<extra_id_' in content(token) for token in extra):
        extra = [*extra, *(f'<extra_id_{i}>' for i in range(config.get('extra_ids', 100)))]
    if backend is None:
        backend = from_vocabulary(directory, kind, config)
        _add(backend, config, found, extra, _optional(directory / ADDED))
        enclose(backend, kind, config, {role: content(token) for role, token in found.items()})
    else:
        backend = lowercased(backend, kind, config)
        _add(backend, config, found, extra, {})
    return Parts(
        backend,
        {role: content(token) for role, token in found.items()},
        tuple(map(content, extra)),
        _settings(config, kind, backend),
        _templates(directory, config.get('chat_template')),
    )


def alone(backend: Any, roles: Mapping[str, str]) -> Parts:
    """What a `tokenizer.json` is made of that has no other files beside it."""
    return Parts(backend, dict(roles), (), _settings({}, '', backend), {})


def from_file(file: Path) -> Any:
    """The backend of a `tokenizer.json`.

    Raises:
      UserError: it is damaged.
    """
    import tokenizers

    read_json(file)  # says where the JSON is damaged
    try:
        return tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare Exception
        raise UserError(f'{file} is damaged: {error}') from None


def _optional(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}


def _add(
    backend: Any,
    config: Mapping[str, Any],
    roles: Mapping[str, Any],
    extra: list[Any],
    numbered: Mapping[str, int],
) -> None:
    """Adds the tokens that the settings list and the backend lacks, the special ones as such."""
    import tokenizers

    def made(token: Any, **properties: Any) -> Any:
        if isinstance(token, Mapping):
            kept = {k: v for k, v in token.items() if k not in ('content', '__type', 'id')}
            return tokenizers.AddedToken(token['content'], **(kept | properties))
        return tokenizers.AddedToken(token, **properties)

    special = [*filter(None, roles.values()), *extra]
    names = set(map(content, special))
    added = backend.get_added_tokens_decoder()
    seen = {repr(token) for token in added.values()}
    held = {token.content for token in added.values()}
    listed = config.get('added_tokens_decoder') or {}
    tokens = [made(listed[key]) for key in sorted(listed, key=int)]
    of_roles = set(map(content, roles.values()))
    for token in tokens:
        token.special |= token.content in of_roles
    tokens = [token for token in tokens if repr(token) not in seen]
    held |= {token.content for token in tokens}
    for name in sorted(numbered, key=numbered.get):
        if name not in held:
            tokens.append(tokenizers.AddedToken(name, special=name in names))
            held.add(name)
    for token in special:
        if content(token) not in held:
            tokens.append(made(token, special=True))
            held.add(content(token))
    backend.add_tokens(tokens)


def _settings(config: Mapping[str, Any], kind: str, backend: Any) -> dict[str, Any]:
    padding, truncation = backend.padding or {}, backend.truncation or {}
    length = config.get('model_max_length') or truncation.get('max_length')
    side = padding.get('direction') or ('left' if kind in LEFT else 'right')
    made = {
        'padding_side': config.get('padding_side') or side,
        'truncation_side': config.get('truncation_side') or truncation.get('direction') or 'right',
        'model_max_length': int(length) if length and length < ENDLESS else None,
        'clean_up_tokenization_spaces': bool(config.get('clean_up_tokenization_spaces', False)),
        CLEAN_BPE: bool(config.get(CLEAN_BPE, False)),
        'split_special_tokens': bool(config.get('split_special_tokens', False)),
        'model_input_names': config.get('model_input_names') or _inputs(kind, backend),
    }
    for name in ('padding_side', 'truncation_side'):
        if made[name] not in ('left', 'right'):
            raise UserError(f"{SETTINGS}: {name}={made[name]!r}; accepted: 'left', 'right'")
    return made


def _inputs(kind: str, backend: Any) -> list[str]:
    """What the model reads: BERT's kind also which of two texts a token is of."""
    typed = kind in TYPED
    if not typed and kind not in UNTYPED and type(backend.model).__name__ == 'WordPiece':
        with contextlib.suppress(Exception):  # a vocabulary without 'a' and without unknown token
            typed = any(backend.encode('a', 'a').type_ids)
    return ['input_ids', *(['token_type_ids'] if typed else []), 'attention_mask']


def _templates(directory: Path, listed: Any) -> dict[str, str]:
    """Chat templates by name; files go before what the settings hold."""
    try:
        files = {'default': directory / TEMPLATE}
        files |= {file.stem: file for file in sorted((directory / TEMPLATES).glob('*.jinja'))}
        found = {n: f.read_text(encoding='utf-8') for n, f in files.items() if f.is_file()}
    except (OSError, ValueError) as error:
        raise UserError(f'a chat template of {directory} cannot be read: {error}') from None
    if found or listed is None:
        return found
    if isinstance(listed, list):
        listed = {entry['name']: entry['template'] for entry in listed}
    return dict(listed) if isinstance(listed, Mapping) else {'default': str(listed)}


def write(parts: Parts, directory: Path) -> None:
    """Writes what `read`, and transformers' `AutoTokenizer.from_pretrained`, make it again from."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / FILE).write_text(parts.backend.to_str(pretty=True), encoding='utf-8')
    kept = {name: value for name, value in parts.settings.items() if value is not None}
    kept |= parts.roles | {'tokenizer_class': 'PreTrainedTokenizerFast'}
    if parts.extra:
        kept['extra_special_tokens'] = list(parts.extra)
    text = json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False)
    (directory / SETTINGS).write_text(text + '\n', encoding='utf-8')
    named = {role: name for role, name in parts.roles.items() if role in NAMED}
    text = json.dumps(named, indent=2, sort_keys=True, ensure_ascii=False)
    (directory / ROLES).write_text(text + '\n', encoding='utf-8')
    for name, template in parts.templates.items():
        file = directory / (TEMPLATE if name == 'default' else f'{TEMPLATES}/{name}.jinja')
        if name != 'default' and Path(f'{name}.jinja').name != f'{name}.jinja':
            raise UserError(f'chat template {name!r} cannot be a file; accepted: a plain name')
        file.parent.mkdir(exist_ok=True)
        file.write_text(template, encoding='utf-8')
