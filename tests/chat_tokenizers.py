"""Tokenizers of imported kinds that know the special tokens of many chat templates."""

import functools
import itertools

import tokenizers as library

from data.tokenizers import Pretrained
from tests.chat_templates import HELLO, SPECIALS
from tests.test_pretrained_tokenizer import SETTINGS
from transformer.hf.tokenizer import HFTokenizer
from transformer.hf.tokenizer_files import Parts

TEXTS = [m['content'] for m in HELLO] + ['user assistant system model Be brief', '<|user|>\n'] * 9


def byte_pairs():
    backend = library.Tokenizer(library.models.BPE())
    backend.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=list(SPECIALS),
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    return backend


def pieces(scheme='first'):
    """As LLaMA's: a blank before a text, which is a part of its first word."""
    backend = library.Tokenizer(library.models.BPE(unk_token='<unk>', byte_fallback=False))
    backend.pre_tokenizer = library.pre_tokenizers.Metaspace(prepend_scheme=scheme)
    backend.decoder = library.decoders.Metaspace(prepend_scheme=scheme)
    trainer = library.trainers.BpeTrainer(
        vocab_size=220,
        special_tokens=list(SPECIALS),
        initial_alphabet=list(map(chr, range(32, 127))) + ['\n', '▁'],
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    return backend


def unigram():
    backend = library.Tokenizer(library.models.Unigram())
    backend.pre_tokenizer = library.pre_tokenizers.Metaspace()
    backend.decoder = library.decoders.Metaspace()
    trainer = library.trainers.UnigramTrainer(
        vocab_size=200,
        special_tokens=list(SPECIALS),
        unk_token='<unk>',
        initial_alphabet=list(map(chr, range(33, 127))) + ['\n'],
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    return backend


def once(make):
    """Trained once, and copied: two trainings may number tokens in another way."""
    text = functools.cache(lambda: make().to_str())
    return lambda: library.Tokenizer.from_str(text())


BACKENDS = {'bytes': once(byte_pairs), 'pieces': once(pieces), 'unigram': once(unigram)}
ROLES = {'bos_token': '<s>', 'eos_token': '</s>', 'unk_token': '<unk>'}


def imported(kind, template=None, **more):
    templates = ({} if template is None else {'default': template}) | more
    return Pretrained(HFTokenizer(Parts(BACKENDS[kind](), ROLES, (), SETTINGS, templates)))


def learnt(form, tokenizer, record):
    """The text of each run of learnt tokens."""
    ((ids, flags),) = form.encode([form.write(record, 'record 1')])
    groups = itertools.groupby(zip(ids.tolist(), flags.tolist()), key=lambda pair: pair[1])
    runs = [[token for token, _ in run] for flag, run in groups if flag]
    backend = tokenizer.tokenizer.backend
    return [backend.decode(run, skip_special_tokens=False) for run in runs]
