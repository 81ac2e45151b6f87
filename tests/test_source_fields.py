"""Pairs and classes out of tables; TFDS folders; Hugging Face."""

import pickle
import sys
import types

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds

from data.builders import BUILDERS
from tests.source_kit import both, load, write
from transformer.errors import ConfigError, UserError
from transformer.objectives import (
    Classification,
    NextToken,
    Seq2Seq,
    TokenClassification,
)

CHAT = types.SimpleNamespace(RECORDS='chat')


@pytest.fixture(params=['a.parquet', 'a.jsonl'])
def path(request, tmp_path):
    return tmp_path / request.param


# Pairs


@pytest.mark.parametrize('nested', [False, True])
def test_pairs_of_tables(path, nested):
    pairs = [(f'Haus {n} ', f'House {n}') for n in range(10)]
    records = [{'de': de, 'en': en, 'id': 1} for de, en in pairs]
    write(path, [{'translation': record} for record in records] if nested else records)
    found = load(Seq2Seq(), path)
    assert sorted(both(found)) == sorted((de.strip(), en) for de, en in pairs)
    turned = load(Seq2Seq(source='en', target='de', lowercase=True), path)
    assert ('house 3', 'haus 3') in both(turned)
    with pytest.raises(UserError, match='fr.*de.*en'):
        both(load(Seq2Seq(source='de', target='fr'), path))


# Classes


def test_classes_of_tables(path):
    write(path, [{'review': f'text {n}', 'stars': n % 3 + 9} for n in range(30)])
    options = {'text_field': 'review', 'label_field': 'stars'}
    found = load(Classification(), path, **options)
    assert found.classes == ('9', '10', '11')
    assert sorted(both(found)) == sorted((f'text {n}', n % 3) for n in range(30))
    assert [found.train[n] for n in range(len(found.train))] == list(found.train)
    assert list(pickle.loads(pickle.dumps(found)).train) == list(found.train)
    assert np.bincount([label for _, label in found.validation]).tolist() == [1, 1, 1]
    with pytest.raises(UserError, match='label'):
        load(Classification(), path, text_field='review')


def test_bad_records_with_classes_are_skipped_and_counted(tmp_path):
    records = [{'text': f'{n}', 'label': 'ab'[n % 2]} for n in range(10)]
    records[3] = {'text': 'no label'}
    write(tmp_path / 'a.jsonl', records)
    with pytest.raises(UserError, match=r'line 4: label=None is no class'):
        load(Classification(), tmp_path / 'a.jsonl')
    found = load(Classification(), tmp_path / 'a.jsonl', bad_records='skip')
    want = sorted((f'{n}', n % 2) for n in range(10) if n != 3)
    assert sorted(both(found)) == want and found.skipped == {'no class': 1}
    assert (
        sorted(side[n] for side in (found.train, found.validation) for n in range(len(side)))
        == want
    )


# TFDS by folder


class Mixed(tfds.core.GeneratorBasedBuilder):
    """Everything a text objective may want."""

    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
        features = {
            'text': tfds.features.Text(),
            'label': tfds.features.ClassLabel(names=['no', 'yes']),
            'de': tfds.features.Text(),
            'en': tfds.features.Text(),
            'tokens': tfds.features.Sequence(tfds.features.Text()),
            'tags': tfds.features.Sequence(tfds.features.ClassLabel(names=['O', 'B'])),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, manager):
        return {'train': self._generate_examples(0, 8), 'validation': self._generate_examples(8, 9)}

    def _generate_examples(self, first, last):
        for n in range(first, last):
            yield (
                n,
                {
                    'text': f'text {n}',
                    'label': n % 2,
                    'de': f'Text {n}',
                    'en': f'text {n}',
                    'tokens': ['a', f'{n}'],
                    'tags': [0, 1],
                },
            )


@pytest.mark.filterwarnings('ignore')
def test_a_tfds_folder(tmp_path, monkeypatch):
    monkeypatch.setitem(BUILDERS, 'mixed', Mixed)
    made = load(NextToken(), dataset='mixed', directory=str(tmp_path))
    folder = tmp_path / 'mixed' / '1.0.0'
    monkeypatch.delitem(BUILDERS, 'mixed')
    for place in ({'path': folder}, {'path': tmp_path / 'mixed'}, {'dataset': str(folder)}):
        found = load(NextToken(), **place)
        assert list(found.train) == list(made.train) and list(found.validation) == ['text 8']
    assert {'features.json', 'dataset_info.json'} < {f.name.split('/')[-1] for f in found.files()}
    found = load(Classification(), folder)
    assert found.classes == ('no', 'yes') and list(found.validation) == [('text 8', 0)]
    assert list(load(Seq2Seq(), folder).validation) == [('Text 8', 'text 8')]
    found = load(TokenClassification(), folder)
    assert found.classes == ('O', 'B') and list(found.validation) == [(('a', '8'), (0, 1))]
    with pytest.raises(ConfigError, match='fields of .*text'):
        load(NextToken(), folder, text_field='txt')
    with pytest.raises(ConfigError, match='splits of mixed: '):
        load(NextToken(), folder, train_split='learn')
    shard = next(folder.glob('*train*'))
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(UserError):
        list(load(NextToken(), folder).train)


