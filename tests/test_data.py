"""Tokenizers, streams and batches."""

import itertools
import types
from pathlib import Path

import jax
import numpy as np
import pytest

from data import feed, tokenizers
from data.objectives.next_token import NextTokenRows
from data.packing import TokenStream
from data.sources import Corpus
from transformer.errors import ConfigError, UserError
from transformer.experiment import DataConfig
from transformer.objectives import NextToken

TEXTS = ['abc', 'def main():\n    return 1\n', 'ünïcödé 日本 🙂', 'x' * 50, 'a']


def corpus(texts=TEXTS):
    return Corpus('test', list(texts), ['validation text'])


def made(kind, vocab=0, special_tokens=(), texts=TEXTS):
    config = DataConfig(tokenizer=kind, vocab=vocab)
    return tokenizers.train(config, corpus(texts), special_tokens)


def split_of(stream, context):
    return feed.Split(NextTokenRows(stream, context), stream.text_bytes, stream.predicted, [])


# Tokenizers


@pytest.mark.parametrize(('kind', 'vocab'), [('bpe', 300), ('characters', 0), ('bytes', 0)])
def test_round_trip_through_text_and_file(tmp_path, kind, vocab):
    tokenizer = made(kind, vocab)
    path = tmp_path / 'tokenizer.json'
    path.write_text(tokenizer.to_json(), encoding='utf-8')
    loaded = tokenizers.load(path)
    assert tokenizers.digest(loaded) == tokenizers.digest(tokenizer)
    for text in TEXTS:
        ids = loaded.encode(text)
        assert loaded.decode(ids) == text
        assert max(ids) < loaded.vocab_size
        (batched,) = loaded.encode_all([text])
        assert batched.tolist() == ids


@pytest.mark.parametrize('kind', ['bpe', 'bytes'])
def test_a_document_cannot_forge_the_end_marker(kind):
    tokenizer = made(kind, 300 if kind == 'bpe' else 0)
    ids = tokenizer.encode('a<|endoftext|>b')
    assert tokenizer.end not in ids
    assert tokenizer.decode(ids) == 'a<|endoftext|>b'


SPECIAL = ('[MASK]', '<extra_id_0>', '<extra_id_1>')
SPELLED = ['a[MASK]b <extra_id_0><extra_id_1> <|endoftext|>'] * 20


@pytest.mark.parametrize(('kind', 'vocab'), [('bpe', 320), ('characters', 0), ('bytes', 0)])
def test_special_tokens_are_apart_from_all_text(tmp_path, kind, vocab):
    tokenizer = made(kind, vocab, SPECIAL, SPELLED)
    path = tmp_path / 'tokenizer.json'
    path.write_text(tokenizer.to_json(), encoding='utf-8')
    for loaded in (tokenizer, tokenizers.load(path)):
        ids = loaded.encode(SPELLED[0])
        assert loaded.decode(ids) == SPELLED[0]
        special = [loaded.special(name) for name in SPECIAL]
        assert len(set(special)) == 3 and max(special) < loaded.vocab_size
        assert not set(special) & set(ids)
        assert set(ids) <= set(loaded.ordinary.tolist())
        assert len(loaded.ordinary) == loaded.vocab_size - 3 - (loaded.end is not None)
        assert loaded.decode([ids[0], special[0]]) == 'a[MASK]'
    assert tokenizers.digest(loaded) == tokenizers.digest(tokenizer)
    other = made(kind, vocab, SPECIAL[:2], SPELLED)
    assert tokenizers.digest(other) != tokenizers.digest(tokenizer)
    with pytest.raises(UserError, match=r"'\[CLS\]'; it has: .*\[MASK\], <extra_id_0>"):
        tokenizer.special('[CLS]')


def test_a_tokenizer_of_characters_can_be_given_an_end_marker():
    assert made('characters').end is None
    tokenizer = made('characters', special_tokens=(tokenizers.END,))
    assert tokenizer.end == tokenizer.vocab_size - 1


@pytest.mark.parametrize(
    ('kind', 'vocab', 'accepted'),
    [('bpe', 259, 'at least 260'), ('bytes', 257, '0 or 260'), ('characters', 20, '3 special')],
)
def test_special_tokens_need_room(kind, vocab, accepted):
    texts = ['abcdefghijklmnopqr', 'alidton ext']
    with pytest.raises(ConfigError, match=accepted):
        made(kind, vocab, SPECIAL, texts)


@pytest.mark.parametrize(
    ('kind', 'vocab', 'accepted'),
    [
        ('bpe', 256, 'at least 257'),
        ('characters', 5, 'at least the .* distinct'),
        ('bytes', 9, '257'),
    ],
)
def test_vocabulary_smaller_than_the_alphabet(kind, vocab, accepted):
    with pytest.raises(ConfigError, match=accepted) as raised:
        made(kind, vocab)
    assert raised.value.field == 'data.vocab'


def test_unknown_character_is_named():
    with pytest.raises(UserError, match=r"'Q' at position 1"):
        made('characters').encode('aQ')


@pytest.mark.parametrize('content', ['', '{', '{"type": "characters"}', '[]', '{"model": 3}'])
def test_damaged_tokenizer(tmp_path, content):
    path = tmp_path / 'tokenizer.json'
    path.write_text(content)
    with pytest.raises(UserError, match='tokenizer.json is damaged'):
        tokenizers.load(path)


