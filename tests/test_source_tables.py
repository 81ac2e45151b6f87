"""Tables of records: every kind gives the same, in order and by index, and says what is wrong."""

import gzip
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather, ipc

from data import sources
from data.sources import find, splits, tables
from data.sources.origin import BLOCK, local_file
from data.sources.tables import spans
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError
from transformer.objectives import NextToken

TEXTS = [f'text {n} ' + 'é' * (n % 7) for n in range(1000)]
RECORDS = [{'id': n, 'text': text} for n, text in enumerate(TEXTS)]


def load(path, **fields):
    return sources.load(SourceConfig(path=str(path), **fields), NextToken())


def zstd(raw):
    return pa.Codec('zstd').compress(raw).to_pybytes()


def json_lines(records):
    return ''.join(json.dumps(record) + '\n' for record in records).encode()


def parquet(path, **options):
    pq.write_table(pa.Table.from_pylist(RECORDS), path, row_group_size=70, **options)


def arrow_file(path):
    table = pa.Table.from_pylist(RECORDS)
    with ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=70)


def arrow_stream(path):
    table = pa.Table.from_pylist(RECORDS)
    with ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=70)


WRITERS = {
    'a.jsonl': lambda p: p.write_bytes(json_lines(RECORDS)),
    'b.jsonl.gz': lambda p: p.write_bytes(gzip.compress(json_lines(RECORDS))),
    'c.jsonl.zst': lambda p: p.write_bytes(zstd(json_lines(RECORDS))),
    'd.ndjson': lambda p: p.write_bytes(gzip.compress(json_lines(RECORDS))),  # packed, no suffix
    'e.parquet': parquet,
    'f.parquet': lambda p: parquet(p, compression='zstd'),
    'g.arrow': arrow_file,
    'h.arrow': arrow_stream,
    'i.feather': lambda p: feather.write_feather(pa.Table.from_pylist(RECORDS), str(p)),
}


@pytest.mark.parametrize('name', WRITERS)
def test_all_kinds_give_the_same(tmp_path, name):
    WRITERS[name](tmp_path / name)
    kind = find.FORMATS['.' + name.split('.')[1]]
    table = tables.of_files([local_file(tmp_path / name)], kind, SourceConfig())
    assert [table.parse(raw) for raw in table.raw()] == RECORDS
    for place in np.random.default_rng(0).permutation(len(table))[:50]:
        assert table.parse(table.fetch(int(place))) == RECORDS[place]
    again = pickle.loads(pickle.dumps(table))
    assert again.parse(again.fetch(999)) == RECORDS[999]

    found = load(tmp_path / name)
    train, held = list(found.train), list(found.validation)
    assert len(held) == len(found.validation) == 100 and len(train) == len(found.train) == 900
    assert sorted(train + held) == sorted(TEXTS)
    assert [found.train[n] for n in range(900)] == train
    assert [found.validation[n] for n in range(-100, 0)] == held
    for side in (found.train, found.validation):
        with pytest.raises(IndexError):
            side[len(side)]
    with pytest.raises(ConfigError if table.fields else UserError, match='id, text'):
        list(load(tmp_path / name, text_field='txt').train)


def test_the_same_records_are_held_out_whatever_the_files(tmp_path):
    """The split belongs to the data: one file, several, packed or not, and to any run."""
    parquet(tmp_path / 'a.parquet')
    (tmp_path / 'b.jsonl').write_bytes(json_lines(RECORDS[:300]))
    (tmp_path / 'c.jsonl.gz').write_bytes(gzip.compress(json_lines(RECORDS[300:])))
    one = load(tmp_path / 'a.parquet')
    several = load(f'{tmp_path / "b.jsonl"}, {tmp_path / "c.jsonl.gz"}')
    assert list(one.validation) == list(several.validation)
    assert [file.name for file in several.files()] == [
        str(tmp_path / 'b.jsonl'),
        str(tmp_path / 'c.jsonl.gz'),
    ]


