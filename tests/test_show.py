"""What `data.show` says of rows: they are spelt as they are, and counted."""

import itertools

import numpy as np
import pytest

from data import feed
from data.columns import MemoryColumn
from data.show import counts
from data.show.look import look
from data.show.spelled import Speller
from data.sources import Corpus
from tests import records
from tests.shown import KINDS, TAGS, drawn_text, loaded, mixture
from transformer.errors import UserError
from transformer.experiment import DataConfig


def names(tokenizer, ids):
    """Tokens of the tokenizer of bytes, one at a time."""
    special = {i: name for name, i in tokenizer.specials.items()}
    piece = lambda i: special.get(i) or (chr(i) if i < 128 else '\ufffd')  # noqa: E731
    return ''.join(map(piece, np.asarray(ids).tolist()))


def rows_of(data, experiment, split, n):
    stream = feed.train_rows(data.feed)
    found = data.feed.validation.rows
    return [stream[i] if split == 'train' else found.at(i) for i in range(min(n, len(found)))]


def parts(side):
    """The runs of each segment."""
    return [list(runs) for runs in side.segments]


@pytest.mark.parametrize('split', ['train', 'validation'])
@pytest.mark.parametrize('kind', [k for k in KINDS if k != 'image_classification'])
def test_rows_are_spelt_as_they_are(kind, split):
    data, experiment = loaded(kind)
    seen = look(data, experiment, split, 4, 1 if split == 'train' else None)
    rows = rows_of(data, experiment, split, 4)
    assert len(seen.examples) == len(rows) > 0
    learnt = 0
    for example, row in zip(seen.examples, rows):
        two = 'decoder_inputs' in row
        assert [side.name for side in example.sides] == (['source', 'target'] if two else ['text'])
        for side, begins in zip(example.sides, ('', 'decoder_')):
            ids = row[f'{begins}segment_ids']
            assert len(side.segments) == ids.max()
            assert side.tokens == (ids > 0).sum()
            assert side.padding == (ids == 0).sum()
        side, begins = example.sides[-1], 'decoder_' if two else ''
        if two:
            for n, runs in enumerate(parts(example.sides[0]), 1):
                wanted = names(data.tokenizer, row['inputs'][row['segment_ids'] == n])
                assert ''.join(run.text for run in runs) == wanted
                assert not any(run.trained for run in runs)
        for n, runs in enumerate(parts(side), 1):
            at = row[f'{begins}segment_ids'] == n
            inputs, text = row[f'{begins}inputs'][at], ''.join(run.text for run in runs)
            if kind == 'classification':
                assert text == names(data.tokenizer, inputs)
                continue
            targets = row['targets'][at][row['weights'][at] > 0]
            learnt += len(targets)
            trained = [run for run in runs if run.trained]
            if kind == 'masked':
                assert text == names(data.tokenizer, inputs)
                assert ''.join(run.wanted for run in trained) == names(data.tokenizer, targets)
            elif kind == 'token_classification':
                assert text == names(data.tokenizer, inputs)
                assert [run.label for run in trained] == [TAGS[t] for t in targets]
            else:
                assert ''.join(run.text for run in trained) == names(data.tokenizer, targets)
                assert text.startswith(names(data.tokenizer, inputs))
            assert all(run.special or not run.text.endswith('|>') for run in runs)
        if kind == 'classification':
            assert example.label == TAGS[int(row['targets'])]
    assert learnt or kind == 'classification'


def test_a_prefix_is_told_from_the_rest():
    data, experiment = loaded('prefix')
    example = look(data, experiment, 'train', 1, 1).examples[0]
    row = rows_of(data, experiment, 'train', 1)[0]
    runs = [run for runs in parts(example.sides[0]) for run in runs]
    inside = ''.join(run.text for run in runs if run.prefix)
    assert inside == names(data.tokenizer, row['inputs'][row['prefix']])
    assert inside


def test_characters_of_several_tokens_are_whole():
    text = 'für 日本 🙂 '
    corpora = {'': Corpus('test', [text * 9], [text])}
    data, experiment = loaded('next_token', corpora=corpora, context=1000)
    example = look(data, experiment, 'validation', 1, None).examples[0]
    assert ''.join(run.text for run in example.sides[0].segments[0] if not run.special) == text


def test_a_step_shows_what_it_learns_from():
    data, experiment = mixture()
    batches = feed.train_batches(data.feed, batch_size=4, accumulation=1, first=7, prefetch=2)
    batch = next(batches)
    batches.close()
    seen = look(data, experiment, 'train', 4, 8)
    spell = Speller(experiment.objective, data.tokenizer, (), ('one', 'two'))
    for i, example in enumerate(seen.examples):
        row = {name: x[0, i] for name, x in batch.items()}
        assert example == spell(28 + i, row)
    assert seen.examples != look(data, experiment, 'train', 4, 7).examples
    other, experiment = mixture(seed=1)
    assert look(other, experiment, 'train', 4, 8).examples != seen.examples


