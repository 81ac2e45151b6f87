"""Texts, words and images with classes from files and data sets, and what is refused of them."""

import io
import json
import sys
import zipfile

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds

from data import sources
from data.builders import BUILDERS
from transformer.data_config import DataConfig
from transformer.errors import ConfigError, UserError
from transformer.objectives import Classification, ImageClassification, TokenClassification


def load(objective, **fields):
    return sources.load(DataConfig(**fields), objective)


def write(directory, files):
    for name, lines in files.items():
        (directory / name).write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
    return str(directory)


# Classes

GOOD, BAD = [f'good {i}' for i in range(30)], [f'bad {i}' for i in range(20)]


@pytest.mark.parametrize('names', [('r.pos', 'r.neg'), ('pos.txt', 'neg.txt')])
@pytest.mark.parametrize('zipped', [False, True])
def test_a_file_a_class(tmp_path, names, zipped):
    folder = tmp_path / 'reviews'
    folder.mkdir()
    write(folder, {names[0]: [*GOOD[:-1], 'caf\x85e'], names[1]: BAD, 'README.txt': ['not text']})
    (folder / names[0]).write_bytes((folder / names[0]).read_text().encode('latin-1'))
    if zipped:
        with zipfile.ZipFile(tmp_path / 'reviews.zip', 'w') as archive:
            for file in folder.iterdir():
                archive.write(file, f'reviews/{file.name}')
    path = str(tmp_path / 'reviews.zip') if zipped else str(folder)
    found = load(Classification(), path=path, encoding='latin-1', validation_fraction=0.2)
    assert found.classes == ('neg', 'pos')
    assert sorted(found.train + found.validation) == sorted(
        [(text, 1) for text in [*GOOD[:-1], 'caf\x85e']] + [(text, 0) for text in BAD]
    )
    labels = np.array([label for _, label in found.validation])
    assert [(labels == 0).sum(), (labels == 1).sum()] == [4, 6]
    again = load(Classification(), path=path, encoding='latin-1', validation_fraction=0.2)
    assert again.train == found.train


def rows(*labels):
    return [json.dumps({'text': f'text {i}', 'label': label}) for i, label in enumerate(labels)]


def test_tables(tmp_path):
    write(tmp_path, {'a.jsonl': rows(2, 10, 2, 10)})
    found = load(Classification(), path=str(tmp_path / 'a.jsonl'), validation_fraction=0.5)
    assert found.classes == ('2', '10')
    assert {label for _, label in found.train} == {label for _, label in found.validation} == {0, 1}
    lines = ['label\ttext', 'x\tone "two', 'y\tthree', 'x\tfour', 'y\tfive']
    write(tmp_path, {'b.tsv': lines})
    found = load(Classification(), path=str(tmp_path / 'b.tsv'), validation_fraction=0.5)
    both = [*found.train, *found.validation]
    assert sorted(both)[3] == ('three', 1)
    assert ('one "two', 0) in both


def test_tables_by_split(tmp_path):
    files = {'train.jsonl': rows('a', 'b'), 'dev.jsonl': rows('b'), 'test.jsonl': rows('a')}
    path = write(tmp_path, files)
    fields = {'path': path, 'validation_split': 'dev', 'test_split': 'test'}
    found = load(Classification(), **fields)
    assert (list(found.validation), list(found.test)) == ([('text 0', 1)], [('text 0', 0)])
    write(tmp_path, {'dev.jsonl': rows('a', 'c')})
    with pytest.raises(UserError, match=r"dev\.jsonl, line 2: label 'c' is not .*: a, b"):
        load(Classification(), **fields)


@pytest.mark.parametrize(
    ('name', 'lines', 'message'),
    [
        ('a.jsonl', ['{"text": "x"', *rows('a', 'b')], 'line 1: not JSON'),
        ('a.jsonl', [*rows('a', 'b'), '{"text": "x"}'], 'line 3: label=None'),
        ('a.jsonl', [*rows('a', 'b'), '{"label": "x"}'], "line 3: there is no string 'text'"),
        ('a.jsonl', rows('a', 'a'), '1 classes'),
        ('a.tsv', ['x\ty', '1\t2'], r'text_field.*a\.tsv: x, y'),
        ('a.tsv', ['text\tlabel', 'one'], 'line 2: 1 columns, not 2 as in the first line'),
        ('a.tsv', ['text\tlabel', 'one\ta', 'b\tc\td'], 'line 3: 3 columns, not 2'),
        ('a.tsv', ['text\ttext', 'a\tb'], 'line 1: columns of one name: text, text'),
        ('a.csv', ['text,label'], 'as a table: Parquet, JSON lines or .tsv'),
        ('a.zip', ['no archive'], 'not a zip file'),
    ],
)
def test_bad_tables(tmp_path, name, lines, message):
    write(tmp_path, {name: lines})
    with pytest.raises(UserError, match=message) as raised:
        load(Classification(), path=str(tmp_path / name))
    assert 'a.' in str(raised.value)


def test_columns_of_tsv_are_counted_and_the_same_in_all_files(tmp_path):
    write(tmp_path, {'train.tsv': ['text\tlabel', 'a\tx', 'b', 'c\ty', 'd\ty\tz', 'e\tx']})
    path = str(tmp_path / 'train.tsv')
    found = load(Classification(), path=path, bad_records='skip', validation_fraction=0.5)
    assert sorted([*found.train, *found.validation]) == [('a', 0), ('c', 1), ('e', 0)]
    assert found.skipped == {'columns missing or too many': 2}
    write(tmp_path, {'train-2.tsv': ['label\ttext', 'x\ta']})
    with pytest.raises(UserError, match=r'train\.tsv has the columns text, label, .*label, text'):
        load(Classification(), path=str(tmp_path))


