"""Texts with their middle last: nothing lost but what the markers take, nothing mixed."""

import pickle
import types

import numpy as np
import pytest

from data import feed, tokenizers
from data.objectives.fill_in_middle import permute, prompt
from tests.records import TEXTS, corpus_of, made, passes, same, tokenizer_of
from transformer import respond
from transformer.data_config import DataConfig
from transformer.errors import ConfigError, UserError
from transformer.objectives import FillInMiddle, NextToken

TEXT = 'def area(r):\n    return 3.14 * r * r  # ünïcödé 日本 🙂\n' * 6


class Cuts:
    """Stands for a generator: the places where a text is cut, and the order's fate."""

    def __init__(self, first, last, fate):
        self._cuts, self._fate = (first, last), fate

    def integers(self, low, high, count):
        assert (low, count) == (0, 2) and max(self._cuts) < high
        return np.array(self._cuts)

    def random(self):
        return self._fate


def turned(text, first, last, joined, kind='bpe'):
    """The parts of a text as they are arranged, by marker."""
    objective = FillInMiddle()
    tokenizer = tokenizer_of(objective, kind)
    markers = [tokenizer.special(name) for name in objective.markers]
    tokens = np.array(tokenizer.encode(text), np.int32)
    cuts = Cuts(first, last, 0.0 if joined else 0.9)
    got = permute(tokens, cuts, tokenizer, markers, 0.5)
    assert got.dtype == np.int32 and len(got) <= len(tokens)
    return got, tokens, tokenizer, markers


def parted(got, tokenizer, markers):
    places = [int(np.flatnonzero(got == marker)[0]) for marker in markers]
    assert [int((got == marker).sum()) for marker in markers] == [1, 1, 1]
    ends = sorted([*places, len(got)])
    parts = {
        marker: tokenizer.decode(got[place + 1 : ends[ends.index(place) + 1]])
        for marker, place in zip(markers, places)
    }
    return [parts[marker] for marker in markers], np.argsort(places).tolist()


@pytest.mark.parametrize('kind', ['bpe', 'bytes'])
@pytest.mark.parametrize(('first', 'last'), [(0, 0), (7, 30), (30, 7), (100, 101), (5, 5)])
def test_prefix_suffix_middle(kind, first, last):
    got, _, tokenizer, markers = turned(TEXT, first, last, False, kind)
    (prefix, middle, suffix), order = parted(got, tokenizer, markers)
    first, last = sorted((first, last))
    assert order == [0, 2, 1]
    assert prefix == TEXT[:first] and middle == TEXT[first:last]
    kept = suffix.rstrip('\ufffd')  # cut at a token, perhaps within a character
    assert TEXT[last:].startswith(kept) and len(kept) > len(TEXT) - last - 60


@pytest.mark.parametrize(('first', 'last'), [(0, 0), (7, 30), (100, 101)])
def test_suffix_prefix_middle(first, last):
    got, _, tokenizer, markers = turned(TEXT, first, last, True)
    (prefix, middle, suffix), order = parted(got, tokenizer, markers)
    assert order == [0, 2, 1]
    assert prefix == '' and middle == TEXT[:last]
    assert TEXT[last:].startswith(suffix.rstrip('\ufffd'))


@pytest.mark.parametrize('joined', [False, True])
def test_every_part_is_tokenised_by_itself(joined):
    first, last = 9, 40
    got, _, tokenizer, markers = turned(TEXT, first, last, joined)
    rest = got[np.flatnonzero(got == markers[1])[0] + 1 :].tolist()
    assert rest == tokenizer.encode(TEXT[0 if joined else first : last])


@pytest.mark.parametrize('joined', [False, True])
def test_without_a_suffix_the_prefix_is_cut_and_the_middle_never(joined):
    for first in range(0, len(TEXT), 17):
        got, tokens, tokenizer, markers = turned(TEXT, first, len(TEXT), joined)
        if got is tokens:
            assert first < 17  # the middle is nearly all
            continue
        (prefix, middle, suffix), _ = parted(got, tokenizer, markers)
        before = middle if joined else prefix
        assert suffix == '' and middle.endswith(TEXT[first:])
        assert TEXT[:first].endswith(before.lstrip('\ufffd')) or joined