# Packing


@pytest.mark.parametrize('kind', ['characters', 'bytes'])
def test_evaluation_predicts_every_token_once(kind):
    tokenizer = made(kind)
    stream = TokenStream.of(tokenizer, TEXTS)
    assert stream.text_bytes == sum(len(t.encode()) for t in TEXTS)
    got = []
    for batch in feed.eval_batches(split_of(stream, 7), batch_size=3):
        assert batch['inputs'].shape == (1, 3, 7)
        for row in range(3):
            seen = batch['weights'][0, row] > 0
            got += batch['targets'][0, row][seen].tolist()
    if kind == 'bytes':
        want = [t for text in TEXTS for t in [*tokenizer.encode(text), tokenizer.end]]
    else:  # without a marker the first token of a document follows from nothing
        want = [t for text in TEXTS for t in tokenizer.encode(text)[1:]]
    assert got == want
    assert stream.predicted == len(want)


def test_rows_restart_at_documents():
    tokenizer = made('bytes')
    stream = TokenStream.of(tokenizer, ['ab', 'c'])
    row = stream.row(1, 8, wrap=False)
    end = tokenizer.end
    assert row['inputs'].tolist() == [*b'ab', end, *b'c', 0, 0, 0, 0]
    assert row['targets'].tolist() == [ord('b'), end, *b'c', end, 0, 0, 0, 0]
    assert row['segment_ids'].tolist() == [1, 1, 2, 2, 0, 0, 0, 0]
    assert row['positions'].tolist() == [0, 1, 0, 1, 0, 0, 0, 0]
    assert row['weights'].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


def test_a_wrapped_row_never_joins_end_and_beginning():
    stream = TokenStream.of(made('characters'), ['abcdefx'])
    row = stream.row(5, 6, wrap=True)
    assert row['segment_ids'].tolist() == [1, 1, 2, 2, 2, 2]
    assert row['weights'].tolist() == [1, 0, 1, 1, 1, 1]


def stream_of(length):
    return TokenStream(np.arange(length, dtype=np.uint16), np.array([0]), False, length)


def test_an_epoch_shows_every_token_once_in_a_new_order():
    stream, context = stream_of(160), 16
    rows = feed.train_rows(NextTokenRows(stream, context), 3)
    epochs = [[rows[e * 10 + i]['inputs'] for i in range(10)] for e in range(3)]
    for epoch in epochs:
        assert sorted(np.concatenate(epoch)) == list(range(160))
    assert len({tuple(np.concatenate(epoch)) for epoch in epochs}) == 3
    offsets = {int(epoch[0][0]) % context for epoch in epochs}
    assert len(offsets) > 1
    other = feed.train_rows(NextTokenRows(stream, context), 4)
    assert any((rows[i]['inputs'] != other[i]['inputs']).any() for i in range(10))


def batches(first=0, count=4, **changes):
    options = {'batch_size': 8, 'accumulation': 1, 'seed': 0, 'prefetch': 2} | changes
    iterator = feed.train_batches(split_of(stream_of(500), 8), first=first, **options)
    return list(itertools.islice(iterator, count))


def test_step_n_is_a_function_of_seed_and_n():
    whole = batches(count=30)
    for n in (1, 7, 29):
        (alone,) = batches(first=n, count=1)
        assert all((alone[k] == whole[n][k]).all() for k in alone)
    far = batches(first=10_000_000, count=1)[0]
    assert far['inputs'].shape == (1, 8, 8)


def test_microbatches_hold_the_same_rows():
    for whole, parts in zip(batches(), batches(accumulation=4)):
        assert parts['inputs'].shape == (4, 2, 8)
        for name in whole:
            assert (whole[name].reshape(4, 2, 8) == parts[name]).all()


@pytest.mark.parametrize('processes', [2, 4])
def test_processes_together_see_one_stream(monkeypatch, processes):
    whole = batches()
    split = split_of(stream_of(77), 8)
    all_rows = [b['targets'][0] for b in feed.eval_batches(split, batch_size=8)]
    monkeypatch.setattr(jax, 'process_count', lambda: processes)
    parts, rows = [], []
    for process in range(processes):
        monkeypatch.setattr(jax, 'process_index', lambda process=process: process)
        parts.append(batches())
        rows.append([b['targets'][0] for b in feed.eval_batches(split, batch_size=8)])
    for n, batch in enumerate(whole):
        union = np.concatenate([part[n]['inputs'] for part in parts], axis=1)
        assert (union == batch['inputs']).all()
    for n, batch in enumerate(all_rows):
        assert (np.concatenate([r[n] for r in rows]) == batch).all()


def test_too_little_text():
    experiment = types.SimpleNamespace(objective=NextToken(), context=8)
    found = Corpus('x', ['abcdef'], ['a'])
    message = 'validation split of x has .* 1 tokens; at least 2 tokens needed'
    with pytest.raises(UserError, match=message):
        feed.load(experiment, found, made('characters'))


def test_builders_need_no_tensorflow():
    for path in Path('data').rglob('*.py'):
        assert 'import tensorflow\n' not in path.read_text()
