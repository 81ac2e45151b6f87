"""What objectives draw, against the numbers that are published, over a million tokens.

BERT: 15% of the tokens chosen, 80% of these hidden, 10% random, 10% as they were,
https://arxiv.org/abs/1810.04805, section 3.1. T5: 15% in spans of 3 on average,
https://arxiv.org/abs/1910.10683, section 3.1.4; lengths are those of its own `random_spans_helper`.
"""

import functools

import numpy as np
import pytest

from data.objectives.span_corruption import span_lengths
from tests.records import made
from transformer.objectives import MASK, Masked, SpanCorruption

MILLION = 1_000_000
TEXT = ''.join(map(chr, np.random.default_rng(0).integers(32, 127, MILLION)))
DOCUMENTS = [TEXT[i : i + 9973] for i in range(0, MILLION, 9973)]


def near(count, of, share):
    """Within three standard errors of `of` draws."""
    return abs(count / of - share) < 3 * np.sqrt(share * (1 - share) / of)


@functools.cache
def masked(context, epoch=0, **options):
    """Inputs, targets and whether chosen, of an epoch; the tokenizer."""
    found, tokenizer = made(Masked(**options), 'bytes', DOCUMENTS, context=context)
    rows = [found.train.rows.draw(place, epoch, 0) for place in range(found.train.rows.drawn)]
    arrays = (np.stack([row[name] for row in rows]) for name in ('inputs', 'targets', 'weights'))
    return *arrays, tokenizer


@pytest.mark.parametrize('context', [1024, 512, 128])
def test_bert_hides_15_percent_and_of_these_80_10_10(context):
    inputs, targets, weights, tokenizer = masked(context)
    text, chosen = targets != tokenizer.end, weights > 0
    assert text.sum() > 0.99 * MILLION and not chosen[~text].any()
    assert (np.abs(chosen.sum(1) - 0.15 * text.sum(1)) < 1).all()
    assert near(chosen.sum(), text.sum(), 0.15)
    assert (inputs[~chosen] == targets[~chosen]).all()
    hidden = chosen & (inputs == tokenizer.special(MASK))
    same = chosen & (inputs == targets)
    other = chosen & ~hidden & ~same
    count, alike = chosen.sum(), 0.1 / len(tokenizer.ordinary)  # random, and yet as it was
    assert near(hidden.sum(), count, 0.8)
    assert near(same.sum(), count, 0.1 + alike)
    assert near(other.sum(), count, 0.1 - alike)


def test_other_shares_are_kept_too():
    inputs, targets, weights, tokenizer = masked(1000, rate=0.4, mask=0.5, random=0.5)
    chosen = weights > 0
    assert near(chosen.sum(), (targets != tokenizer.end).sum(), 0.4)
    hidden = chosen & (inputs == tokenizer.special(MASK))
    assert near(hidden.sum(), chosen.sum(), 0.5)
    kept = chosen & (inputs == targets)
    assert near(kept.sum(), chosen.sum(), 0.5 / len(tokenizer.ordinary))


def uniform(counts):
    """Whether the chi-square statistic is within three deviations of its mean."""
    expected = counts.sum() / len(counts)
    statistic, freedom = ((counts - expected) ** 2 / expected).sum(), len(counts) - 1
    return abs(statistic - freedom) < 3 * np.sqrt(2 * freedom)


def test_random_tokens_are_any_token_of_text_and_no_other():
    inputs, targets, weights, tokenizer = masked(1024)
    drawn = inputs[(weights > 0) & (inputs != tokenizer.special(MASK)) & (inputs != targets)]
    assert set(drawn) <= set(tokenizer.ordinary.tolist())
    # Those that the text has are not counted where they are as they were.
    assert uniform(np.bincount(drawn, minlength=256)[128:256])


def test_every_place_is_as_likely():
    chosen = masked(1024)[2] > 0
    counts = chosen[:-1].sum(0)  # places vary less than if rows were free to choose how many
    expected = counts.mean()
    statistic = ((counts - expected) ** 2 / (expected * 0.85)).sum()
    assert abs(statistic - 1023) < 3 * np.sqrt(2 * 1023)