@pytest.mark.parametrize('kind', ['bpe', 'bytes'])
def test_a_piece_cut_within_a_character_keeps_its_parts(kind):
    tokenizer = tokenizer_of(FillInMiddle(), kind)
    markers = [tokenizer.special(name) for name in FillInMiddle().markers]
    tokens = np.array(tokenizer.encode('🙂' * 9), np.int32)[1:-1]
    assert '\ufffd' in tokenizer.decode(tokens)
    for seed in range(50):
        got = permute(tokens, np.random.default_rng(seed), tokenizer, markers, 0.0)
        if got is tokens:
            continue
        places = [np.flatnonzero(got == marker)[0] for marker in markers]
        prefix, middle = got[places[0] + 1 : places[2]], got[places[1] + 1 :]
        assert '\ufffd' not in tokenizer.decode(middle)
        begins = tokens.tolist()
        assert any(prefix.tolist() == begins[i : i + len(prefix)] for i in range(len(begins)))


def test_cuts_are_uniform_among_characters():
    tokenizer = tokenizer_of(FillInMiddle(), 'bytes')
    markers = [tokenizer.special(name) for name in FillInMiddle().markers]
    tokens = np.array(tokenizer.encode('a' * 200), np.int32)
    lengths, joined = [], 0
    for seed in range(3000):
        got = permute(tokens, np.random.default_rng(seed), tokenizer, markers, 0.3)
        at = np.flatnonzero(got == markers[1])
        spm = got[1] == markers[2]  # an empty prefix looks alike, once in a hundred
        joined += bool(spm)
        if not spm and len(at):
            lengths.append(len(got) - at[0] - 1)
    assert abs(joined / 3000 - 0.307) < 3 * np.sqrt(0.3 * 0.7 / 3000) + 0.004
    # The distance of two uniform cuts: a mean of a third, a deviation of 1 / sqrt(18).
    deviation = 200 / np.sqrt(18)
    assert abs(np.mean(lengths) - 200 / 3) < 3 * deviation / np.sqrt(len(lengths)) + 1


# Rows


@pytest.mark.parametrize('packing', ['concat', 'first_fit', 'best_fit'])
@pytest.mark.parametrize('kind', ['bpe', 'bytes'])
def test_rate_0_is_next_token(kind, packing):
    data = DataConfig(packing=packing)
    none, _ = made(FillInMiddle(rate=0.0), kind, data=data)
    tokens = tokenizer_of(FillInMiddle(rate=0.0), kind)
    assert none.train.predicted and none.train.text_bytes
    plain = made_with(NextToken(), tokens, data=data)
    assert len(none.train.rows) == len(plain.train.rows)
    for rows in (lambda found: passes(found.train.rows, 2), every):
        assert all(same(a, b) for a, b in zip(rows(none), rows(plain), strict=True))


def made_with(objective, tokenizer, **fields):
    """A feed of the same tokens for another objective."""
    fields = {'seed': 0, 'context': 64, 'target_context': 0} | fields
    experiment = types.SimpleNamespace(objective=objective, **fields)
    return feed.load(experiment, corpus_of(TEXTS), tokenizer)


def every(found):
    return [found.train.rows.at(i) for i in range(len(found.train.rows))]


