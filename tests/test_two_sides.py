"""Rows with two sides: what is cut out, damaged or packed can be put together again."""

import dataclasses
import itertools

import numpy as np
import pytest

from data.objectives import denoising, span_corruption
from tests.records import PAIRS, TEXTS, made, passes, segments
from transformer import objectives as kinds
from transformer.errors import ConfigError

# Span corruption


@pytest.mark.parametrize(
    ('inputs', 'raw', 'targets'), [(256, 284, 58), (512, 568, 114), (1024, 1137, 229)]
)
def test_lengths_are_those_of_t5(inputs, raw, targets):
    assert span_corruption.span_lengths(inputs, 0.15, 3.0) == (raw, targets)


@pytest.mark.parametrize('rate', [0.05, 0.15, 0.5, 0.9])
@pytest.mark.parametrize('mean_span', [1.0, 3.0, 10.0])
def test_noise_has_the_promised_size(rate, mean_span):
    rng = np.random.default_rng(0)
    for length in (2, 3, 10, 57, 300):
        mask = span_corruption.noise_mask(length, rate, mean_span, rng)
        tokens, spans = span_corruption.noise(length, rate, mean_span)
        starts = mask & ~np.concatenate([[False], mask[:-1]])
        assert (len(mask), mask.sum(), starts.sum()) == (length, tokens, spans)
        assert not mask[0] and mask[-1]
        raw, targets = span_corruption.span_lengths(length + 10, rate, mean_span)
        sizes = [span_corruption.corrupted_lengths(n, rate, mean_span) for n in range(2, raw + 1)]
        assert max(sizes) <= (length + 10, targets) and sizes == sorted(sizes)


def joined(inputs, targets, sentinels, end):
    """The text of a corrupted piece."""
    assert inputs[-1] == targets[-1] == end
    spans = np.split(targets[:-1], np.flatnonzero(np.isin(targets[:-1], sentinels)))[1:]
    assert [span[0] for span in spans] == sentinels[: len(spans)]
    cut = {span[0]: span[1:].tolist() for span in spans}
    assert all(cut.values())
    return [t for i in inputs[:-1].tolist() for t in cut.pop(i, [i])]


def pieces_of(tokens, most):
    begins, lengths = span_corruption.pieces_of(np.array([0, 1 + len(tokens)]), most, skip=1)
    return [tokens[begin - 1 : begin - 1 + n] for begin, n in zip(begins, lengths)]


@pytest.mark.parametrize('kind', ['bytes', 'bpe'])
def test_every_corrupted_row_can_be_put_together_again(kind):
    objective = kinds.SpanCorruption()
    found, tokenizer = made(objective, kind, context=48)
    sentinels = [tokenizer.special(name) for name in objective.special_tokens]
    raw, length = span_corruption.span_lengths(48, 0.15, 3.0)
    pieces = [p for t in TEXTS for p in pieces_of(np.array(tokenizer.encode(t)), raw)]
    want = sorted(p.tolist() for p in pieces if len(p) > 1)
    for epoch in range(3):
        got = []
        for place in range(found.train.rows.drawn):
            row = found.train.rows.draw(place, epoch, 0)
            assert (len(row['inputs']), len(row['targets'])) == (48, length)
            assert segments(row) == segments(row, 'decoder_segment_ids')
            for n in segments(row):
                given = row['inputs'][row['segment_ids'] == n]
                part = row['decoder_segment_ids'] == n
                targets = row['targets'][part]
                assert row['decoder_inputs'][part].tolist() == [tokenizer.end, *targets[:-1]]
                assert row['weights'][part].all()
                got.append(joined(given, targets, sentinels, tokenizer.end))
        assert sorted(got) == want
    assert ', 1 pieces of one token left out; validation' in found.summary or kind == 'bpe'
    assert {1, raw} <= {len(p) for p in pieces}


def test_pieces_lose_nothing():
    for size in range(40):
        parts = pieces_of(np.arange(size), 6)
        assert np.concatenate([[], *parts]).tolist() == list(range(size))
        assert size < 2 or min(map(len, parts)) > 1
        assert size == 0 or max(map(len, parts)) <= 6


def test_span_corruption_refuses_what_cannot_be():
    with pytest.raises(ConfigError, match=r'objective.sentinels=3 .* at least 14 for rows .*256'):
        made(kinds.SpanCorruption(sentinels=3), context=256)
    with pytest.raises(ConfigError, match='context=2'):
        made(kinds.SpanCorruption(), context=2)
    with pytest.raises(ConfigError, match='target_context=57 .* 0 or at least 58'):
        made(kinds.SpanCorruption(), context=256, target_context=57)
    for objective in (kinds.SpanCorruption(), kinds.Denoising(), kinds.Seq2Seq()):
        with pytest.raises(ConfigError, match="data.tokenizer.*'bpe' or 'bytes'"):
            made(objective, 'characters')


