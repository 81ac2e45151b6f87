"""What each objective makes of records: statistics, what is kept, what is never mixed."""

import itertools
import re
import types

import numpy as np
import pytest

from data import feed
from tests.records import CLASSES, IMAGES, RECORDS, TAGS, TEXTS, made, passes, same, segments
from transformer import objectives as kinds
from transformer.errors import ConfigError, UserError

KINDS = [kind() for kind in kinds.OBJECTIVES.values()]
IDS = [objective.kind for objective in KINDS]


# All


@pytest.mark.parametrize('objective', KINDS, ids=IDS)
def test_rows_are_functions_of_their_arguments(objective):
    (found, _), (again, _) = (
        made(objective),
        made(objective, records=list(RECORDS[objective.RECORDS])),
    )
    rows = found.train.rows
    assert same(rows.at(0), rows.at(0)) and same(rows.at(0), again.train.rows.at(0))
    assert same(rows.draw(1, 2, 3), rows.draw(1, 2, 3))
    assert same(rows.draw(1, 2, 3), again.train.rows.draw(1, 2, 3))
    if objective.RECORDS == 'text':
        assert not same(rows.draw(1, 2, 3), rows.draw(1, 3, 3))
        assert not same(rows.draw(1, 2, 3), rows.draw(1, 2, 4))
    shapes = {k: (v.shape, v.dtype) for k, v in rows.at(0).items()}
    floats = {'weights': np.float32, 'images': np.float32, 'prefix': bool}
    assert all(dtype == floats.get(k, np.int32) for k, (_, dtype) in shapes.items())
    for row in [rows.at(i) for i in range(len(rows))] + passes(rows):
        assert {k: (v.shape, v.dtype) for k, v in row.items()} == shapes


