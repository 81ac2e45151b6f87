"""Streams, order and batches."""

import itertools
import multiprocessing
import types
from pathlib import Path

import numpy as np
import pytest

from data import feed, tokenizers
from data.columns import Examples, MemoryColumn
from data.layouts import Concatenated
from data.objectives.next_token import NextTokenRows
from data.order import Order
from data.sources import Corpus
from data.streams import TokenStream
from transformer.errors import ConfigError, UserError
from transformer.experiment import DataConfig
from transformer.objectives import NextToken

TEXTS = ['abc', 'def main():\n    return 1\n', 'ünïcödé 日本 🙂', 'x' * 50, 'a']


def made(kind):
    config = DataConfig(tokenizer=kind, vocab=0)
    return tokenizers.train(config, Corpus('test', TEXTS, ['validation text']))


def rows_of(stream, context):
    return NextTokenRows(stream, Concatenated(stream, context, shifted=True), context)


def split_of(stream, context):
    return feed.Split(rows_of(stream, context), stream.text_bytes, stream.predicted)


def feed_of(stream, context, seed=0):
    split = split_of(stream, context)
    order = Order([split.rows.drawn], seed=seed)
    return feed.Feed('', (), split, split, None, (split.rows,), order, seed, '', '', ())


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
    row = stream.row([(1, 5)], 8)
    end = tokenizer.end
    assert row['inputs'].tolist() == [*b'ab', end, *b'c', 0, 0, 0, 0]
    assert row['targets'].tolist() == [ord('b'), end, *b'c', end, 0, 0, 0, 0]
    assert row['segment_ids'].tolist() == [1, 1, 2, 2, 0, 0, 0, 0]
    assert row['positions'].tolist() == [0, 1, 0, 1, 0, 0, 0, 0]
    assert row['weights'].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]


def test_a_wrapped_row_never_joins_end_and_beginning():
    stream = TokenStream.of(made('characters'), ['abcdefx'])
    row = stream.row([(5, 7), (0, 4)], 6)
    assert row['segment_ids'].tolist() == [1, 1, 2, 2, 2, 2]
    assert row['weights'].tolist() == [1, 0, 1, 1, 1, 1]


def stream_of(length):
    tokens = MemoryColumn(np.arange(length, dtype=np.uint16), np.array([0, length]))
    return TokenStream(Examples({'tokens': tokens}, length))


def test_an_epoch_shows_every_token_once_in_a_new_order():
    stream, context = stream_of(160), 16
    rows = feed.train_rows(feed_of(stream, context, 3))
    epochs = [[rows[e * 10 + i]['inputs'] for i in range(10)] for e in range(3)]
    for epoch in epochs:
        assert sorted(np.concatenate(epoch)) == list(range(160))
    assert len({tuple(np.concatenate(epoch)) for epoch in epochs}) == 3
    offsets = {int(epoch[0][0]) % context for epoch in epochs}
    assert len(offsets) > 1
    other = feed.train_rows(feed_of(stream, context, 4))
    assert any((rows[i]['inputs'] != other[i]['inputs']).any() for i in range(10))


def batches(first=0, count=4, **changes):
    options = {'batch_size': 8, 'accumulation': 1, 'prefetch': 2} | changes
    iterator = feed.train_batches(feed_of(stream_of(500), 8), first=first, **options)
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


@pytest.mark.parametrize('rows', [[0], [2, 3], [1, 4, 6], range(8)])
@pytest.mark.parametrize('accumulation', [1, 3])
def test_a_process_makes_its_rows_of_every_microbatch(rows, accumulation):
    rows, sizes = np.array(rows), {'batch_size': 8 * accumulation, 'accumulation': accumulation}
    for whole, part in zip(batches(**sizes), batches(rows=rows, **sizes)):
        for name in whole:
            assert part[name].shape[:2] == (accumulation, len(rows))
            assert (part[name] == whole[name][:, rows]).all()
    split = split_of(stream_of(77), 8)
    found = feed.eval_batches(split, batch_size=8, rows=rows)
    for whole, part in zip(feed.eval_batches(split, batch_size=8), found, strict=True):
        assert (part['targets'] == whole['targets'][:, rows]).all()
        assert (part['weights'] == whole['weights'][:, rows]).all()


def test_too_little_text():
    experiment = types.SimpleNamespace(objective=NextToken(), context=8, data=DataConfig(), seed=0)
    found = Corpus('x', ['abcdef'], ['a'])
    message = 'validation split of x has .* 1 tokens .*; at least 2 tokens needed'
    with pytest.raises(UserError, match=message):
        feed.load(experiment, found, made('characters'))


def test_a_mixture_of_one_source_has_its_epochs_too():
    data = DataConfig(mixture={'only': {'epochs': 2.0}})
    experiment = types.SimpleNamespace(objective=NextToken(), context=8, data=data, seed=0)
    vars(experiment).update(steps=1, batch_size=1)
    corpora = {'only': Corpus('x', ['abcdef' * 20], ['abcdef'])}
    found = feed.load(experiment, corpora, made('characters'))
    assert found.order.total == 2 * found.train.rows.drawn
    experiment.steps = found.order.total + 1
    with pytest.raises(ConfigError, match=r'config.steps=\d+ .* at most \d+'):
        feed.load(experiment, corpora, made('characters'))


def test_a_split_that_only_some_sources_have():
    data = DataConfig(mixture={'a': {}, 'b': {}, 'c': {}})
    experiment = types.SimpleNamespace(objective=NextToken(), context=8, data=data, seed=0)
    corpora = {
        name: Corpus(name, ['abcdef' * 9], ['abcdef'], ['abc'] if name == 'b' else None)
        for name in 'abc'
    }
    found = feed.load(experiment, corpora, made('characters'))
    assert found.sources == ('a', 'b', 'c')
    (batch,) = feed.eval_batches(found.test, batch_size=1)
    assert batch['source'].tolist() == [[1]]


def test_builders_need_no_tensorflow():
    for path in Path('data').rglob('*.py'):
        assert 'import tensorflow\n' not in path.read_text()


@pytest.mark.filterwarnings('ignore')  # of shared memory that the killed process leaves
def test_a_killed_worker_is_told_in_a_line():
    options = {'batch_size': 2, 'accumulation': 1, 'first': 0, 'prefetch': 1}
    batches = feed.train_batches(feed_of(stream_of(500), 8), workers=1, **options)
    next(batches)
    for child in multiprocessing.active_children():
        child.kill()
    with pytest.raises(UserError, match='processes of config.data.workers was killed'):
        for _ in range(1000):
            next(batches)
    batches.close()
