"""Tagged words and conversations out of tables."""

import pickle
import types

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import sources
from data.encoders import in_memory
from data.encoders.chat import ChatEncoder
from data.encoders.tags import TagEncoder
from data.sources.tables import arrow
from tests.records import tokenizer_of
from tests.source_kit import both, load, write
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError
from transformer.objectives import Chat, TokenClassification

CHAT = types.SimpleNamespace(RECORDS='chat')


@pytest.fixture(params=['a.parquet', 'a.jsonl'])
def path(request, tmp_path):
    return tmp_path / request.param


# Tags


def test_tags_of_tables(path):
    records = [
        {'tokens': ['Ada', 'wrote'], 'ner_tags': ['PER', 'O']},
        {'tokens': ['In', 'Rome', 'now'], 'ner_tags': ['O', 'LOC', 'O']},
        {'tokens': ['Ada'], 'ner_tags': ['PER']},
    ]
    write(path, records)
    found = load(TokenClassification(), path, validation_fraction=0.4)
    assert found.classes == ('LOC', 'O', 'PER')
    want = [(('Ada', 'wrote'), (2, 1)), (('In', 'Rome', 'now'), (1, 0, 1)), (('Ada',), (2,))]
    assert sorted(both(found)) == sorted(want)
    with pytest.raises(UserError, match="'pos'.*tokens, ner_tags"):
        load(TokenClassification(), path, label_field='pos')
    write(path, [*records, {'tokens': ['a', 'b'], 'ner_tags': ['O']}])
    with pytest.raises(UserError, match='(record 3|line 4): 2 words and 1 tags'):
        both(load(TokenClassification(), path))


def test_a_sentence_without_words_is_a_bad_record(path):
    records = [{'tokens': ['a', 'b'], 'tags': ['O', 'B']}, {'tokens': ['c'], 'tags': ['O']}]
    empty = pa.array([[]], pa.list_(pa.string()))
    write(path, [*records, {'tokens': [], 'tags': []}])
    if path.suffix == '.parquet':
        table = pa.Table.from_pylist(records)
        columns = [pa.concat_arrays([c.combine_chunks(), empty]) for c in table.columns]
        pq.write_table(pa.table(columns, names=table.column_names), path)
    with pytest.raises(UserError, match=r"(record 2|line 3): 'tokens' is empty"):
        both(load(TokenClassification(), path, validation_fraction=0.4))
    skipping = {'bad_records': 'skip', 'validation_fraction': 0.5}
    found = load(TokenClassification(), path, **skipping)
    assert sorted(both(found)) == [(('a', 'b'), (1, 0)), (('c',), (1,))]
    assert found.skipped == {'no words': 1}


def test_the_encoder_leaves_sentences_without_words_out():
    some, none = (('a', 'bc'), (1, 0)), ((), ())
    tokenizer = tokenizer_of(TokenClassification(), 'bytes')
    for records in ([none], [none, some], [some, none, none, some, none], [some, some]):
        made = in_memory(TagEncoder(tokenizer), records)
        assert len(made) == records.count(some)
        assert [made['tags'][n].tolist() for n in range(len(made))] == [[1, -1, 0, -1]] * len(made)
        empty = records.count(none)
        assert made.skipped == ({'sentence without words': empty} if empty else {})
        pieces = list(TagEncoder(tokenizer).encode(records))
        assert [piece is None for piece in pieces] == [record is none for record in records]


def test_names_of_tags_are_found_without_reading_words(tmp_path, monkeypatch):
    records = [{'tokens': [f'w{n}'], 'tags': ['OB'[n % 2]], 'id': n} for n in range(20)]
    write(tmp_path / 'a.parquet', records)
    asked, part = [], arrow.Columns._parts

    def parts(self):
        asked.append(self._columns)
        return part(self)

    monkeypatch.setattr(arrow.Columns, '_parts', parts)
    monkeypatch.setattr(arrow.Parquet, '_parts', parts)
    found = sources.load(
        SourceConfig(path=str(tmp_path / 'a.parquet')), TokenClassification(), lazy=True
    )
    assert found.classes == ('B', 'O') and asked == [('tags',)]
    assert len(found.train) == 18 and found.train[-1] in list(found.train)
    assert list(pickle.loads(pickle.dumps(found)).train) == list(found.train)
    whole = [found.train[n] for n in range(18)]
    assert whole == list(found.train) and asked[1:]


