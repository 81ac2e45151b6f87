"""Prepared data: the same integers as in memory, whatever happens while they are made."""

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from data import prepared
from data.prepared import layout
from data.prepared.readers import READERS
from data.sources import Corpus
from tests.prepared_kit import (
    CORPUS,
    PAIRS,
    SIDES,
    TEXT,
    in_memory,
    prepare,
    ready,
    same,
)
from transformer.errors import UserError


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(layout, 'PART', 20_000)


@pytest.fixture
def train(tmp_path):
    return ready(tmp_path)['train']


def shards(root):
    return sorted(root.rglob('*.array_record'))


@pytest.mark.parametrize('corpus, objective', [(CORPUS, TEXT), (PAIRS, SIDES)])
def test_the_same_as_in_memory(tmp_path, corpus, objective):
    found = ready(tmp_path, corpus, objective)
    splits = [name for name in layout.SPLITS if getattr(corpus, name) is not None]
    assert list(found) == splits
    for split in splits:
        same(found[split], in_memory(corpus, objective, split))
    assert len(shards(tmp_path)) > 5
    kept = {path.name for path in tmp_path.rglob('*') if path.is_file()}
    assert not [name for name in kept if name.endswith(('.new', '.starts')) or 'part-' in name]


def test_any_range_of_integers(train):
    column, whole = train['tokens'], in_memory(CORPUS)['tokens']
    rng = np.random.default_rng(0)
    ranges = np.sort(rng.integers(0, column.size + 1, (400, 2)), axis=1)
    borders = [n * layout.CHUNK + d for n in range(3) for d in (-1, 0, 1)]
    for begin, end in [
        *ranges,
        (0, 0),
        (column.size,) * 2,
        *((b, b + 2) for b in borders if b > 0),
    ]:
        assert np.array_equal(column.read(begin, end), whole.read(begin, end))
    assert [column[n].tolist() for n in range(5)] == [whole[n].tolist() for n in range(5)]


def test_what_is_read_cannot_be_changed(train):
    """It may be shared with the next reader."""
    with pytest.raises(ValueError, match='read-only'):
        train['tokens'].read(0, 10)[0] = 1


def test_threads_and_processes_share_a_column(train, monkeypatch):
    READERS.clear()
    monkeypatch.setattr(READERS, '_limit', 2)
    column, whole = train['tokens'], in_memory(CORPUS)['tokens']
    copy, wrong = pickle.loads(pickle.dumps(train)), []
    assert len(pickle.dumps(train)) < 3000
    same(copy, in_memory(CORPUS))

    def read(seed):
        rng = np.random.default_rng(seed)
        for begin in rng.integers(0, column.size - 1500, 500):
            got = column.read(begin, begin + 1500)
            if not np.array_equal(got, whole.read(begin, begin + 1500)):
                wrong.append(begin)

    workers = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    assert len(READERS) <= 2


def test_open_files_are_bounded(train, monkeypatch):
    READERS.clear()
    monkeypatch.setattr(READERS, '_limit', 3)
    before = len(list(Path('/proc/self/fd').iterdir()))
    column = train['tokens']
    for begin in range(0, column.size, 1000):
        column.read(begin, begin + 1)
    assert len(column._shards) > 3
    assert len(list(Path('/proc/self/fd').iterdir())) <= before + 3


def test_a_second_time_does_nothing(tmp_path):
    lines = []
    ready(tmp_path, report=lines.append)
    assert len(lines) == 1
    assert str(tmp_path) in lines[0]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    ready(tmp_path, report=lines.append)
    assert len(lines) == 1
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    assert prepare(tmp_path / 'other')
    assert not prepare(tmp_path / 'other')


def test_a_directory_that_cannot_be_written_to_is_opened(tmp_path, monkeypatch):
    ready(tmp_path)

    def refuse(*args, **kwargs):
        raise AssertionError('a lock was taken')

    monkeypatch.setattr('fcntl.flock', refuse)
    same(ready(tmp_path)['train'], in_memory(CORPUS))


def test_a_damaged_record_is_named(tmp_path):
    found = ready(tmp_path)['train']
    path = shards(tmp_path / 'data' / '1' / 'train')[1]
    raw = bytearray(path.read_bytes())
    raw[5000] ^= 16
    READERS.clear()
    path.write_bytes(raw)
    opened = prepared.open(tmp_path, '', 'train')
    with pytest.raises(UserError, match=f'{path.name} is damaged.*hash mismatch.*--replace'):
        opened['tokens'].read(0, found['tokens'].size)
    with pytest.raises(UserError, match=f'{path.name} is damaged'):
        prepared.verify(tmp_path, '')
    same(ready(tmp_path, replace=True)['train'], in_memory(CORPUS))
    assert prepared.verify(tmp_path, '') > 0


@pytest.mark.parametrize('name', ['tokens-00001.array_record', 'tokens.starts.npy'])
@pytest.mark.parametrize('how', ['gone', 'short', 'flipped'])
def test_a_damaged_file_is_named_when_it_is_opened(tmp_path, name, how):
    ready(tmp_path)
    path = tmp_path / 'data' / '1' / 'train' / name
    if how == 'gone':
        path.unlink()
    elif how == 'short':
        os.truncate(path, path.stat().st_size // 2)
    else:
        raw = bytearray(path.read_bytes())
        raw[-9] ^= 1
        path.write_bytes(raw)
        if name.endswith('.array_record'):  # padding: only `verify` looks at it
            with pytest.raises(UserError, match=f'{name} is damaged'):
                prepared.verify(tmp_path, '')
            return
    with pytest.raises(UserError, match=f'{name} is damaged.*--replace'):
        ready(tmp_path)


@pytest.mark.parametrize('text', ['{', '[]', '{"format": 99}'])
def test_a_damaged_manifest_is_refused_and_replaced(tmp_path, text):
    ready(tmp_path)
    (tmp_path / 'data' / 'manifest.json').write_text(text)
    with pytest.raises(UserError, match='manifest.json.*--replace'):
        ready(tmp_path)
    same(ready(tmp_path, replace=True)['train'], in_memory(CORPUS))


def test_no_records_in_a_split(tmp_path):
    corpus = Corpus('empty', ['a', ''], [])
    found = ready(tmp_path, corpus)
    same(found['validation'], in_memory(corpus, split='validation'))
    same(found['train'], in_memory(corpus))
    assert dict(found['train'].skipped) == {'empty document': 1}


def test_records_in_memory_count_as_they_are(tmp_path):
    ready(tmp_path, Corpus('x', ['some text'], ['b']))
    with pytest.raises(UserError, match='records has changed'):
        ready(tmp_path, Corpus('x', ['same text'], ['b']))


def test_opening_ten_billion_tokens(tmp_path):
    """By arithmetic: nothing is read that grows with the tokens."""
    done = subprocess.run(
        [sys.executable, '-m', 'benchmarks.open_many', str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert not done.returncode, done.stderr
    seconds, mebibytes = map(float, done.stdout.split())
    assert mebibytes < 200
    assert seconds < 60  # two seconds at most on a machine that does nothing else
