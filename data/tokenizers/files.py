"""Tokenizers from files: those of runs, and those that others made."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data.tokenizer_base import END, Tokenizer
from data.tokenizers import sentence_pieces, tiktokens
from data.tokenizers.byte_pairs import BytePairs
from data.tokenizers.bytewise import Bytes
from data.tokenizers.characters import Characters
from data.tokenizers.pretrained import Pretrained
from data.tokenizers.sentence_pieces import SentencePieces
from data.tokenizers.tiktokens import Tiktoken
from data.tokenizers.unigram import Unigram
from data.tokenizers.word_pieces import WordPieces
from transformer.errors import ConfigError, UserError

# Trained by the `tokenizers` library, by its name of the model.
TRAINED = {'BPE': BytePairs, 'WordPiece': WordPieces, 'Unigram': Unigram}
# What special tokens of files that do not say so are for, by the names that are usual.
USUAL = {
    'bos_token': ('<s>', '<bos>', '<|begin_of_text|>', END),
    'eos_token': (END, '</s>', '<eos>', '<|end_of_text|>', '<|im_end|>'),
    'unk_token': ('<unk>', '[UNK]'),
    'pad_token': ('<pad>', '[PAD]', '<|padding|>'),
    'cls_token': ('[CLS]',),
    'sep_token': ('[SEP]',),
    'mask_token': ('[MASK]', '<mask>'),
}


def load(path: Path) -> Tokenizer:
    """The tokenizer that a run saved at `path`.

    Raises:
      UserError: the file is missing or damaged; it needs a package that is not installed.
    """
    try:
        text = path.read_text(encoding='utf-8')
    except FileNotFoundError:
        raise UserError(f'there is no tokenizer at {path}') from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'the tokenizer at {path} is damaged: {error}') from None
    try:
        saved = json.loads(text)
        kind = saved.get('type')
    except (ValueError, AttributeError) as error:
        raise UserError(f'the tokenizer at {path} is damaged: {error}') from None
    needed = {'sentencepiece': sentence_pieces.package, 'tiktoken': tiktokens.package}
    if kind in needed:
        needed[kind]()
    try:
        return _loaded(kind, saved, text)
    except Exception as error:  # the library raises bare Exception for a damaged file
        raise UserError(f'the tokenizer at {path} is damaged: {error}') from None


def _loaded(kind: str | None, saved: dict[str, Any], text: str) -> Tokenizer:
    if kind == 'characters':
        return Characters(saved['alphabet'], saved.get('special', ()))
    if kind == 'bytes':
        return Bytes(saved.get('special', ()))
    if kind == 'pretrained':
        from transformer.hf.tokenizer import HFTokenizer

        return Pretrained(HFTokenizer.from_json(json.dumps(saved['tokenizer'])), saved['start'])
    if kind == 'sentencepiece':
        return SentencePieces.from_saved(saved)
    if kind == 'tiktoken':
        return Tiktoken.from_saved(saved)
    import tokenizers

    return TRAINED[saved['model']['type']](tokenizers.Tokenizer.from_str(text))


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


def read(name: str, others: Sequence[str]) -> Tokenizer:
    """The tokenizer of a path, as `config.data.tokenizer` has it.

    A file that lies with what Hugging Face saves beside it is read with that, so that the roles of
    special tokens, what is put around texts and chat templates are known.

    Args:
      others: what else the field accepts, for the message.

    Raises:
      ConfigError: there is no such file.
      UserError: it is damaged, or in a form that is not read.
    """
    from transformer import initial
    from transformer.hf import tokenizer_files
    from transformer.hf.files import read_json
    from transformer.hf.tokenizer import HFTokenizer

    path = Path(name).expanduser()
    if not path.exists():
        accepted = f'{", ".join(others)}, or the path of a tokenizer: there is none of that name'
        raise ConfigError('data.tokenizer', name, accepted)
    if path.is_dir():
        if initial.is_run(str(path)):
            return load(path / 'tokenizer.json')
        return Pretrained(HFTokenizer.from_directory(path), _start(path))
    if path.suffix in ('.model', '.spm'):
        return SentencePieces.read(path)
    if path.suffix != '.json':
        accepted = 'a file that ends in .json (of the tokenizers library) or .model (SentencePiece)'
        raise ConfigError('data.tokenizer', name, accepted)
    beside = (tokenizer_files.SETTINGS, tokenizer_files.ROLES)
    if path.name == tokenizer_files.FILE and any((path.parent / b).is_file() for b in beside):
        return Pretrained(HFTokenizer.from_directory(path.parent), _start(path.parent))
    return load(path) if _ours(read_json(path)) else _foreign(path)


def _start(directory: Path) -> int | None:
    """What a decoder reads first, where the directory holds a model that says so."""
    from transformer.hf import files, table
    from transformer.hf.settings import Settings

    if not (directory / files.CONFIG).is_file():
        return None
    values = files.read_json(directory / files.CONFIG)
    try:
        make = table.family_of(values).start
    except UserError:  # a model that is not known here
        return None
    return None if make is None else make(Settings(values))


def _ours(saved: Mapping[str, Any]) -> bool:
    """Whether a run saved it: those of the library have our end marker first, and no frame."""
    if 'type' in saved:
        return True
    try:
        first, kind = saved['added_tokens'][0], saved['model']['type']
        made_so = (first['id'], first['content'], saved['post_processor']) == (0, END, None)
    except (KeyError, IndexError, TypeError):  # of another version, or damaged: read as foreign
        return False
    return made_so and kind in TRAINED


def _foreign(path: Path) -> Pretrained:
    """A `tokenizer.json` alone: special tokens have the roles that their names tell."""
    from transformer.hf import tokenizer_files
    from transformer.hf.tokenizer import HFTokenizer

    backend = tokenizer_files.from_file(path)
    special = [token.content for token in backend.get_added_tokens_decoder().values()]
    roles = {
        role: next((name for name in names if name in special), None)
        for role, names in USUAL.items()
    }
    parts = tokenizer_files.alone(backend, {k: v for k, v in roles.items() if v})
    return Pretrained(HFTokenizer(parts))
