"""Preparing that is killed, that meets a full disk, or another process."""

import os
import subprocess
import sys
import threading

import pytest

from data import prepared
from data.prepared import layout, parts
from data.sources import Corpus
from tests.prepared_kit import BYTES, CORPUS, TEXT, in_memory, prepare, ready, same, tree
from tests.records import RECORDS, tokenizer_of
from transformer.errors import UserError
from transformer.objectives import OBJECTIVES

# Records of which nothing is learnt.
LEFT_OUT = {'text': ['', ''], 'chat': [[{'role': 'user', 'content': 'hello'}]]}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(layout, 'PART', 20_000)


def test_killed_at_some_moments(tmp_path):
    killed_at(tmp_path, 1, 23)


@pytest.mark.slow
def test_killed_at_every_moment(tmp_path):
    killed_at(tmp_path, 1, 1)


def killed_at(root, first, step):
    """Whenever a process is killed, the next one ends with the same files."""
    command = [sys.executable, '-m', 'tests.prepared_kit', str(root), str(first), str(step)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert not done.returncode, done.stderr
    last = int(done.stdout)
    assert last > 60
    prepare(root / 'whole')
    whole = tree(root / 'whole')
    assert len(whole) > 8
    numbers = range(first, last + 1, step)
    for number in numbers:
        got = tree(root / str(number))
        # One that was killed before its recipe was whole leaves the number of its directory.
        assert sorted(got.values()) == sorted(whole.values()) or shifted(got) == shifted(whole)
    same(prepared.open(root / str(first), '', 'train'), in_memory(CORPUS))


def shifted(files):
    return {
        name.replace('data/2/', 'data/1/'): value
        for name, value in files.items()
        if 'manifest' not in name
    }


def test_goes_on_after_the_last_whole_part(tmp_path, monkeypatch):
    """What is whole is neither encoded nor written again."""
    calls, close = [], parts.PartWriter.close

    def fail(self, *args, **kwargs):
        calls.append(self._part)
        if len(calls) == 4:
            raise OSError('interrupted')
        return close(self, *args, **kwargs)

    monkeypatch.setattr(parts.PartWriter, 'close', fail)
    with pytest.raises(OSError, match='interrupted'):
        ready(tmp_path)
    ready(tmp_path)
    assert calls[:5] == [0, 1, 2, 3, 3]


@pytest.mark.parametrize('after', [0, 3, 9])
def test_a_full_disk(tmp_path, monkeypatch, after):
    """It is said, nothing half written counts, and with room again it goes on."""
    written = []

    class Full(parts.ArrayRecordWriter):
        def write(self, record):
            written.append(1)
            if len(written) > after:
                raise RuntimeError('write() failed: No space left on device')
            super().write(record)

    with monkeypatch.context() as patch:
        patch.setattr(parts, 'ArrayRecordWriter', Full)
        with pytest.raises(UserError, match=r'cannot write .*array_record.*No space.*goes on'):
            ready(tmp_path)
        with pytest.raises(UserError, match='holds no prepared data'):
            prepared.open(tmp_path, '', 'train')
    same(ready(tmp_path)['train'], in_memory(CORPUS))


def test_a_full_disk_that_the_library_does_not_tell_of(tmp_path, monkeypatch):
    class Silent(parts.ArrayRecordWriter):
        def close(self):
            super().close()
            path = sorted(tmp_path.rglob('*.array_record.new'))[-1]
            os.truncate(path, path.stat().st_size // 2)

    with monkeypatch.context() as patch:
        patch.setattr(parts, 'ArrayRecordWriter', Silent)
        with pytest.raises(UserError, match=r'cannot write .*0 of \d+ records'):
            ready(tmp_path)
    same(ready(tmp_path)['train'], in_memory(CORPUS))


def test_a_file_that_may_not_grow(tmp_path):
    """The system's own limit, through the library."""
    code = f"""if True:
        import resource, signal
        from data.prepared import layout
        from tests.prepared_kit import prepare
        layout.PART = 20_000
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, resource.RLIM_INFINITY))
        try:
            prepare({str(tmp_path)!r})
        except Exception as error:
            print(type(error).__name__, error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        prepare({str(tmp_path)!r})
    """
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    assert done.stdout.startswith('UserError cannot write')
    assert 'File too large' in done.stdout
    same(prepared.open(tmp_path, '', 'train'), in_memory(CORPUS))


@pytest.mark.parametrize('replace', [False, True])
def test_two_at_a_time(tmp_path, replace):
    """The second one waits, says so, and finds the data."""
    from data.prepared.lock import locked

    lines, found = [], []
    options = {'report': lines.append, 'replace': replace}
    worker = threading.Thread(target=lambda: found.append(ready(tmp_path, **options)['train']))
    with locked(tmp_path, print):
        worker.start()
        while not lines:
            pass
        assert 'is being prepared by process' in lines[0]
        prepare_like(tmp_path)
    worker.join()
    same(found[0], in_memory(CORPUS))
    assert len(lines) == 1


def prepare_like(root):
    """As `ready` does within the lock."""
    from data.prepared import sets
    from transformer.data_config import DataConfig

    config = DataConfig(tokenizer='bytes', vocab=0, prepared=str(root), path='some')
    arguments = config, TEXT, {'': CORPUS}, BYTES
    made_of = sets._recipes(*arguments)
    sets._prepare(root, *arguments, made_of, False, lambda line: None)


@pytest.mark.parametrize('kind', ['text', 'pairs', 'classes', 'tags', 'chat'])
def test_every_kind_of_record_goes_on(tmp_path, monkeypatch, kind):
    """Interrupted after each part; counts of what is left out are those of one pass."""
    objective = {one.RECORDS: one for one in OBJECTIVES.values()}[kind]()
    tokenizer = tokenizer_of(objective, 'bytes')
    chosen = [*RECORDS[kind], *LEFT_OUT.get(kind, ())] * 3
    corpus = Corpus(kind, chosen, chosen[:2], classes=('a', 'b', 'c'))
    monkeypatch.setattr(layout, 'PART', 1000)
    close, interrupted = parts.PartWriter.close, 0

    def interrupt(self, *args, **kwargs):
        made = close(self, *args, **kwargs)
        if not made['last']:
            raise KeyboardInterrupt
        return made

    with monkeypatch.context() as patch:
        patch.setattr(parts.PartWriter, 'close', interrupt)
        while True:
            try:
                found = ready(tmp_path, corpus, objective, tokenizer)['train']
                break
            except KeyboardInterrupt:
                interrupted += 1
    assert interrupted > 2
    same(found, in_memory(corpus, objective, tokenizer=tokenizer))
    if kind in LEFT_OUT:
        assert sum(found.skipped.values()) == 3 * len(LEFT_OUT[kind])
