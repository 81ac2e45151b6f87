"""What is set and not read is refused, for each kind of record and each place that has them."""

import dataclasses
import gzip
import json

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from data import sources
from data.sources import options
from transformer.data_config import DataConfig, SourceConfig
from transformer.errors import ConfigError, UserError
from transformer.experiment import Experiment, default_config
from transformer.objectives import OBJECTIVES

RECORD = {
    'text': 'some text',
    'de': 'ein Text',
    'en': 'a text',
    'tokens': ['a', 'b'],
    'tags': ['O', 'B'],
    'messages': [{'role': 'user', 'content': 'Hi'}],
}
RECORDS = [RECORD | {'text': f'text {n}', 'label': n % 2} for n in range(20)]
OBJECTIVE_OF = {objective.RECORDS: objective() for objective in OBJECTIVES.values()}
# What each field may be set to, so that it would do something.
OTHER = {
    'documents': 'line',
    'directory': 'somewhere',
    'train_split': 'learn',
    'validation_split': 'dev',
    'test_split': 'test',
    'text_field': 'words',
    'label_field': 'class',
    'encoding': 'latin-1',
    'encoding_errors': 'replace',
    'prefix': 'say: ',
    'bad_records': 'skip',
}


def load(records, path, **fields):
    return sources.load(SourceConfig(path=str(path), **fields), OBJECTIVE_OF[records])


def table(folder, name):
    path = folder / name
    if name.endswith(('.parquet', '.feather')):
        PIL.Image.new('L', (4, 4)).save(folder / '.x.png')
        image = (folder / '.x.png').read_bytes()
        found = pa.Table.from_pylist([record | {'image': image} for record in RECORDS])
        (pq.write_table if name.endswith('.parquet') else feather.write_feather)(found, str(path))
    elif name.endswith('.tsv'):
        lines = [f'{r["text"]}\t{r["label"]}\t{r["de"]}\t{r["en"]}\n' for r in RECORDS]
        path.write_text('text\tlabel\tde\ten\n' + ''.join(lines))
    else:
        path.write_text(''.join(json.dumps(record) + '\n' for record in RECORDS))
    return path


def made(folder, way):
    """A place of each kind without splits, and the records that it has."""
    if way in options.TABLES:
        ends = {'jsonl': 'jsonl', 'tsv': 'tsv', 'parquet': 'parquet', 'arrow': 'feather'}
        return table(folder, f'a.{ends[way]}')
    if way == 'one text file':
        (folder / 'a.txt').write_text('some text')
        return folder / 'a.txt'
    if way == 'a CoNLL file':
        (folder / 'a.txt').write_text('a O\n\nb B\n\nc O\n')
        return folder / 'a.txt'
    if way == 'CoNLL files by split':
        for name in ('train', 'validation'):
            (folder / f'{name}.txt').write_text('a O\n\nb B\n')
    elif way == 'two files a split':
        for name in ('train', 'validation'):
            for side in ('de', 'en'):
                (folder / f'{name}.{side}.gz').write_bytes(gzip.compress(b'a\nb\n'))
    elif way.startswith('folders of images'):
        for split in ('train', 'validation') if 'split' in way else ('.',):
            for n in range(4):
                place = folder / split / 'ab'[n % 2]
                place.mkdir(parents=True, exist_ok=True)
                PIL.Image.new('L', (4, 4), n).save(place / f'{n}.png')
    else:
        for name in ('pos', 'neg'):
            (folder / f'{name}.txt').write_text(''.join(f'{name} {n}\n' for n in range(5)))
    return folder


CASES = [
    *((records, way) for way in ('parquet', 'arrow') for records in OBJECTIVE_OF),
    *((records, 'jsonl') for records in OBJECTIVE_OF if records != 'images'),
    *((records, 'tsv') for records in ('text', 'pairs', 'classes')),
    ('text', 'one text file'),
    ('text', 'text files'),
    ('tags', 'a CoNLL file'),
    ('tags', 'CoNLL files by split'),
    ('pairs', 'two files a split'),
    ('classes', 'a file a class'),
    ('images', 'folders of images'),
    ('images', 'folders of images by split'),
]