# Tags

SENTENCES = [
    '-DOCSTART- -X- O',
    '',
    'EU NNP B-ORG',
    'rejects VBZ O',
    '',
    'Peter\tNNP\tB-PER',
    '',
    '# O',
]


def test_tags(tmp_path):
    write(tmp_path, {'a.conll': SENTENCES})
    found = load(TokenClassification(), path=str(tmp_path / 'a.conll'), validation_fraction=0.4)
    assert found.classes == ('B-ORG', 'B-PER', 'O')
    want = [(('EU', 'rejects'), (0, 2)), (('Peter',), (1,)), (('#',), (2,))]
    assert sorted(found.train + found.validation) == sorted(want)
    texts = [*found.texts(), *found.texts('validation')]
    assert sorted(texts) == ['#', 'EU rejects', 'Peter']


def test_tags_by_split(tmp_path):
    path = write(tmp_path, {'train.txt': SENTENCES, 'dev.txt': ['Paul B-PER']})
    found = load(TokenClassification(), path=path, validation_split='dev')
    assert found.validation == [(('Paul',), (1,))] and len(found.train) == 3
    write(tmp_path, {'dev.txt': ['Paul B-PER', 'Bonn B-LOC']})
    with pytest.raises(
        UserError, match=r"dev\.txt, line 2: tag 'B-LOC' is not .*: B-ORG, B-PER, O"
    ):
        load(TokenClassification(), path=path, validation_split='dev')
    write(tmp_path, {'dev.txt': ['Paul']})
    with pytest.raises(UserError, match="line 1: 'Paul' is not a word and its tag"):
        load(TokenClassification(), path=path, validation_split='dev')
    with pytest.raises(ConfigError, match='splits of .*: dev, train'):
        load(TokenClassification(), path=path)


# Images


def test_digits():
    pytest.importorskip('sklearn')
    found = load(ImageClassification(), dataset='sklearn_digits')
    assert len(found.train) + len(found.validation) == 1797
    images = np.stack([image for image, _ in found.train])
    assert (images.shape[1:], images.dtype) == ((8, 8, 1), np.float32)
    assert (images.min(), images.max()) == (0, 1)
    assert found.classes == tuple('0123456789')
    counts = np.bincount([label for _, label in found.validation])
    assert counts.min() >= 17 and counts.sum() == 179
    assert not list(found.texts())


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sklearn.datasets', None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[digits\]'"):
        load(ImageClassification(), dataset='sklearn_digits')


class Words(tfds.core.GeneratorBasedBuilder):
    """Texts without labels."""

    VERSION = tfds.core.Version('1.0.0')

    def _info(self):
        features = tfds.features.FeaturesDict({'text': tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, manager):
        return {'train': self._generate_examples()}

    def _generate_examples(self):
        yield 0, {'text': 'word'}


@pytest.mark.filterwarnings('ignore')
def test_a_text_data_set_has_no_images(tmp_path, monkeypatch):
    monkeypatch.setitem(BUILDERS, 'words', Words)
    with pytest.raises(ConfigError, match='fields image and label .it has text') as raised:
        load(ImageClassification(), dataset='words', directory=str(tmp_path))
    assert raised.value.field == 'data.dataset'


class Squares(tfds.core.GeneratorBasedBuilder):
    """Images of one brightness each."""

    VERSION = tfds.core.Version('1.0.0')
    SIZE = (4, 4, 1)

    def _info(self):
        image = tfds.features.Image(shape=self.SIZE)
        label = tfds.features.ClassLabel(names=['dark', 'light'])
        features = tfds.features.FeaturesDict({'image': image, 'label': label})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, manager):
        return {'train': self._generate_examples(6), 'test': self._generate_examples(3)}

    def _generate_examples(self, count):
        for i in range(count):
            # TFDS takes a file as it is, but would need TensorFlow for an array.
            file = io.BytesIO()
            PIL.Image.fromarray(np.full((4, 4), 51 * i, np.uint8)).save(file, 'png')
            file.seek(0)
            yield i, {'image': file, 'label': i // 3}


@pytest.mark.filterwarnings('ignore')
def test_images_of_tfds(tmp_path, monkeypatch):
    monkeypatch.setitem(BUILDERS, 'squares', Squares)
    fields = {'dataset': 'squares', 'directory': str(tmp_path), 'validation_split': 'test'}
    found = load(ImageClassification(), **fields, test_split='train')
    assert (len(found.train), len(found.validation), len(found.test)) == (6, 3, 6)
    assert found.classes == ('dark', 'light')
    for image, label in found.train:
        np.testing.assert_allclose(image, np.full((4, 4, 1), image[0, 0, 0]))
        assert image.dtype == np.float32 and label == (image.max() > 0.5)
    assert {round(float(image.max()), 2) for image, _ in found.train} == {0, 0.2, 0.4, 0.6, 0.8, 1}
    with pytest.raises(ConfigError, match='splits of squares: .*train'):
        load(ImageClassification(), **fields | {'validation_split': 'dev'})
    held_out = load(ImageClassification(), **fields | {'validation_split': 'validation'})
    assert (len(held_out.train), len(held_out.validation)) == (5, 1)
    monkeypatch.setattr(Squares, 'SIZE', (None, None, 1))
    fields['directory'] = str(tmp_path / 'other')
    with pytest.raises(ConfigError, match='images of one size'):
        load(ImageClassification(), **fields)
