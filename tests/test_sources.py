"""Texts and pairs of texts from files and data sets, and what is refused of them."""

import gzip

import pytest

from data import sources
from data.builders import python_stdlib, tiny_shakespeare
from transformer.data_config import DataConfig
from transformer.errors import ConfigError, UserError
from transformer.objectives import NextToken, Seq2Seq


def load(objective=None, **fields):
    return sources.load(DataConfig(**fields), objective or NextToken())


# Text


@pytest.mark.parametrize(
    ('raw', 'message'),
    [
        (b'', r'empty \(0 bytes'),
        (b' \n\n', 'empty'),
        (b'abc\0def', 'binary, not text: NUL byte at offset 3'),
        (b'good \xff bad', r'not UTF-8: byte 0xff at offset 5; .*encoding_errors=replace'),
    ],
)
def test_unreadable_text_names_file_and_offset(tmp_path, raw, message):
    path = tmp_path / 'text.txt'
    path.write_bytes(raw)
    with pytest.raises(UserError, match=message) as raised:
        sources.read_text(path)
    assert str(path) in str(raised.value)


def test_missing_text(tmp_path):
    with pytest.raises(UserError, match='No such file'):
        sources.read_text(tmp_path / 'none.txt')
    with pytest.raises(UserError, match='directory'):
        sources.read_text(tmp_path)


def test_bad_bytes_can_be_replaced(tmp_path):
    path = tmp_path / 'text.txt'
    path.write_bytes(b'good \xff bad')
    assert sources.read_text(path, 'replace') == 'good \ufffd bad'


def test_text_file_splits_by_characters(tmp_path):
    path = tmp_path / 'text.txt'
    path.write_text('é' * 90 + 'x' * 10, encoding='utf-8')
    found = load(path=str(path))
    assert (list(found.train), list(found.validation)) == (['é' * 90], ['x' * 10])
    with pytest.raises(ConfigError, match='both sides'):
        load(path=str(path), validation_fraction=0.999)


@pytest.fixture(scope='module')
def stdlib(tmp_path_factory):
    """The embedded corpus, cut down to the modules that begin with 'a' or 'b'."""
    builder = python_stdlib.PythonStdlib
    whole = builder._generate_examples
    few = lambda self, root, paths: whole(self, root, [p for p in paths if p[0] in 'ab'])  # noqa: E731
    directory = tmp_path_factory.mktemp('tfds')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, '_generate_examples', few)
        yield directory, load(directory=str(directory))


@pytest.mark.filterwarnings('ignore')
def test_standard_library_splits_by_path(stdlib):
    directory, found = stdlib
    assert len(found.train) > 20
    assert len(list(directory.rglob('*.array_record*'))) >= 2
    texts = set(found.train)
    assert any('argparse' in text for text in texts)
    assert not texts & set(found.validation)
    assert found.train[0] == found.train[0]
    with pytest.raises(IndexError):
        found.train[len(found.train)]
    with pytest.raises(ConfigError, match='train, validation'):
        load(directory=str(directory), train_split='trian')
    with pytest.raises(ConfigError, match='path, text'):
        load(directory=str(directory), text_field='txt')


@pytest.mark.filterwarnings('ignore')
def test_unknown_data_set():
    with pytest.raises(ConfigError, match='python_stdlib') as raised:
        load(dataset='tiny_shakespear')
    assert raised.value.field == 'data.dataset'


@pytest.mark.filterwarnings('ignore')
def test_tiny_shakespeare_without_network_and_with(tmp_path, monkeypatch):
    config = {'dataset': 'tiny_shakespeare', 'directory': str(tmp_path)}
    config['validation_split'] = 'validation+test'
    monkeypatch.setattr(tiny_shakespeare, 'URL', 'file:///no/such/file')
    with pytest.raises(UserError, match='config.data.path=FILE'):
        load(**config)
    text = ''.join(f'line {i}\n' for i in range(100))
    (tmp_path / 'input.txt').write_text(text)
    monkeypatch.setattr(tiny_shakespeare, 'URL', (tmp_path / 'input.txt').as_uri())
    with pytest.raises(UserError, match='not the known text'):
        load(**config)
    digest = tiny_shakespeare.hashlib.sha256(text.encode()).hexdigest()
    monkeypatch.setattr(tiny_shakespeare, 'SHA256', digest)
    found = load(**config)
    assert ''.join([*found.train, *sorted(found.validation)]) == text
    assert len(found.train[0]) == int(len(text) * 0.9)
    two = load(dataset='tiny_shakespeare/nanogpt', directory=str(tmp_path))
    assert [two.train[0] + two.validation[0], len(two.validation)] == [text, 1]
    with pytest.raises(ConfigError, match="data.dataset='tiny_shakespeare/gpt'"):
        load(dataset='tiny_shakespeare/gpt', directory=str(tmp_path))