@pytest.mark.parametrize('packing', ['concat', 'best_fit'])
@pytest.mark.parametrize('kind', ['next_token', 'seq2seq', 'masked'])
def test_how_full_rows_are(kind, packing):
    data, experiment = loaded(kind, data=DataConfig(packing=packing))
    seen = look(data, experiment, 'train', 1, 1)
    rows = [feed.train_rows(data.feed)[i] for i in range(data.feed.train.rows.drawn)]
    share = {
        side: np.mean([row[key] > 0 for row in rows])
        for side, key in (('source', 'segment_ids'), ('target', 'decoder_segment_ids'))
        if key in rows[0]
    }
    if kind == 'seq2seq':
        share['all'] = sum(share.values()) / 2  # both sides are as long
    else:
        share = {'text': share['source']}
    assert seen.filled.efficiency == pytest.approx(share)
    assert seen.filled.rows == len(rows) == seen.rows
    last = 'decoder_segment_ids' if kind == 'seq2seq' else 'segment_ids'
    read = sum((row[last] > 0).sum() for row in rows)
    learnt = sum((row['weights'] > 0).sum() for row in rows)
    assert seen.filled.trained_share == pytest.approx(learnt / read)
    if kind == 'masked':
        assert 0.1 < seen.filled.trained_share < 0.2


def test_labels_are_counted():
    for kind in ('classification', 'token_classification', 'image_classification'):
        data, experiment = loaded(kind, context=99)  # nothing is cut
        found = records.RECORDS[experiment.objective.RECORDS]
        labels = [x for _, x in found] if kind != 'token_classification' else None
        if labels is None:
            labels = list(itertools.chain(*(tags for _, tags in found)))
        labelled = look(data, experiment, 'train', 1, 1).filled.labels
        assert labelled == {name: labels.count(i) for i, name in enumerate(TAGS)}


def test_sources_of_a_mixture():
    data, experiment = mixture(steps=25_000)
    seen = look(data, experiment, 'train', 8, 1)
    one, two = seen.sources['one'], seen.sources['two']
    assert (one['share_asked'], two['share_asked']) == (0.75, 0.25)
    assert one['share_realised'] == pytest.approx(0.75, abs=1e-3)
    assert one['epochs'] == pytest.approx(75_000 / one['rows'], rel=1e-3)
    assert two['documents'] == 50
    assert two['tokens'] == sum(range(40, 90)) + 51  # and the end markers
    assert {example.source for example in seen.examples} == {'one', 'two'}
    rows = [row for row, _, _ in seen.filled.by_source.values()]
    assert sum(rows) == seen.filled.rows
    assert sum(trained for _, _, trained in seen.filled.by_source.values()) == seen.filled.trained
    told = drawn_text(seen)
    assert '75.000%' in told and ' one' in told


def column(*sizes):
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return MemoryColumn(np.zeros(int(starts[-1]), np.uint16), starts)


def test_lengths(monkeypatch):
    found = counts.Lengths.of([column(0, 1, 2, 3, 4), column(7, 8, 1000)])
    assert found.bars == (
        (0, 0, 1), (1, 1, 1), (2, 3, 2), (4, 7, 2), (8, 15, 1), (16, 31, 0), (32, 63, 0),
        (64, 127, 0), (128, 255, 0), (256, 511, 0), (512, 1023, 1),
    )  # fmt: skip
    assert (found.documents, found.counted, found.least, found.most) == (8, 8, 0, 1000)
    assert (found.median, found.mean) == (3.5, 1025 / 8)
    assert counts.Lengths.of([column(5, 6)], marks=1).least == 4
    monkeypatch.setattr(counts, 'MEASURED', 100)
    many = counts.Lengths.of([column(*[5] * 450), column(*[9] * 50)])
    assert (many.documents, many.counted) == (500, 100)
    assert {low: count for low, _, count in many.bars} == {4: 90, 8: 10}


def test_steps_after_the_last_epoch():
    entries = {'one': {'path': 'a', 'epochs': 1.0}, 'two': {'path': 'b', 'epochs': 1.0}}
    corpora = {
        'one': Corpus('first', ['x' * 300], ['v']),
        'two': Corpus('second', ['y' * 300], ['v']),
    }
    data = DataConfig(mixture=entries)
    data, experiment = loaded('next_token', corpora=corpora, data=data, steps=1)
    total = data.feed.order.total
    last = -(-total // 4)
    seen = look(data, experiment, 'train', 100, last)
    assert len(seen.examples) == total - 4 * (last - 1)
    with pytest.raises(UserError, match=f'--step={last + 1}: .* accepted: 1 to {last}'):
        look(data, experiment, 'train', 1, last + 1)