@pytest.mark.filterwarnings('ignore')
def test_of_tfds_without_a_validation_split_a_share_is_held_out(tmp_path, monkeypatch):
    only = lambda self, manager: {'train': self._generate_examples(0, 20)}  # noqa: E731
    monkeypatch.setattr(Mixed, '_split_generators', only)
    monkeypatch.setitem(BUILDERS, 'mixed', Mixed)
    found = load(NextToken(), dataset='mixed', directory=str(tmp_path))
    assert sorted(both(found)) == sorted(f'text {n}' for n in range(20))
    assert (len(found.train), len(found.validation)) == (18, 2)
    again = load(NextToken(), tmp_path / 'mixed' / '1.0.0')
    assert list(again.validation) == list(found.validation)
    found = load(Classification(), tmp_path / 'mixed')
    assert sorted(label for _, label in found.validation) == [0, 1]
    with pytest.raises(ConfigError, match='splits of mixed: train') as raised:
        load(NextToken(), tmp_path / 'mixed', validation_split='dev')
    assert raised.value.field == 'data.validation_split'


@pytest.mark.filterwarnings('ignore')
def test_a_tfds_name_that_is_not_one(tmp_path):
    with pytest.raises(ConfigError, match='nearest: imdb_reviews'):
        load(NextToken(), dataset='imdb_review', directory=str(tmp_path))
    with pytest.raises(ConfigError, match='a folder that TFDS made'):
        load(NextToken(), tmp_path, format='tfds')
    with pytest.raises(ConfigError, match='no such folder') as raised:
        load(NextToken(), dataset=str(tmp_path / 'my_texts' / '1.0.0'))
    assert raised.value.field == 'data.dataset'


@pytest.mark.filterwarnings('ignore')
def test_a_download_without_a_network_ends_soon(tmp_path, monkeypatch):
    asked = []

    def get(session, url, timeout=None, **others):
        asked.append((timeout, session.adapters['http://'].max_retries.total))
        request = requests.Request('GET', url).prepare()
        raise requests.exceptions.ConnectionError('a long story', request=request)

    monkeypatch.setattr(requests.Session, 'get', get)
    with pytest.raises(UserError, match='no network.*config.data.path=FILE') as raised:
        load(NextToken(), dataset='imdb_reviews', directory=str(tmp_path))
    assert 'no connection to ai.stanford.edu.' in str(raised.value)
    assert 'story' not in str(raised.value)
    assert asked and all(timeout <= 20 and retries <= 1 for timeout, retries in asked)
    with pytest.raises(ConfigError, match="data.format='hf'"):
        load(NextToken(), dataset='huggingface:ag_news')


# Hugging Face


def test_hugging_face_without_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'datasets', None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[datasets\]'"):
        load(NextToken(), dataset='x/y', format='hf')


@pytest.mark.filterwarnings('ignore')
def test_hugging_face_data_sets(tmp_path):
    datasets = pytest.importorskip('datasets')
    names = datasets.ClassLabel(names=['no', 'yes'])
    features = datasets.Features({'text': datasets.Value('string'), 'label': names})
    columns = {'text': [f'text {n}' for n in range(20)], 'label': [n % 2 for n in range(20)]}
    made = datasets.Dataset.from_dict(columns, features=features)
    made.save_to_disk(tmp_path / 'one')
    for options in ({}, {'format': 'hf'}):
        found = load(NextToken(), tmp_path / 'one', **options)
        assert sorted(both(found)) == sorted(columns['text']) and len(found.validation) == 2
        assert found.train[3] == list(found.train)[3]
    assert load(NextToken(), tmp_path / 'one').files()[0].digest() == found.files()[0].digest()
    both_splits = datasets.DatasetDict({'train': made, 'dev': made.select(range(3))})
    both_splits.save_to_disk(tmp_path / 'two')
    found = load(Classification(), tmp_path / 'two', validation_split='dev')
    assert found.classes == ('no', 'yes')
    assert list(found.validation) == [('text 0', 0), ('text 1', 1), ('text 2', 0)]
    with pytest.raises(ConfigError, match='splits of .*: train, dev'):
        load(NextToken(), tmp_path / 'two', test_split='test')
    with pytest.raises(ConfigError, match='text, label'):
        load(NextToken(), tmp_path / 'one', text_field='txt')
    with pytest.raises(ConfigError, match='Hugging Face datasets can load here'):
        load(NextToken(), tmp_path / 'none', format='hf')
