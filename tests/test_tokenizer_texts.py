"""Tokenizers and many texts: what is read of them to train, and how they are encoded."""

import hashlib
import itertools
import threading

import numpy as np
import pytest

from data import tokenizers
from data.sources.corpus import Corpus
from data.sources.documents import cut
from data.tokenizers import batches, training
from tests.test_tokenizers import EXACT, corpus, made
from transformer.data_config import DataConfig
from transformer.errors import UserError


class Lazy:
    """Documents that can be read in blocks alone."""

    def __init__(self, documents):
        self.documents = documents

    def __len__(self):
        return len(self.documents)

    def __getitem__(self, index):
        raise AssertionError('a record that may be huge was read whole')

    def blocks(self):
        for text in self.documents:
            yield iter([text[:7], text[7:]])


# Encoding


def lines(count):
    return [f'line {n} of text\n' * (n % 7) for n in range(count)]


@pytest.mark.parametrize('kind', ['bpe', 'unigram', 'wordpiece'])
def test_batches_make_no_difference(kind, monkeypatch):
    tokenizer, texts = made(kind), lines(300)
    want = [tokenizer.encode(text) for text in texts]
    for size in (1, 500, 1 << 20):
        monkeypatch.setattr(batches, 'PER_CORE', size)
        assert [ids.tolist() for ids in tokenizer.encode_all(iter(texts))] == want
    assert list(tokenizer.encode_all([])) == []


@pytest.mark.parametrize('kind', ['bpe', 'unigram', 'wordpiece'])
def test_a_text_of_any_length(kind, monkeypatch):
    """In pieces, cut where the tokenizer cuts anyway; several texts of a batch, and one of many."""
    tokenizer = made(kind)
    texts = ['def main():\n    return 1\n\n  x\n' * 40, 'a', '', 'abc def \n' * 90]
    want = [tokenizer.encode(text) for text in texts]
    monkeypatch.setattr(batches, 'LONGEST', 256)
    monkeypatch.setattr(batches, 'cut', lambda blocks: cut(blocks, 256))
    monkeypatch.setattr(batches, 'PER_CORE', 300)
    assert [ids.tolist() for ids in tokenizer.encode_all(texts)] == want


@pytest.mark.parametrize('kind', EXACT)
def test_a_long_word(kind):
    """Time and memory in proportion; the longest that is not cut, and a longer one."""
    tokenizer, word = made(kind), 'xyz' * 400_000
    (ids,) = tokenizer.encode_all([word])
    assert tokenizer.decode(ids) == word
    assert tokenizer.encode(word) == ids.tolist()


def test_reading_is_a_few_batches_ahead_and_can_be_left(monkeypatch):
    monkeypatch.setattr(batches, 'PER_CORE', 100)
    tokenizer, read, before = made('bpe'), [], threading.active_count()

    def endless():
        for n in itertools.count():
            read.append(n)
            yield 'some text'

    found = tokenizer.encode_all(endless())
    first = next(found)
    assert tokenizer.decode(first) == 'some text'
    assert len(read) < 30 * batches.cores()
    found.close()
    assert threading.active_count() == before


class Unreadable(Lazy):
    """It can be counted, but not read again."""

    reads = 0

    def __init__(self):
        super().__init__(['a text'])

    def blocks(self):
        self.reads += 1
        if self.reads > 1:
            raise UserError('line 2 is not UTF-8')
        return super().blocks()


def test_what_reading_raises_comes_through():
    def texts():
        yield 'a'
        raise UserError('line 2 is not UTF-8')

    for kind in ('bpe', 'unigram', 'wordpiece'):
        with pytest.raises(UserError, match='line 2 is not UTF-8'):
            list(made(kind).encode_all(texts()))
        with pytest.raises(UserError, match='line 2 is not UTF-8'):
            made(kind, texts=Unreadable())


# What is trained on


def test_all_is_read_where_it_fits():
    texts = [f'text {n} ' for n in range(50)]
    for records in (texts, Lazy(texts)):
        sample = training.Texts([Corpus('a', records, [])]).sample()
        assert ''.join(sample) == ''.join(texts)


@pytest.mark.parametrize('lazy', [False, True])
def test_a_part_of_much_is_read_evenly(lazy):
    texts = [f'{n:06} {"." * (n % 90)}' for n in range(4000)]
    other = ['other  ' * 10] * 1000
    wrap = Lazy if lazy else list
    found = training.Texts([Corpus('a', wrap(texts), []), Corpus('b', wrap(other), [])])
    most = 40_000
    sample = list(found.sample(most))
    assert list(found.sample(most)) == sample
    size = sum(map(len, sample))
    assert 0.9 * most <= size <= most
    share = sum(map(len, texts)) / sum(map(len, texts + other))
    mine = [text for text in sample if not text.startswith('other')]
    assert abs(sum(map(len, mine)) / size - share) < 0.05
    numbers = np.array([int(text[:6]) for text in mine if text[:6].isdigit()])
    assert np.histogram(numbers, 4, (0, 4000))[0].min() > 0.2 * len(numbers)


def test_mixtures_train_on_all_sources():
    corpora = {'a': corpus(['alpha ' * 50]), 'b': corpus(['omega ' * 50])}
    config = DataConfig(tokenizer='bpe', vocab=290)
    tokenizer = tokenizers.make(config, corpora)
    assert len(tokenizer.encode(' alpha')) == len(tokenizer.encode(' omega')) == 1
    alphabet = tokenizers.make(DataConfig(tokenizer='characters', vocab=0), corpora)
    assert set('alphomegvidt ') <= set(alphabet.pieces)


def test_texts_of_records():
    chat = [{'role': 'user', 'content': 'hi'}, {'role': 'assistant', 'content': None}]
    parts = [{'role': 'user', 'content': [{'type': 'text', 'text': 'there'}]}]
    found = [*chat, *parts], ('s', 't'), ('c', 3), (('two', 'words'), (0, 1)), (np.zeros(3), 1)
    assert [list(training.strings_of(record)) for record in found] == [
        ['hi', 'there'],
        ['s', 't'],
        ['c'],
        ['two words'],
        [],
    ]


def test_words_without_blanks_do_not_stop_training():
    word = hashlib.sha256(b'').hexdigest() * 3000
    sample = list(training.Texts([corpus([f'a {word} b'])]).sample())
    assert ''.join(sample) == f'a {word} b'
    longest = max(len(part) for text in sample for part in text.split())
    assert longest <= training.LONGEST_WORD + 2