@pytest.mark.parametrize('objective', KINDS, ids=IDS)
def test_evaluation_counts_what_it_says(objective):
    found, _ = made(objective)
    batches = list(feed.eval_batches(found.train, batch_size=5))
    assert {len(b['weights'][0]) for b in batches} == {5}
    rows = found.train.rows
    for place in range(len(batches) * 5):
        row = {k: v[0, place % 5] for k, v in batches[place // 5].items()}
        if place < len(rows):
            assert same(row, rows.at(place))
        else:
            assert not any(v.any() for v in row.values())
    total = sum(b['weights'].sum() for b in batches)
    assert total > 0
    if objective.kind not in ('prefix', 'masked', 'fill_in_middle'):
        assert total == found.train.predicted
    assert (found.train.text_bytes > 0) == (objective.kind == 'next_token')


@pytest.mark.parametrize('objective', KINDS, ids=IDS)
def test_training_resumes_and_splits_over_processes(objective):
    found, _ = made(objective, seed=1)

    def batches(first, count, rows=None):
        options = {'batch_size': 4, 'accumulation': 2, 'prefetch': 2, 'rows': rows}
        iterator = feed.train_batches(found, first=first, **options)
        taken = list(itertools.islice(iterator, count))
        iterator.close()
        return taken

    whole = batches(0, 6)
    assert whole[0]['weights'].shape[:2] == (2, 2)
    assert all(same(a, b) for a, b in zip(batches(4, 2), whole[4:]))
    for row in range(2):
        for batch, part in zip(whole, batches(0, 6, np.array([row]))):
            for name, value in batch.items():
                assert np.array_equal(part[name], value[:, row : row + 1])


@pytest.mark.parametrize('objective', KINDS, ids=IDS)
def test_the_digest_follows_the_records(objective):
    records = RECORDS[objective.RECORDS]
    (found, _), (turned, _) = made(objective), made(objective, records=records[::-1])
    assert found.digest != turned.digest
    assert found.digest == made(objective, records=list(records))[0].digest


def test_documents_never_share_a_segment():
    for objective in KINDS[:5]:
        found, tokenizer = made(objective)
        for row in passes(found.train.rows):
            for side in ('', 'decoder_'):
                if f'{side}segment_ids' not in row:
                    continue
                for n in segments(row, f'{side}segment_ids'):
                    part = row[f'{side}segment_ids'] == n
                    assert row[f'{side}positions'][part].tolist() == list(range(part.sum()))
                    inputs = row[f'{side}inputs'][part]
                    inner = inputs[1:-1] if objective.SHAPE == 'encoder_decoder' else inputs[1:]
                    closed = tokenizer.end in inner[:-1]
                    assert not closed, objective.kind


# Prefix


def test_prefixes_are_not_predicted():
    found, _ = made(kinds.Prefix())
    plain, _ = made(kinds.NextToken())
    shares = []
    for place, row in enumerate(passes(found.train.rows, epochs=3)):
        epoch, at = divmod(place, found.train.rows.drawn)
        before = plain.train.rows.draw(at, epoch, 0)
        assert np.array_equal(row['inputs'], before['inputs'])
        for n in segments(row):
            part = row['segment_ids'] == n
            prefix, weights = row['prefix'][part], row['weights'][part]
            length = int(prefix.sum())
            assert prefix[:length].all()
            if part.sum() == 1:
                assert not length
                continue
            assert 1 <= length < part.sum()
            # Input i predicts input i + 1: the last of the prefix predicts what follows it.
            assert not weights[: length - 1].any()
            assert np.array_equal(weights[length - 1 :], before['weights'][part][length - 1 :])
            shares.append(length / part.sum())
    assert 0.3 < np.mean(shares) < 0.7 and np.std(shares) > 0.15
    last = found.train.rows.at(len(found.train.rows) - 1)
    assert not last['prefix'][last['segment_ids'] == 0].any()


# Masked


@pytest.mark.parametrize('kind', ['bytes', 'bpe', 'characters'])
def test_masks_are_as_often_as_asked(kind):
    found, tokenizer = made(kinds.Masked(), kind)
    mask, special = tokenizer.special('[MASK]'), list(tokenizer.specials.values())
    rows = passes(found.train.rows, epochs=60)
    for row in rows:
        text = (row['segment_ids'] > 0) & ~np.isin(row['targets'], special)
        chosen = row['weights'] > 0
        assert not (chosen & ~text).any()
        assert chosen.sum() >= 1 and abs(chosen.sum() - 0.15 * text.sum()) < 1
        assert np.array_equal(row['inputs'][~chosen], row['targets'][~chosen])
        assert not np.isin(row['inputs'][chosen], [i for i in special if i != mask]).any()
    chosen = np.stack([row['weights'] for row in rows]) > 0
    inputs, targets = (np.stack([row[k] for row in rows])[chosen] for k in ('inputs', 'targets'))
    assert len(inputs) > 2500
    assert abs((inputs == mask).mean() - 0.8) < 0.03
    # A random token is now and then the token itself.
    assert abs(((inputs != mask) & (inputs != targets)).mean() - 0.1) < 0.025
    assert abs((inputs == targets).mean() - 0.1) < 0.025


def test_masked_evaluation_sees_every_token_once():
    found, tokenizer = made(kinds.Masked())
    rows = [found.train.rows.at(i) for i in range(len(found.train.rows))]
    seen = np.concatenate([row['targets'][row['segment_ids'] > 0] for row in rows])
    want = [t for text in TEXTS for t in [tokenizer.end, *tokenizer.encode(text)]]
    assert seen.tolist() == [*want, tokenizer.end]


@pytest.mark.parametrize('kind', ['bytes', 'bpe', 'characters'])
def test_whole_words(kind):
    found, tokenizer = made(kinds.Masked(whole_words=True), kind)
    words = hidden = 0
    for row in passes(found.train.rows, epochs=10):
        places = np.flatnonzero((row['segment_ids'] > 0) & (row['targets'] != tokenizer.end))
        assert 0 < row['weights'].sum() <= max(12, np.ceil(0.15 * len(places)))
        for n in segments(row):
            tokens = [i for i in places if row['segment_ids'][i] == n]
            pieces = [tokenizer.pieces[row['targets'][i]] for i in tokens]
            chosen = np.repeat(row['weights'][tokens] > 0, [len(piece) for piece in pieces])
            for word in re.finditer(r'\w+', ''.join(pieces)):
                fate = set(chosen[word.start() : word.end()].tolist())
                assert len(fate) == 1, word
                words, hidden = words + 1, hidden + fate.pop()
    assert words > 1000 and 0.05 < hidden / words < 0.2


# Classes, tags, images


def test_classification_reads_the_marker_first():
    found, tokenizer = made(kinds.Classification(), context=30)
    start = tokenizer.special('[CLS]')
    for place, (text, label) in enumerate(CLASSES):
        row = found.train.rows.at(place)
        real = row['segment_ids'] > 0
        assert row['inputs'][real].tolist() == [start, *tokenizer.encode(text)][:30]
        assert row['inputs'][~real].sum() == 0
        assert (row['targets'], row['weights'], row['targets'].shape) == (label, 1, ())
    cut = sum(len(text) > 29 for text, _ in CLASSES)
    assert f'{cut} cut to 30' in found.summary and found.classes == ('a', 'b', 'c')


@pytest.mark.parametrize('kind', ['bytes', 'bpe', 'characters'])
def test_a_tag_stands_at_the_first_token_of_its_word(kind):
    found, tokenizer = made(kinds.TokenClassification(), kind, context=256)
    for place, (words, tags) in enumerate(TAGS):
        row = found.train.rows.at(place)
        at = np.flatnonzero(row['weights'])
        assert row['targets'][at].tolist() == list(tags)
        assert tokenizer.decode(row['inputs'][row['segment_ids'] > 0]) == ' '.join(words)
        begins = [len(' '.join(words[:i])) + (i > 0) for i in range(len(words))]
        for word, first, begin in zip(words, at, begins):
            # A token may begin with the blank before its word.
            before = tokenizer.decode(row['inputs'][:first])
            assert begin - 1 <= len(before) <= begin
            assert tokenizer.decode(row['inputs'][first:]).lstrip().startswith(word)
    short, _ = made(kinds.TokenClassification(), kind, context=8)
    assert short.train.predicted < found.train.predicted and 'cut to 8' in short.summary


@pytest.mark.parametrize(
    ('image', 'channels', 'field', 'accepted'),
    [(8, 3, 'image', '4 .the images are 4 x 4'), (4, 1, 'channels', '3')],
)
def test_images_of_another_size_than_the_models(image, channels, field, accepted):
    model = types.SimpleNamespace(image=image, channels=channels)
    with pytest.raises(ConfigError, match=accepted) as raised:
        made(kinds.ImageClassification(), model=model)
    assert raised.value.field == f'model.{field}'


def test_images_lie_around_zero():
    found, _ = made(kinds.ImageClassification())
    row = found.train.rows.at(4)
    np.testing.assert_allclose(row['images'], IMAGES[4][0] * 2 - 1, atol=1e-6)
    assert row['targets'] == 1 and '20 images of 4 x 4 x 3' in found.summary
    odd = [*IMAGES, (np.zeros((5, 4, 3), np.float32), 0)]
    bad, _ = made(kinds.ImageClassification(), records=odd)
    with pytest.raises(UserError, match=r'image 20 has shape \(5, 4, 3\)'):
        bad.train.rows.at(20)
