"""Small records for every objective, and feeds made of them."""

import functools
import types

import numpy as np

from data import feed, tokenizers
from data.sources import Corpus
from transformer.experiment import DataConfig

RNG = np.random.default_rng(0)
WORDS = ('the', 'quick', 'brown', 'fox', 'jumps', 'over', 'a', 'lazy', 'dog', 'unbelievably')


def sentence(words):
    return ' '.join(RNG.choice(WORDS, words)) + RNG.choice(['. ', '! ', '?\n'])


# Documents from one token to many rows.
TEXTS = ['a', 'ab', *(''.join(sentence(7) for _ in range(n)) for n in (1, 2, 3, 9, 25))]
PAIRS = [(sentence(n % 9 + 1), sentence(n % 5 + 1)) for n in range(60)]
CLASSES = [(text, n % 2) for n, (text, _) in enumerate(PAIRS)]
TAGS = [(tuple(text.split()), tuple(range(len(text.split())))) for text, _ in PAIRS]
CHATS = [
    [{'role': role, 'content': sentence(n % 4 + 1)} for role in ('user', 'assistant') * (n % 3 + 1)]
    for n in range(30)
]
IMAGES = [(RNG.random((4, 4, 3)).astype(np.float32), n % 3) for n in range(20)]
RECORDS = {'text': TEXTS, 'pairs': PAIRS, 'classes': CLASSES, 'tags': TAGS, 'images': IMAGES}
RECORDS |= {'chat': CHATS}


@functools.cache
def tokenizer_of(objective, kind):
    corpus = corpus_of(RECORDS[objective.RECORDS])
    config = DataConfig(tokenizer=kind, vocab=400 if kind == 'bpe' else 0)
    return tokenizers.train(config, corpus, objective.special_tokens)


def corpus_of(records):
    return Corpus('test', records, records[:6], classes=tuple('abc'))


def made(objective, kind='bytes', records=None, **fields):
    """A feed and its tokenizer."""
    tokenizer = tokenizer_of(objective, kind)
    fields = {'seed': 0, 'context': 64, 'target_context': 0, 'data': DataConfig()} | fields
    fields = {'model': types.SimpleNamespace(image=4, channels=3)} | fields
    experiment = types.SimpleNamespace(objective=objective, **fields)
    records = RECORDS[objective.RECORDS] if records is None else records
    return feed.load(experiment, corpus_of(records), tokenizer), tokenizer


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def passes(rows, epochs=1):
    """All rows of so many epochs, as training sees them."""
    return [rows.draw(place, epoch, 0) for epoch in range(epochs) for place in range(rows.drawn)]


def segments(row, name='segment_ids'):
    return [n for n in np.unique(row[name]) if n]