@pytest.mark.parametrize(('records', 'way'), CASES)
def test_what_is_not_read_is_refused(tmp_path, records, way):
    path = made(tmp_path, way)
    assert len(load(records, path).train)
    named = options.RECORDS[records][1] if way in options.TABLES else ()
    read = {*{**options.TABLES, **options.OTHERS}[way], *named}
    for field, value in OTHER.items():
        if field in read:
            continue
        with pytest.raises(ConfigError) as raised:
            load(records, path, **{field: value})
        assert raised.value.field == f'data.{field}' and raised.value.value == value
        assert repr(getattr(SourceConfig, field)) in raised.value.accepted


@pytest.mark.parametrize('records', ['text', 'classes', 'tags'])
@pytest.mark.parametrize('end', ['jsonl', 'parquet'])
def test_a_share_is_not_asked_for_where_there_is_a_validation_split(tmp_path, records, end):
    for name in ('train', 'validation'):
        table(tmp_path, f'{name}.{end}')
    assert len(load(records, tmp_path).train) == 20
    with pytest.raises(ConfigError, match='nothing is held out') as raised:
        load(records, tmp_path, validation_fraction=0.3)
    assert raised.value.field == 'data.validation_fraction'


def test_the_tables_name_fields_of_the_config():
    known = {field.name for field in dataclasses.fields(SourceConfig)}
    for ways in (options.TABLES, options.OTHERS):
        assert all(set(fields) <= known for fields in ways.values())
    assert set(options.RECORDS) == set(OBJECTIVE_OF) == set(sources.LOADERS)
    assert set(OTHER) == known - {*options.ALWAYS, 'format', 'validation_fraction'}


@pytest.mark.parametrize('records', ['classes', 'tags', 'chat', 'text', 'pairs'])
def test_binary_columns_are_decoded_as_asked(tmp_path, records):
    bad = {
        'text': b'a \xff',
        'label': b'x \xff',
        'de': b'a \xff',
        'en': b'b',
        'tokens': [b'a \xff', b'b'],
        'tags': [b'O \xff', b'B'],
        'messages': [{'role': b'user', 'content': b'a \xff'}],
    }
    rows = [bad, bad | {'label': b'y'}] * 4
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / 'a.parquet')
    with pytest.raises(UserError, match='record .*is not UTF-8: byte 0xff at offset 2.*replace'):
        found = load(records, tmp_path / 'a.parquet')
        list(found.train), list(found.validation)
    found = load(records, tmp_path / 'a.parquet', encoding_errors='replace')
    assert any('\ufffd' in text for text in found.texts())


def test_digits_and_zips_have_no_format():
    pytest.importorskip('sklearn')
    with pytest.raises(ConfigError) as raised:
        config = SourceConfig(dataset='sklearn_digits', format='parquet')
        sources.load(config, OBJECTIVE_OF['images'])
    assert raised.value.field == 'data.format'


# Fields of DataConfig


@pytest.mark.parametrize(
    ('fields', 'records'),
    [
        *(({'packing': how}, 'classes') for how in ('first_fit', 'best_fit')),
        ({'packing': 'best_fit'}, 'tags'),
        ({'packing': 'best_fit'}, 'images'),
        ({'tokenizer': 'unigram'}, 'images'),
        ({'vocab': 1000}, 'images'),
        ({'lowercase': True}, 'images'),
        ({'prepared': 'somewhere'}, 'images'),
    ],
)
def test_what_an_objective_does_not_read_is_refused(fields, records):
    ((name, value),) = fields.items()
    with pytest.raises(ConfigError) as raised:
        DataConfig(**fields).refuse_unread(records)
    assert (raised.value.field, raised.value.value) == (f'data.{name}', value)
    for other in ('text', 'pairs', 'chat'):
        DataConfig(**fields).refuse_unread(other)
    objective = OBJECTIVE_OF[records]
    config = default_config(objective.SHAPE, objective.kind)
    Experiment.from_config(config)
    config.data.update(fields)
    with pytest.raises(ConfigError, match=f'config.data.{name}='):
        Experiment.from_config(config)


def test_commas_are_no_table_that_is_guessed(tmp_path):
    path = tmp_path / 'data.csv'
    path.write_text('text,label\n' + 'some text,1\n' * 20)
    objective = OBJECTIVE_OF['text']
    with pytest.raises(ConfigError, match="data.format='auto' .*data.csv 'text', to read it as"):
        sources.load(SourceConfig(path=str(path)), objective)
    found = sources.load(SourceConfig(path=str(path), format='text'), objective)
    assert found.train[0].startswith('text,label')