def test_a_tag_of_validation_that_training_does_not_have(tmp_path):
    write(tmp_path / 'train.jsonl', [{'tokens': ['a', 'b'], 'tags': ['O', 'B']}])
    write(tmp_path / 'dev.jsonl', [{'tokens': ['a'], 'tags': ['O']}, {'words': ['b'], 'tags': [7]}])
    found = load(TokenClassification(), tmp_path, validation_split='dev')
    with pytest.raises(UserError, match=r"dev\.jsonl, line 2: tag '7' is not one .*: B, O"):
        list(found.validation)


# Conversations

TURNS = [{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello'}]


def test_conversations(path):
    write(path, [{'messages': TURNS, 'text': 'no'}] * 10)
    found = load(CHAT, path)
    assert both(found) == [TURNS] * 10
    assert list(found.texts('validation')) == ['Hi', 'Hello']
    shared = [{'from': 'human', 'value': 'Hi'}, {'from': 'gpt', 'value': 'Hello'}]
    write(path, [{'conversations': shared}] * 10)
    assert both(load(CHAT, path)) == [TURNS] * 10
    write(path, [{'dialog': TURNS}] * 10)
    assert both(load(CHAT, path, text_field='dialog')) == [TURNS] * 10
    with pytest.raises(UserError, match="'messages'.*dialog"):
        both(load(CHAT, path))


def test_messages_may_have_more_and_lack_content(path):
    call = {'role': 'assistant', 'content': None, 'tool_calls': [{'name': 'f'}]}
    write(path, [{'messages': [TURNS[0], call]}] * 4)
    (found, *_) = both(load(CHAT, path, validation_fraction=0.25))
    assert found == [TURNS[0], {'role': 'assistant', 'tool_calls': [{'name': 'f'}], 'content': ''}]


def test_content_may_be_parts_of_text(path):
    parts = [{'type': 'text', 'text': 'H'}, {'type': 'text', 'text': 'i'}]
    if path.suffix == '.parquet':  # a column has one type
        write(path, [{'messages': [{'role': 'user', 'content': parts}]}] * 4)
        assert both(load(CHAT, path)) == [TURNS[:1]] * 4
    else:
        write(path, [{'messages': [{'role': 'user', 'content': parts}, TURNS[1]]}] * 4)
        found = load(CHAT, path)
        assert both(found) == [TURNS] * 4 and list(found.texts('validation')) == ['Hi', 'Hello']


@pytest.mark.parametrize('held_out', [False, True])
def test_a_bad_conversation_is_named_by_its_line(tmp_path, held_out):
    """Also where it is the encoder that refuses it, and a share of the records is held out."""
    path = write(tmp_path / 'a.jsonl', [{'messages': TURNS}] * 40)
    found = load(CHAT, path)
    side = found.validation if held_out else found.train
    place = 3 if held_out else 30
    line = int(side.where(place).rpartition(' ')[2])
    records = [{'messages': TURNS}] * 40
    records[line - 1] = {'messages': [{'role': 'stranger', 'content': 'x'}]}
    write(path, records)
    found = load(CHAT, path)
    side = found.validation if held_out else found.train
    assert side[place][0]['role'] == 'stranger' and line != place + 1
    tokenizer = tokenizer_of(Chat(), 'bytes')
    with pytest.raises(UserError, match=rf'a\.jsonl, line {line}: messages\[0\]\.role'):
        in_memory(ChatEncoder(tokenizer, Chat()), side)


@pytest.mark.parametrize(
    ('messages', 'message'),
    [
        ([], 'no list of messages'),
        ('Hi', 'no list of messages'),
        ([{'content': 'Hi'}], 'message 0 has no role; its fields are content'),
        ([*TURNS, {'role': 'user'}], 'message 2 has no text'),
        ([{'role': 'user', 'content': [1]}], r'but \[1\]'),
        ([{'role': 'user', 'content': [{'type': 'image', 'text': 'x'}]}], 'no text'),
        ([{'role': 'user', 'content': []}], 'no text'),
        (['Hi'], "message 0 is 'Hi'"),
    ],
)
def test_bad_conversations(tmp_path, messages, message):
    records = [{'messages': TURNS}, {'messages': messages}, {'messages': TURNS}]
    write(tmp_path / 'a.jsonl', records)
    with pytest.raises(UserError, match=f'a.jsonl, line 2: .*{message}'):
        both(load(CHAT, tmp_path / 'a.jsonl', validation_fraction=0.4))
    skipping = {'bad_records': 'skip', 'validation_fraction': 0.5}
    found = load(CHAT, tmp_path / 'a.jsonl', **skipping)
    assert both(found) == [TURNS] * 2 and sum(found.skipped.values()) == 1
    (tmp_path / 'b.txt').write_text('Hi')
    with pytest.raises(ConfigError, match='JSON lines'):
        load(CHAT, tmp_path / 'b.txt')