# Denoising


def test_sentences_are_shuffled_whole():
    rng = np.random.default_rng(0)
    closes = np.zeros(10, bool)
    closes[9] = True
    tokens = np.array([1, 2, 9, 9, 3, 9, 4])
    orders = {tuple(denoising.permuted(tokens, closes, rng).tolist()) for _ in range(100)}
    parts = ((1, 2, 9, 9), (3, 9), (4,))
    assert orders == {sum(order, ()) for order in itertools.permutations(parts)}


def test_infilling_hides_as_much_as_asked():
    rng, objective = np.random.default_rng(0), kinds.Denoising()
    tokens, masks, inserted, runs = np.arange(1, 201), 0, 0, []
    for _ in range(200):
        found = denoising.infilled(tokens, objective, 0, rng)
        kept = found[found != 0]
        assert len(kept) == 140 and (np.diff(kept) > 0).all() and len(found) <= 200
        places = np.flatnonzero(found == 0)
        before = np.concatenate([[0], found, [201]])
        lengths = [before[i + 2] - before[i] - 1 for i in places if before[i] and before[i + 2]]
        masks, inserted = masks + len(places), inserted + sum(n == 0 for n in lengths)
        runs += lengths
    # Poisson of mean 3: one span in twenty hides nothing.
    assert abs(np.mean(runs) - 3) < 0.15 and abs(inserted / masks - np.exp(-3)) < 0.015
    for size in range(8):
        for rate, mean in ((0.9, 0.1), (0.3, 3.0), (0.99, 8.0)):
            odd = dataclasses.replace(objective, rate=rate, mean_span=mean)
            assert len(denoising.infilled(tokens[:size], odd, 0, rng)) <= size


@pytest.mark.parametrize('kind', ['bytes', 'bpe'])
def test_denoising_wants_the_whole_text(kind):
    found, tokenizer = made(kinds.Denoising(), kind)
    rows = [found.train.rows.at(i) for i in range(len(found.train.rows))]
    got = np.concatenate([row['targets'][row['weights'] > 0] for row in rows])
    want = [t for text in TEXTS for t in [*tokenizer.encode(text), tokenizer.end]]
    assert got.tolist() == want
    mask, hidden, shown = tokenizer.special('[MASK]'), 0, 0
    for row in rows + passes(found.train.rows, epochs=3):
        assert set(segments(row)) <= set(segments(row, 'decoder_segment_ids'))
        for n in segments(row, 'decoder_segment_ids'):
            given = row['inputs'][row['segment_ids'] == n]
            part = row['decoder_segment_ids'] == n
            targets = row['targets'][part]
            assert row['decoder_inputs'][part].tolist() == [tokenizer.end, *targets[:-1]]
            assert (targets[-1] == tokenizer.end) == (tokenizer.end in given[-1:])
            kept = given[given != mask].tolist()
            left = targets.tolist()
            for token in kept:
                left.remove(token)
            hidden, shown = hidden + len(left), shown + len(kept)
    assert abs(hidden / (hidden + shown) - 0.3) < 0.02


# Pairs


@pytest.mark.parametrize('target_context', [0, 40])
def test_packed_pairs_lose_and_mix_nothing(target_context):
    found, tokenizer = made(kinds.Seq2Seq(), 'bpe', context=48, target_context=target_context)
    got = []
    for row in passes(found.train.rows):
        assert len(row['targets']) == (target_context or 48)
        assert segments(row) == segments(row, 'decoder_segment_ids')
        assert np.array_equal(row['weights'] > 0, row['decoder_segment_ids'] > 0)
        for n in segments(row):
            source = row['inputs'][row['segment_ids'] == n]
            part = row['decoder_segment_ids'] == n
            target = row['targets'][part]
            assert source[-1] == target[-1] == tokenizer.end
            assert row['decoder_inputs'][part].tolist() == [tokenizer.end, *target[:-1]]
            assert row['decoder_positions'][part].tolist() == list(range(len(target)))
            got.append((tokenizer.decode(source[:-1]), tokenizer.decode(target[:-1])))
    assert sorted(got) == sorted(PAIRS)
    assert len(got) > found.train.rows.drawn
    assert 'filled' in found.summary and 'cut' not in found.summary


def test_long_pairs_are_cut_and_counted():
    found, tokenizer = made(kinds.Seq2Seq(), context=20, target_context=30)
    long = sum(len(s) > 19 or len(t) > 29 for s, t in PAIRS)
    assert f'{long} pairs cut; validation' in found.summary
    assert max((row['segment_ids'] > 0).sum() for row in passes(found.train.rows)) == 20
