"""From text to batches."""

import itertools
from pathlib import Path

import jax
import numpy as np
import pytest

from data import pipeline, sources, tokenizers
from data.builders import python_stdlib, tiny_shakespeare
from data.packing import TokenStream
from data.sources import Corpus
from transformer.errors import ConfigError, UserError
from transformer.experiment import DataConfig

TEXTS = ['abc', 'def main():\n    return 1\n', 'ünïcödé 日本 🙂', 'x' * 50, 'a']


def corpus(texts=TEXTS):
    return Corpus('test', list(texts), ['validation text'])


def made(kind, vocab=0):
    return tokenizers.train(DataConfig(tokenizer=kind, vocab=vocab), corpus())


# Reading


@pytest.mark.parametrize(
    ('raw', 'message'),
    [
        (b'', r'empty \(0 bytes'),
        (b' \n\n', 'empty'),
        (b'abc\0def', 'binary, not text: NUL byte at offset 3'),
        (b'good \xff bad', r'not UTF-8: byte 0xff at offset 5; .*encoding_errors=replace'),
    ],
)
def test_unreadable_text_names_file_and_offset(tmp_path, raw, message):
    path = tmp_path / 'text.txt'
    path.write_bytes(raw)
    with pytest.raises(UserError, match=message) as raised:
        sources.read_text(path)
    assert str(path) in str(raised.value)


def test_missing_text(tmp_path):
    with pytest.raises(UserError, match='No such file'):
        sources.read_text(tmp_path / 'none.txt')
    with pytest.raises(UserError, match='directory'):
        sources.read_text(tmp_path)


def test_bad_bytes_can_be_replaced(tmp_path):
    path = tmp_path / 'text.txt'
    path.write_bytes(b'good \xff bad')
    assert sources.read_text(path, 'replace') == 'good \ufffd bad'


def test_text_file_splits_by_characters(tmp_path):
    path = tmp_path / 'text.txt'
    path.write_text('é' * 90 + 'x' * 10, encoding='utf-8')
    found = sources.load(DataConfig(path=str(path)))
    assert (found.train, found.validation) == (['é' * 90], ['x' * 10])
    with pytest.raises(ConfigError, match='both sides'):
        sources.load(DataConfig(path=str(path), validation_fraction=0.999))


@pytest.fixture(scope='module')
def stdlib(tmp_path_factory):
    """The embedded corpus, cut down to the modules that begin with 'a' or 'b'."""
    builder = python_stdlib.PythonStdlib
    whole = builder._generate_examples
    few = lambda self, root, paths: whole(self, root, [p for p in paths if p[0] in 'ab'])  # noqa: E731
    directory = tmp_path_factory.mktemp('tfds')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, '_generate_examples', few)
        yield directory, sources.load(DataConfig(directory=str(directory)))


@pytest.mark.filterwarnings('ignore')
def test_standard_library_splits_by_path(stdlib):
    directory, found = stdlib
    assert len(found.train) > 20
    assert len(list(directory.rglob('*.array_record*'))) >= 2
    texts = set(found.train)
    assert any('argparse' in text for text in texts)
    assert not texts & set(found.validation)
    assert found.train[0] == found.train[0]
    with pytest.raises(IndexError):
        found.train[len(found.train)]
    with pytest.raises(ConfigError, match='train, validation'):
        sources.load(DataConfig(directory=str(directory), train_split='trian'))
    with pytest.raises(ConfigError, match='path, text'):
        sources.load(DataConfig(directory=str(directory), text_field='txt'))


@pytest.mark.filterwarnings('ignore')
def test_unknown_data_set():
    with pytest.raises(ConfigError, match='python_stdlib') as raised:
        sources.load(DataConfig(dataset='tiny_shakespear'))
    assert raised.value.field == 'data.dataset'


@pytest.mark.filterwarnings('ignore')
def test_tiny_shakespeare_without_network_and_with(tmp_path, monkeypatch):
    config = DataConfig(
        dataset='tiny_shakespeare', directory=str(tmp_path), validation_split='validation+test'
    )
    monkeypatch.setattr(tiny_shakespeare, 'URL', 'file:///no/such/file')
    with pytest.raises(UserError, match='config.data.path=FILE'):
        sources.load(config)
    text = ''.join(f'line {i}\n' for i in range(100))
    (tmp_path / 'input.txt').write_text(text)
    monkeypatch.setattr(tiny_shakespeare, 'URL', (tmp_path / 'input.txt').as_uri())
    with pytest.raises(UserError, match='not the known text'):
        sources.load(config)
    digest = tiny_shakespeare.hashlib.sha256(text.encode()).hexdigest()
    monkeypatch.setattr(tiny_shakespeare, 'SHA256', digest)
    found = sources.load(config)
    assert ''.join([*found.train, *sorted(found.validation)]) == text
    assert len(found.train[0]) == int(len(text) * 0.9)


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
    for batch in pipeline.eval_batches(stream, context=7, batch_size=3):
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
    rows = pipeline.train_rows(stream, context, seed=3)
    epochs = [[rows[e * 10 + i]['inputs'] for i in range(10)] for e in range(3)]
    for epoch in epochs:
        assert sorted(np.concatenate(epoch)) == list(range(160))
    assert len({tuple(np.concatenate(epoch)) for epoch in epochs}) == 3
    offsets = {int(epoch[0][0]) % context for epoch in epochs}
    assert len(offsets) > 1
    other = pipeline.train_rows(stream, context, seed=4)
    assert any((rows[i]['inputs'] != other[i]['inputs']).any() for i in range(10))


def batches(first=0, count=4, **changes):
    options = {'context': 8, 'batch_size': 8, 'accumulation': 1, 'seed': 0, 'prefetch': 2}
    iterator = pipeline.train_batches(stream_of(500), first=first, **(options | changes))
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
    stream = stream_of(77)
    all_rows = [b['targets'][0] for b in pipeline.eval_batches(stream, context=8, batch_size=8)]
    monkeypatch.setattr(jax, 'process_count', lambda: processes)
    parts, rows = [], []
    for process in range(processes):
        monkeypatch.setattr(jax, 'process_index', lambda process=process: process)
        parts.append(batches())
        rows.append(
            [b['targets'][0] for b in pipeline.eval_batches(stream, context=8, batch_size=8)]
        )
    for n, batch in enumerate(whole):
        union = np.concatenate([part[n]['inputs'] for part in parts], axis=1)
        assert (union == batch['inputs']).all()
    for n, batch in enumerate(all_rows):
        assert (np.concatenate([r[n] for r in rows]) == batch).all()


def test_too_little_text():
    with pytest.raises(UserError, match='validation split of x has 1 tokens'):
        pipeline.check(stream_of(100), stream_of(1), 'x')


def test_builders_need_no_tensorflow():
    for path in Path('data').rglob('*.py'):
        assert 'import tensorflow\n' not in path.read_text()