@pytest.mark.parametrize('packing', ['concat', 'best_fit'])
@pytest.mark.parametrize('kind', ['bpe', 'bytes'])
def test_rows_turn_documents_round_one_by_one(kind, packing):
    objective = FillInMiddle(rate=1.0)
    data = DataConfig(packing=packing)
    found, tokenizer = made(objective, kind, data=data)
    plain = made_with(NextToken(), tokenizer, data=data)
    markers = [tokenizer.special(name) for name in objective.markers]
    seen = 0
    for row, before in zip(passes(found.train.rows, 2), passes(plain.train.rows, 2), strict=True):
        real = row['segment_ids'] > 0
        assert (np.diff(real.astype(int)) <= 0).all()  # padding is last
        assert not row['weights'][~real].any() and not row['inputs'][~real].any()
        assert real.sum() <= (before['segment_ids'] > 0).sum()
        for number in np.unique(row['segment_ids'][real]):
            part, was = row['segment_ids'] == number, before['segment_ids'] == number
            inputs, targets = row['inputs'][part], row['targets'][part]
            assert row['positions'][part].tolist() == list(range(part.sum()))
            assert part.sum() <= was.sum()
            # Targets are the inputs moved by one; the last is that of the document itself, or its
            # end marker, never that of a neighbour.
            assert (inputs[1:] == targets[:-1]).all()
            closed = before['targets'][was][-1] == tokenizer.end and before['weights'][was][-1]
            if closed:
                assert targets[-1] == tokenizer.end and row['weights'][part].all()
            assert tokenizer.end not in inputs[1:-1]
            learnt = np.append(inputs, targets[-1])
            counts = [int((learnt == marker).sum()) for marker in markers]
            assert counts in ([0, 0, 0], [1, 1, 1])
            if sum(counts):
                seen += 1
                words = np.isin(learnt, [*markers, tokenizer.end])
                whole = tokenizer.decode(
                    np.append(before['inputs'][was], before['targets'][was][-1])
                )
                for text in tokenizer.decode(np.where(words, tokenizer.end, learnt)).split(
                    '<|endoftext|>'
                ):
                    assert text.strip('\ufffd') in whole
    assert seen > 10


def test_the_share_of_turned_pieces_is_the_rate():
    found, tokenizer = made(FillInMiddle(rate=0.3), 'bytes', records=[TEXTS[-1] * 20])
    marker = tokenizer.special('<|fim_middle|>')
    rows = passes(found.train.rows, 8)
    turned_round = np.mean([(row['targets'] == marker).any() for row in rows])
    # Of 64 tokens the middle and the markers may be too many: in at most one piece of a hundred.
    assert abs(turned_round - 0.3) < 3 * np.sqrt(0.3 * 0.7 / len(rows)) + 0.003
    assert not same(rows[0], found.train.rows.draw(0, 1, 0))


def test_rows_do_the_same_in_another_process():
    found, tokenizer = made(FillInMiddle(), 'bpe', records=['a<|fim_middle|>b<|endoftext|>c ' * 40])
    rows = pickle.loads(pickle.dumps(found.train.rows))
    assert all(same(a, b) for a, b in zip(passes(rows), passes(found.train.rows), strict=True))
    ends = sum((row['inputs'] == tokenizer.end).sum() for row in passes(rows))
    assert ends <= 2  # what the text spells out is text


def test_the_prompt_asks_for_what_is_missing():
    objective = FillInMiddle()
    tokenizer = tokenizer_of(objective, 'bpe')
    before, between, after = (tokenizer.special(name) for name in objective.markers)
    asked = prompt('the <|fim_middle|> fox', tokenizer, objective)
    the, fox = tokenizer.encode('the '), tokenizer.encode(' fox')
    assert asked == [before, *the, after, *fox, between]
    assert prompt('the fox', tokenizer, objective) == tokenizer.encode('the fox')
    speaker = respond.Speaker(None, None, tokenizer, objective)
    assert respond.begun(speaker, ['the <|fim_middle|> fox', 'the ']) == [asked, the]
    with pytest.raises(UserError, match='twice'):
        prompt('the <|fim_middle|> fox <|fim_middle|>', tokenizer, objective)


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('rate', -0.1),
        ('rate', float('nan')),
        ('spm_rate', 1.5),
        ('markers', ('a', 'b')),
        ('markers', ('a', 'b', 'a')),
        ('markers', ('a', 'b', '')),
    ],
)
def test_settings_that_cannot_be(field, value):
    with pytest.raises(ConfigError) as raised:
        FillInMiddle(**{field: value})
    assert raised.value.field == f'objective.{field}'


@pytest.mark.parametrize('kind', ['wordpiece', 'characters'])
def test_tokenizers_that_cannot_do_it_are_refused(kind):
    with pytest.raises(ConfigError) as raised:
        data = DataConfig(tokenizer=kind, vocab=0 if kind == 'characters' else 300)
        tokenizer = tokenizers.train(data, corpus_of(TEXTS), FillInMiddle().special_tokens)
        made_with(FillInMiddle(), tokenizer, data=data)
    assert raised.value.field == 'data.tokenizer'


def test_evaluation_is_always_the_same():
    found, _ = made(FillInMiddle(), 'bpe')
    assert all(same(a, b) for a, b in zip(every(found), every(found), strict=True))