def test_a_text_file_has_no_test_split(tmp_path):
    path = tmp_path / 'text.txt'
    path.write_text('some text')
    with pytest.raises(ConfigError, match='test_split'):
        load(path=str(path), test_split='test')


@pytest.mark.parametrize(('encoding', 'raw'), [('latin-1', b'caf\xe9'), ('utf-16', None)])
def test_other_encodings(tmp_path, encoding, raw):
    path = tmp_path / 'text.txt'
    path.write_bytes(raw or 'café'.encode('utf-16'))
    assert sources.read_text(path, encoding=encoding) == 'café'
    with pytest.raises(ConfigError, match=r"data\.encoding='latin-one'"):
        load(path=str(path), encoding='latin-one')


# Pairs


def write(directory, files):
    for name, lines in files.items():
        text = ''.join(f'{line}\n' for line in lines).encode()
        (directory / name).write_bytes(gzip.compress(text) if name.endswith('.gz') else text)
    return str(directory)


PAIRS = {
    'train.de.gz': ['Ein Haus', 'Zwei\u2028Hunde', ''],
    'train.en.gz': ['A house', 'Two dogs', 'Three cats'],
    'val.de': ['Ja'],
    'val.en': ['Yes'],
    'flickr.de': ['Nein'],
    'flickr.en': ['No'],
}


def test_pairs_by_line(tmp_path):
    path = write(tmp_path, PAIRS)
    found = load(Seq2Seq(), path=path, validation_split='val', test_split='flickr')
    want = [('Ein Haus', 'A house'), ('Zwei\u2028Hunde', 'Two dogs'), ('', 'Three cats')]
    assert found.train == want
    assert (found.validation, found.test) == ([('Ja', 'Yes')], [('Nein', 'No')])
    assert list(found.texts()) == [text for pair in want for text in pair]
    turned = Seq2Seq(source='en', target='de', lowercase=True)
    found = load(turned, path=path, validation_split='val')
    assert found.train[0] == ('a house', 'ein haus') and found.test is None


@pytest.mark.parametrize(
    ('fields', 'objective', 'field'),
    [
        ({'path': '', 'dataset': 'no_pairs'}, Seq2Seq(), 'data.dataset'),
        ({'path': 'missing'}, Seq2Seq(), 'data.path'),
        ({'validation_split': 'dev'}, Seq2Seq(), 'data.validation_split'),
        ({'validation_split': 'val', 'test_split': 'x'}, Seq2Seq(), 'data.test_split'),
        ({}, Seq2Seq(source='fr'), 'objective.source'),
    ],
)
def test_pairs_that_are_not_there(tmp_path, fields, objective, field):
    path = write(tmp_path, PAIRS)
    with pytest.raises(ConfigError) as raised:
        load(objective, **({'path': path, 'validation_split': 'val'} | fields))
    assert raised.value.field == field


def test_pairs_must_have_as_many_lines_on_both_sides(tmp_path):
    path = write(tmp_path, PAIRS | {'val.en': ['Yes', 'No']})
    with pytest.raises(UserError, match=r'val\.de has 1 lines and .*val\.en has 2'):
        load(Seq2Seq(), path=path, validation_split='val')


def test_damaged_gzip(tmp_path):
    path = write(tmp_path, PAIRS)
    whole = (tmp_path / 'train.de.gz').read_bytes()
    (tmp_path / 'train.de.gz').write_bytes(whole[:-12])
    with pytest.raises(UserError, match='not a whole gzip'):
        load(Seq2Seq(), path=path, validation_split='val')
