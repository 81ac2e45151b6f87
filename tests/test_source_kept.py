"""What tables keep open and in memory is bounded, however many files and row groups there are."""

import json
import resource
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather, ipc

from data import sources
from data.sources.origin import local_file
from data.sources.tables import arrow, headers, kept, lines
from data.sources.tables.kept import Kept
from transformer.data_config import SourceConfig
from transformer.errors import UserError
from transformer.objectives import NextToken

RNG = np.random.default_rng(0)
TABLE = pa.table({'id': range(1000), 'text': [f'text {n}' for n in range(1000)]})
NAMED = TABLE.append_column('kind', pa.array(['a', 'b'] * 500).dictionary_encode())


def load(path, lazy=False, **fields):
    return sources.load(SourceConfig(path=str(path), **fields), NextToken(), lazy=lazy)


def both(corpus):
    return [*corpus.train, *corpus.validation]


def count_open():
    return len([*Path('/proc/self/fd').iterdir()])


@pytest.fixture
def files(monkeypatch):
    """What is open, at most 5."""
    made = Kept(5)
    for module in (arrow, lines):
        monkeypatch.setattr(module, 'FILES', made)
    return made


@pytest.fixture
def parts(monkeypatch):
    """What is in memory, at most 100 kB."""
    made = Kept(100_000, lambda part: part.get_total_buffer_size())
    monkeypatch.setattr(arrow, 'PARTS', made)
    return made


# The cache


def test_what_was_used_last_stays():
    made, some = [], Kept(10, len)
    for key in ('aaaa', 'bbbb', 'aaaa', 'cccc', 'aaaa', 'bbbb'):
        assert some.of(key, lambda: made.append(key) or key) == key  # noqa: B023
    assert made == ['aaaa', 'bbbb', 'cccc', 'bbbb'] and some.held == 8
    some.of('large', lambda: 'x' * 100)
    assert len(some) == 1 and some.held == 100
    some.of('z', lambda: 'z')
    assert len(some) == 1 and some.held == 1
    with pytest.raises(ZeroDivisionError):
        some.of('none', lambda: 1 / 0)
    assert len(some) == 1


def test_a_value_is_made_by_one_thread():
    some, made, barrier = Kept(10), [], threading.Barrier(8)

    def ask():
        barrier.wait()
        some.of('key', lambda: made.append(1))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert made == [1]


# Files and parts


@pytest.mark.parametrize('end', ['parquet', 'feather', 'jsonl'])
def test_more_files_than_may_be_open(tmp_path, files, end):
    for n in range(60):
        table = pa.table({'text': [f'text {n}'] * 3})
        path = str(tmp_path / f'{n:02}.{end}')
        if end == 'jsonl':
            (tmp_path / path).write_text(json.dumps({'text': f'text {n}'}) + '\n' * 2)
        else:
            (pq.write_table if end == 'parquet' else feather.write_feather)(table, path)
    before = count_open()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 30, hard))
    try:
        found = load(tmp_path)
        want = sorted(both(found))
        places = RNG.permutation(len(found.train)).tolist()
        assert {found.train[place] for place in places} | {*found.validation} == {*want}
        assert len({*want}) == 60 and 1 <= len(files) <= 5
        assert count_open() - before < 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_row_groups_of_all_files_share_a_bound(tmp_path, parts):
    for n in range(20):
        table = pa.table({'text': [f'{n} {k} ' + 'x' * 1000 for k in range(100)]})
        pq.write_table(table, tmp_path / f'{n:02}.parquet', row_group_size=20)
    found = load(tmp_path)
    for place in RNG.permutation(len(found.train))[:300].tolist():
        assert found.train[place].endswith('xxx')
    assert 1 <= len(parts) <= 5 and parts.held <= 100_000


def test_packed_files_in_memory_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, 'MEMORY', 100_000)
    held = [arrow._Reader((), (), None) for _ in range(5)]
    monkeypatch.setattr(kept, 'MOST', 10)
    files = Kept(10, kept.FILES._size)
    for n, reader in enumerate(held):
        reader.held = 40_000
        files.of(n, lambda: reader)  # noqa: B023
    assert len(files) == 2


