"""Tokenizers: from text to token ids and back. Saved with the run as `tokenizer.json`.

A tokenizer has `vocab_size`, `end` (the id that ends and begins documents, or None), `start` (what
a decoder reads first), `encode`, `encode_all`, `decode`, `special`, `to_json`, and what models read
of a text: `wrap`, `close`, `side`, `prompt`. Special tokens are for objectives: text that spells
one out is encoded as any other text. A kind of tokenizer is a file here; `files.py` reads those
that others made.
"""

import hashlib
from collections.abc import Mapping, Sequence

from data.sources import Corpus
from data.tokenizer_base import END, Tokenizer, with_end
from data.tokenizers import files, tiktokens
from data.tokenizers.byte_pairs import BytePairs
from data.tokenizers.bytewise import Bytes
from data.tokenizers.characters import Characters
from data.tokenizers.files import adopt, load
from data.tokenizers.pretrained import Pretrained
from data.tokenizers.sentence_pieces import SentencePieces
from data.tokenizers.tiktokens import Tiktoken
from data.tokenizers.training import Texts
from data.tokenizers.unigram import Unigram
from data.tokenizers.word_pieces import WordPieces
from transformer.data_config import DataConfig
from transformer.errors import ConfigError

__all__ = [
    'END',
    'KINDS',
    'BytePairs',
    'Bytes',
    'Characters',
    'Pretrained',
    'SentencePieces',
    'Tiktoken',
    'Tokenizer',
    'Unigram',
    'WordPieces',
    'adopt',
    'digest',
    'load',
    'make',
    'train',
]

# Those that are trained on the data.
KINDS = {
    'bpe': BytePairs,
    'wordpiece': WordPieces,
    'unigram': Unigram,
    'characters': Characters,
    'bytes': Bytes,
}


def make(
    config: DataConfig,
    corpora: Mapping[str, Corpus],
    special_tokens: Sequence[str] = (),
    init: str = '',
    allow: Sequence[str] = (),
) -> Tokenizer:
    """The tokenizer that a config asks for.

    Args:
      corpora: of all sources by name; read only where a tokenizer is trained (`training`).
      special_tokens: names of tokens to keep apart from all text. One that is loaded gets those
        that it lacks, the end marker too, at the end of its vocabulary.
      init: what the run starts from, `config.init`.
      allow: fields of its config.json that may be passed over.

    Raises:
      ConfigError: no such tokenizer; a vocabulary that is too small, or that is not the loaded
        tokenizer's; `lowercase` without WordPiece.
      UserError: a file that cannot be read, a package that is missing.
    """
    name, options = config.tokenizer, {}
    if config.lowercase and name != 'wordpiece':
        raise ConfigError('data.lowercase', True, "False unless config.data.tokenizer='wordpiece'")
    if name == 'wordpiece':
        options = {'lowercase': config.lowercase}
    if name in KINDS:
        texts = Texts(corpora.values())
        return KINDS[name].train(texts, config.vocab, tuple(special_tokens), **options)
    if name == 'init':
        return adopt(init, allow)
    if name.startswith(tiktokens.PREFIX):
        made = Tiktoken.named(name.removeprefix(tiktokens.PREFIX))
    else:
        made = files.read(name, (*KINDS, 'init', tiktokens.PREFIX + 'NAME'))
    made = _with_special(made, special_tokens)
    if config.vocab not in (0, made.vocab_size):
        accepted = f'0 or {made.vocab_size}, as config.data.tokenizer={name!r} is not trained'
        raise ConfigError('data.vocab', config.vocab, accepted)
    return made


def train(config: DataConfig, corpus: Corpus, special_tokens: Sequence[str] = ()) -> Tokenizer:
    """The tokenizer that a config asks for, of a single source; errors as of `make`."""
    return make(config, {'': corpus}, special_tokens)


def digest(tokenizer: Tokenizer | None) -> str:
    """SHA-256 of the saved form: the same tokenizer has the same digest. Images have none: ''."""
    if tokenizer is None:
        return ''
    return hashlib.sha256(tokenizer.to_json().encode()).hexdigest()


def _with_special(made: Tokenizer, special_tokens: Sequence[str]) -> Tokenizer:
    wanted = special_tokens if isinstance(made, Characters) else with_end(special_tokens)
    missing = [name for name in wanted if name not in made.specials]
    return made.with_special(missing) if missing else made