def test_each_epoch_chooses_anew():
    """By the text, as rows begin elsewhere: of what one epoch chose, another has its share."""
    context = 1000
    found, _ = made(Masked(), 'bytes', [TEXT], context=context)
    chosen = []
    for epoch in (0, 1):
        rows = found.train.rows
        where = np.concatenate(
            [rows.draw(place, epoch, 0)['weights'] > 0 for place in range(rows.drawn)]
        )
        text = np.concatenate(
            [rows.draw(place, epoch, 0)['targets'] for place in range(rows.drawn)]
        )
        head = np.frombuffer(TEXT[:64].encode(), np.uint8)
        windows = np.lib.stride_tricks.sliding_window_view(text, 64)
        begin = int(np.flatnonzero((windows == head).all(1))[0])
        chosen.append(where[begin : begin + MILLION - 2 * context])
    size = min(map(len, chosen))
    one, two = (part[:size] for part in chosen)
    assert near((one & two).sum(), one.sum(), 0.15)


# T5


@pytest.mark.parametrize(
    ('inputs', 'raw', 'targets'), [(512, 568, 114), (256, 284, 58), (1024, 1137, 229)]
)
def test_t5_lengths(inputs, raw, targets):
    assert span_lengths(inputs, 0.15, 3.0) == (raw, targets)
    objective = SpanCorruption(sentinels=120)
    found, tokenizer = made(objective, 'bytes', [TEXT[: raw * 40]], context=inputs)
    rows = found.train.rows
    assert rows.drawn == 40
    sentinels = [tokenizer.special(name) for name in objective.special_tokens]
    for place in range(rows.drawn):
        row = rows.draw(place, 0, 0)
        # Full on both sides, and of one piece.
        assert row['inputs'].shape == (inputs,) and row['targets'].shape == (targets,)
        assert (row['segment_ids'] == 1).all() and (row['weights'] == 1).all()
        assert row['inputs'][-1] == row['targets'][-1] == tokenizer.end
        spans = int(np.isin(row['inputs'], sentinels).sum())
        assert spans == np.isin(row['targets'], sentinels).sum()
        kept, cut = inputs - spans - 1, targets - spans - 1
        assert kept + cut == raw and cut == round(0.15 * raw) and spans == round(cut / 3)


def test_t5_spans_are_3_long_on_average_and_anywhere():
    objective = SpanCorruption()
    found, tokenizer = made(objective, 'bytes', [TEXT], context=512)
    sentinels = [tokenizer.special(name) for name in objective.special_tokens]
    rows, lengths, cut = found.train.rows, [], np.zeros(568, int)
    full = 0
    for place in range(rows.drawn):
        row = rows.draw(place, 0, 0)
        if row['segment_ids'].min() < 1 or row['segment_ids'].max() > 1:
            continue  # what the text's end leaves
        full += 1
        places = np.flatnonzero(np.isin(row['targets'], sentinels))
        spans = np.diff([*places, len(row['targets']) - 1]) - 1
        lengths += spans.tolist()
        begins = np.flatnonzero(np.isin(row['inputs'], sentinels)) - np.arange(len(spans))
        begins = begins + np.cumsum(spans) - spans
        for begin, length in zip(begins, spans):
            cut[begin : begin + length] += 1
    assert full * 568 > 0.99 * MILLION
    assert min(lengths) == 1 and sum(lengths) == full * 85
    # 85 tokens in 28 spans, all ways to split them alike: the share of 1 is (28 - 1) / (85 - 1).
    assert np.mean(lengths) == pytest.approx(85 / 28)
    ones = np.mean(np.array(lengths) == 1)
    assert abs(ones - 27 / 84) < 3 * np.sqrt(27 / 84 * 57 / 84 / len(lengths))
    inner = cut[40:-40] / full
    assert abs(inner.mean() - 85 / 568) < 0.01 and inner.min() > 0.08 and inner.max() < 0.23
    assert cut[0] == 0  # a text begins with what is kept