def write_arrow(path, kind, table=TABLE, **options):
    if kind == 'feather':
        return feather.write_feather(table, str(path), chunksize=70, **options)
    new = ipc.new_file if kind == 'file' else ipc.new_stream
    with new(path, table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=70)
    return None


@pytest.mark.parametrize('kind', ['feather', 'file', 'stream'])
@pytest.mark.parametrize('packed', ['lz4', 'zstd', 'uncompressed'])
@pytest.mark.parametrize('table', [TABLE, NAMED, TABLE.slice(0, 0)], ids=['plain', 'dict', 'none'])
def test_rows_of_arrow_are_counted_from_headers(tmp_path, kind, packed, table):
    path = tmp_path / 'a.arrow'
    options = {} if packed == 'uncompressed' and kind != 'feather' else {'compression': packed}
    write_arrow(path, kind, table, **options)
    found = arrow.Arrow(local_file(path))
    assert len(found) == len(table) and list(found.raw()) == table.to_pylist()
    some = found.select(('id',))
    for place in RNG.permutation(len(table))[:20].tolist():
        assert found.fetch(place) == table.slice(place, 1).to_pylist()[0]
        assert some.fetch(place) == {'id': place}
    if kind != 'stream':
        with ipc.open_file(str(path)) as reader:
            want = [reader.get_batch(n).num_rows for n in range(reader.num_record_batches)]
        assert headers.rows_of_file(pa.memory_map(str(path))) == want


@pytest.mark.parametrize('kind', ['feather', 'stream'])
def test_packed_arrow_is_unpacked_no_more_than_asked_for(tmp_path, parts, kind):
    """Ten batches of a column of 2 MB and one of 80 kB: neither is unpacked before it is wanted."""
    wide = pa.table({'text': ['x' * 2000] * 10_000, 'id': range(10_000)})
    path = tmp_path / 'a.arrow'
    if kind == 'feather':
        feather.write_feather(wide, str(path), chunksize=1000)
    else:
        with ipc.new_stream(path, wide.schema, options=ipc.IpcWriteOptions(compression='lz4')) as w:
            w.write_table(wide, max_chunksize=1000)
    before = pa.total_allocated_bytes()
    found = arrow.Arrow(local_file(path))
    assert len(found) == 10_000 and pa.total_allocated_bytes() - before < 500_000
    assert found.fetch(5000)['id'] == 5000
    assert pa.total_allocated_bytes() - before < 5_000_000
    calls, whole = [], arrow._select
    patch = pytest.MonkeyPatch()
    patch.setattr(arrow, '_select', lambda *a: calls.append(1) or whole(*a))
    with patch.context():
        assert [found.fetch(n)['id'] for n in range(5000, 5100)] == list(range(5000, 5100))
    patch.undo()
    assert not calls  # the batch that was used last is at hand


def test_text_of_parquet_that_is_not_utf_8(tmp_path):
    raw = pa.array([b'good', b'bad \xff', b'fine'], pa.binary())
    bad = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    for name, column in (('string', bad), ('binary', raw)):
        path = tmp_path / f'{name}.parquet'
        pq.write_table(pa.table({'text': column}), path)
        with pytest.raises(UserError, match='record 1.*0xff at offset 4'):
            both(load(path))
        assert sorted(both(load(path, encoding_errors='replace')))[0] == 'bad \ufffd'
        found = load(path, bad_records='skip', validation_fraction=0.5)
        assert sorted(both(found)) == ['fine', 'good'] and found.skipped == {'not UTF-8': 1}


def test_a_column_that_is_there_twice(tmp_path):
    table = pa.table([[1], ['a']], names=['text', 'text'])
    with ipc.new_file(tmp_path / 'a.arrow', table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(UserError, match="several columns 'text'"):
        load(tmp_path / 'a.arrow')