@pytest.mark.parametrize(
    ('count', 'share'), [(2, 0.5), (2, 0.01), (10, 0.1), (997, 0.3), (5000, 0.9)]
)
def test_held_out_is_an_exact_share_spread_evenly(count, share):
    held = splits.held_out(count, SourceConfig(validation_fraction=share), 'x')
    assert len(held) == max(1, round(share * count))
    assert held.min() >= 0 and held.max() < count and (np.diff(held) > 0).all()
    rest = [splits.remaining(held, place) for place in range(count - len(held))]
    assert sorted([*rest, *held.tolist()]) == list(range(count)) and rest == sorted(rest)
    # Any half has half of them, but for one.
    assert abs((held < count // 2).sum() - len(held) * (count // 2) / count) <= 1
    with pytest.raises(ConfigError, match='both sides of x: it has 1 '):
        splits.held_out(1, SourceConfig(validation_fraction=share), 'x')


@pytest.mark.parametrize(
    'raw', [b'', b'\n', b'a', b'a\n', b'\n\na', b'a\r\n\r\nb\r\n', b'a\n \t\nb\n\n\nc', b'\n\n']
)
@pytest.mark.parametrize('size', [1, 2, 3, 100])
def test_spans_do_not_depend_on_blocks(raw, size):
    for mark in (b'', spans.MARK):
        blocks = [mark + raw[:size], *(raw[i : i + size] for i in range(size, len(raw), size))]
        blocks = [block for block in blocks if block]
        whole = mark + raw
        if size == 1:  # the mark itself in pieces
            blocks = [(mark + raw)[i : i + 1] for i in range(len(mark + raw))]
        want = raw.split(b'\n')
        want = want[:-1] if not want[-1] else want
        found = [tuple(zip(*map(np.ndarray.tolist, some))) for some in spans.lines(blocks)]
        found = [(whole[begin:end], blank) for some in found for begin, end, blank in some]
        assert found == [(line, not line.strip()) for line in want]
        text = '\n'.join(line.decode() if line.strip() else '' for line in want)
        wanted = [part.strip('\n') for part in text.split('\n\n') if part.strip()]
        found = [zip(begins.tolist(), ends.tolist()) for begins, ends in spans.paragraphs(blocks)]
        assert [whole[b:e].decode() for some in found for b, e in some] == wanted


@pytest.mark.parametrize('size', [1, 10, 10_000])
def test_what_is_read_does_not_depend_on_blocks(size):
    raw = b''.join(b'%d\n' % n for n in range(1000))
    found = spans.index(spans.all_lines([raw]), len(raw))
    assert found.count == 1000 and len(found.begins) == -(-1000 // spans.STEP) + 1
    blocks = [raw[i : i + 7] for i in range(0, len(raw), 7)]
    parts = list(spans.read(blocks, found.begins, size))
    assert b''.join(part for _, part in parts) == raw
    assert all(raw[begin:].startswith(part) for begin, part in parts)
    assert [part.count(b'\n') for _, part in parts] == [spans.STEP] * 15 + [1000 % spans.STEP]
    with pytest.raises(EOFError):
        list(spans.read(blocks[:-1], found.begins, size))


def test_lines_longer_than_a_block(tmp_path):
    long = ['x' * (3 * BLOCK + 17), '', 'y' * BLOCK, 'z']
    (tmp_path / 'a.txt').write_text('\n'.join(long))
    found = load(tmp_path / 'a.txt', documents='line', validation_fraction=0.5)
    assert sorted([*found.train, *found.validation]) == sorted(long)
    assert sorted(found.train[n] for n in range(2)) == sorted(found.train)


BAD = [
    b'{"text": "a"}',
    b'',
    b'{"text": ',
    b'{"text": "\xff"}',
    b'{"id": 1}',
    b'[1]',
    b'{"text": 1}',
]


def test_bad_records_are_named_or_skipped_and_counted(tmp_path):
    path = tmp_path / 'a.jsonl'
    lone = b'{"text": "\\ud83d"}'
    path.write_bytes(b'\n'.join([*BAD, lone, b'{"text": "b"}', b'{"text": "c"}', b'']))
    found = load(path, bad_records='skip', validation_fraction=0.34)
    assert sorted([*found.train, *found.validation]) == ['a', 'b', 'c']
    assert [*found.validation] == [found.validation[0]]
    want = {
        'not JSON': 1,
        'not UTF-8': 1,
        'field missing': 1,
        'not an object': 1,
        'field that is no text': 1,
        'half a surrogate pair': 1,
    }
    assert found.skipped == want
    messages = {
        2: r'line 3: not JSON',
        3: r'line 4, offset 39: not UTF-8: byte 0xff; .*encoding_errors=replace',
        4: r"line 5: there is no string 'text'; the fields are id",
        5: r'line 6: not a JSON object',
        6: r"line 7: there is no string 'text': it is 1",
    }
    for n, message in messages.items():
        lines = [b'{"text": "a"}' if i not in (0, n) else BAD[i] for i in range(len(BAD))]
        lines[1] = b''
        path.write_bytes(b'\n'.join(lines))
        for read in (list, lambda side: [side[i] for i in range(len(side))]):
            with pytest.raises(UserError, match=message) as raised:
                found = load(path)
                read(found.train), read(found.validation)
            assert str(path) in str(raised.value)
            assert 'config.data.bad_records=skip' in str(raised.value)
    path.write_bytes(lone + b'\n' + lone)
    found = load(path, encoding_errors='replace', validation_fraction=0.5)
    assert [*found.train, *found.validation] == ['\ufffd', '\ufffd']


@pytest.mark.parametrize('name', ['e.parquet', 'g.arrow', 'b.jsonl.gz', 'c.jsonl.zst'])
@pytest.mark.parametrize('damage', ['truncated', 'other', 'none'])
def test_what_is_not_whole_is_named(tmp_path, name, damage):
    path = tmp_path / name
    WRITERS[name](path)
    raw = path.read_bytes()
    path.write_bytes({'truncated': raw[:-20], 'other': b'nothing of the kind', 'none': b''}[damage])
    with pytest.raises(UserError, match='not a whole') as raised:
        list(load(path).train)
    assert str(path) in str(raised.value)


def test_a_damaged_page_of_parquet_is_named(tmp_path):
    parquet(tmp_path / 'a.parquet', compression='gzip')
    raw = bytearray((tmp_path / 'a.parquet').read_bytes())
    raw[200:1200] = bytes(1000)
    (tmp_path / 'a.parquet').write_bytes(raw)
    with pytest.raises(UserError, match=r'a\.parquet is not a whole Parquet file'):
        list(load(tmp_path / 'a.parquet').train)


def test_a_null_and_fields_that_files_do_not_share_are_told(tmp_path):
    pq.write_table(pa.table({'text': ['a', None, 'c']}), tmp_path / 'null.parquet')
    with pytest.raises(UserError, match="record 1: there is no string 'text': it is None"):
        found = load(tmp_path / 'null.parquet')
        _ = [*found.train, *found.validation]
    (tmp_path / 'two').mkdir()
    pq.write_table(pa.table({'text': ['a', 'b']}), tmp_path / 'two' / 'a.parquet')
    pq.write_table(pa.table({'content': ['a', 'b']}), tmp_path / 'two' / 'b.parquet')
    with pytest.raises(ConfigError, match='none is in all files'):
        load(tmp_path / 'two')
