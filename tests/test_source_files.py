"""Which files a path means, which split they belong to, and how changes are noticed."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import sources
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError
from transformer.objectives import NextToken

RECORDS = [{'id': n, 'text': f'text {n}'} for n in range(1000)]


def load(path, **fields):
    return sources.load(SourceConfig(path=str(path), **fields), NextToken())


def json_lines(records):
    return ''.join(json.dumps(record) + '\n' for record in records).encode()


def parquet(path):
    pq.write_table(pa.Table.from_pylist(RECORDS), path)


def tree(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(json_lines([{'text': name}] * 2))
    return root


def texts(corpus):
    return [sorted(set(corpus.texts(split))) for split in ('train', 'validation', 'test')]


def test_files_by_split(tmp_path):
    root = tree(tmp_path, 'train-0-of-2.jsonl', 'train-1-of-2.jsonl', 'validation.jsonl')
    tree(tmp_path, 'README.jsonl', '.hidden/a.jsonl', 'extra.jsonl')
    trains = ['train-0-of-2.jsonl', 'train-1-of-2.jsonl']
    assert texts(load(root)) == [trains, ['validation.jsonl'], []]
    assert texts(load(root, test_split='extra')) == [trains, ['validation.jsonl'], ['extra.jsonl']]
    with pytest.raises(ConfigError, match='extra, train, validation') as raised:
        load(root, validation_split='dev')
    assert raised.value.field == 'data.validation_split'
    with pytest.raises(ConfigError, match='test_split'):
        load(root, test_split='tests')
    with pytest.raises(ConfigError, match='train_split'):
        load(root, train_split='learn')


def test_folders_by_split_and_only_training_files(tmp_path):
    root = tree(tmp_path / 'a', 'train/x/1.jsonl', 'train/2.jsonl', 'validation/3.jsonl')
    assert texts(load(root))[:2] == [['train/2.jsonl', 'train/x/1.jsonl'], ['validation/3.jsonl']]
    root = tree(tmp_path / 'b', 'train-a.jsonl', 'test.jsonl')
    with pytest.raises(ConfigError, match='validation_split'):  # is the test split it, or not
        load(root)
    found = load(root, test_split='test', validation_fraction=0.5)
    assert (len(found.train), len(found.validation), len(found.test)) == (1, 1, 2)
    root = tree(tmp_path / 'c', 'training.jsonl', 'trainer.jsonl')  # letters follow: no splits
    assert len(load(root, validation_fraction=0.25).train) == 3


@pytest.mark.parametrize('names', [['a.jsonl'], ['a.jsonl', 'b.jsonl'], ['train-0.jsonl']])
@pytest.mark.parametrize('split', ['train', 'validation', 'test'])
def test_a_split_of_another_name_must_be_there(tmp_path, names, split):
    root = tree(tmp_path, *names)
    assert len(load(root, validation_fraction=0.5).train) == len(names)
    field, known = f'{split}_split', names[0].partition('.')[0].partition('-')[0]
    for path in (root, *(root / name for name in names[:1])):
        with pytest.raises(ConfigError, match=f'beginnings of names in .*{known}') as raised:
            load(path, **{field: 'devel'})
        assert raised.value.field == f'data.{field}'


def test_a_text_file_has_no_splits_of_other_names(tmp_path):
    (tmp_path / 'a.txt').write_text('some text')
    for split in ('train', 'validation', 'test'):
        with pytest.raises(ConfigError, match='a$') as raised:
            load(tmp_path / 'a.txt', **{f'{split}_split': 'devel'})
        assert raised.value.field == f'data.{split}_split'


def test_globs_lists_and_what_is_not_there(tmp_path, monkeypatch):
    tree(tmp_path, 'a/1.jsonl', 'a/b/2.jsonl', 'a/3.txt', 'c,d.jsonl')
    monkeypatch.chdir(tmp_path)
    share = {'validation_fraction': 0.5}
    assert {*texts(load('a/**/*.jsonl', **share))[0]} == {'a/1.jsonl', 'a/b/2.jsonl'}
    assert {*texts(load(tmp_path / 'a/*.jsonl', **share))[0]} == {'a/1.jsonl'}
    assert {*texts(load('c,d.jsonl', **share))[0]} == {'c,d.jsonl'}
    assert len(load('a/1.jsonl,a/*.jsonl', **share).train) == 1  # none twice
    with pytest.raises(ConfigError, match=r'jsonl \(1\.jsonl\), text \(3\.txt\)') as raised:
        load('a')
    assert raised.value.field == 'data.format'
    assert len(load('a', format='jsonl', **share).files()) == 2
    for path in ('none.jsonl', 'a/1.jsonl,none.jsonl', 'none*.jsonl', 'a/*.parquet', 'a,,c'):
        with pytest.raises(ConfigError) as raised:
            load(path)
        assert raised.value.field == 'data.path'
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ConfigError, match='empty has no files'):
        load('empty')


def test_addresses(tmp_path):
    fsspec = pytest.importorskip('fsspec')
    system = fsspec.filesystem('memory')
    for name in ('train-0.jsonl', 'validation.jsonl.gz', '.hidden.jsonl'):
        raw = json_lines([{'text': name}] * 3)
        system.pipe(f'/bucket/{name}', gzip.compress(raw) if name.endswith('gz') else raw)
    parquet(tmp_path / 'a.parquet')
    system.pipe('/other/a.parquet', (tmp_path / 'a.parquet').read_bytes())
    found = load('memory://bucket')
    assert texts(found)[:2] == [['train-0.jsonl'], ['validation.jsonl.gz']]
    assert found.train[2] == 'train-0.jsonl' and found.validation[2] == 'validation.jsonl.gz'
    assert found.files() == list(found.origin) and len(found.files()[0].digest()) == 32
    assert list(load('memory://other/*.parquet').validation) == [
        *load(tmp_path / 'a.parquet').validation
    ]
    with pytest.raises(ConfigError, match='nothing is at memory://none'):
        load('memory://none/x.jsonl')
    with pytest.raises(UserError, match='nothing://x'):
        load('nothing://x/y.jsonl')


def test_files_say_when_they_changed(tmp_path):
    path = tmp_path / 'a.jsonl'
    path.write_bytes(json_lines(RECORDS[:10]))
    found = load(path)
    (before,) = found.files()
    assert (before.name, before.size) == (str(path), path.stat().st_size)
    digest = before.digest()
    path.write_bytes(json_lines(RECORDS[:9] + RECORDS[10:11]))
    (after,) = found.files()
    assert after != before and after.digest() != digest
    path.unlink()
    with pytest.raises(UserError, match='No such file'):
        found.files()
