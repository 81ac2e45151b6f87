"""Files of text: documents by file, line and paragraph, in bounded memory."""

import gzip
import tracemalloc

import pytest

from data import sources
from data.sources import text_files
from data.sources.documents import LONGEST, pieces_of
from transformer.data_config import SourceConfig
from transformer.errors import ConfigError, UserError
from transformer.objectives import NextToken


def load(path, lazy=False, **fields):
    return sources.load(SourceConfig(path=str(path), **fields), NextToken(), lazy=lazy)


def both(corpus):
    return [*corpus.train, *corpus.validation]


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'latin-1'])
@pytest.mark.parametrize('packed', [False, True])
def test_lines_and_paragraphs(tmp_path, encoding, packed):
    text = 'eins\x85 é\r\n\r\nzwei\nzwei b\n   \n\ndrei\n'
    raw = text.encode(encoding)
    (tmp_path / 'a.txt').write_bytes(gzip.compress(raw) if packed else raw)
    options = {'encoding': encoding, 'validation_fraction': 0.4}
    found = load(tmp_path / 'a.txt', documents='paragraph', **options)
    assert sorted(both(found)) == ['drei', 'eins\x85 é', 'zwei\nzwei b']
    assert [found.train[n] for n in range(2)] == list(found.train)
    found = load(tmp_path / 'a.txt', documents='line', **options)
    assert sorted(both(found)) == ['', '', '', 'drei', 'eins\x85 é', 'zwei', 'zwei b']


@pytest.mark.parametrize('documents', ['line', 'paragraph'])
def test_bad_lines_are_named_with_their_place(tmp_path, documents):
    path = tmp_path / 'a.txt'
    path.write_bytes(b'one\n\ntwo\0\n\nthree\n\nfour \n\nfive\n\nsix')
    with pytest.raises(UserError, match=r'a\.txt, line 3, offset 8: binary.*NUL'):
        both(load(path, documents=documents))
    path.write_bytes(b'one\n\ntwo\n\nthree\n\nfour \xff\n\nfive\n\nsix')
    with pytest.raises(UserError, match=r'line 7, offset 22: not UTF-8: byte 0xff.*replace'):
        both(load(path, documents=documents))
    found = load(path, documents=documents, encoding_errors='replace')
    assert 'four \ufffd' in both(found) and not found.skipped
    found = load(path, documents=documents, bad_records='skip')
    assert found.skipped == {'not UTF-8': 1} and 'six' in both(found)


def test_a_folder_has_a_document_a_file(tmp_path):
    for n in range(20):
        (tmp_path / f'{n:02}.txt').write_text(f'document {n}')
    (tmp_path / '20.txt').write_text('')  # who reads the records leaves it out
    (tmp_path / 'README.md').write_text('about')
    found = load(tmp_path)
    assert sorted(both(found)) == sorted([*(f'document {n}' for n in range(20)), ''])
    assert len(found.validation) == 2 and len(found.files()) == 21
    assert [''.join(document) for document in found.train.blocks()] == list(found.train)
    (tmp_path / '21.txt').write_bytes(b'bad \xff')
    with pytest.raises(UserError, match=r'21\.txt is not UTF-8: byte 0xff at offset 4'):
        both(load(tmp_path))
    found = load(tmp_path, bad_records='skip')
    assert len(both(found)) == 21 and found.skipped == {'file that is no text': 1}


def test_bad_files_are_found_when_they_are_read(tmp_path, monkeypatch):
    for n in range(20):
        (tmp_path / f'{n:02}.txt').write_bytes(b'\xff' if n in (3, 7, 11) else b'document %d' % n)
    seen, read = [], text_files.read
    monkeypatch.setattr(text_files, 'read', lambda f, c: seen.append(f.name) or read(f, c))
    found = load(tmp_path, lazy=True, bad_records='skip')
    assert not seen and not found.skipped
    texts = [''.join(document) for document in found.train.blocks()]
    assert len(seen) == 15 + 18 and all(text.startswith('document') for text in texts)
    held = [''.join(document) for document in found.validation.blocks()]
    assert len(texts + held) == 17 and found.skipped == {'file that is no text': 3}
    assert texts == list(found.train) and len(found.train) == 15 and found.train[-1] == texts[-1]
    assert list(found.texts()) == texts and found.skipped == {'file that is no text': 3}


def test_text_by_split(tmp_path):
    for name in ('train.txt', 'validation.txt.gz', 'test.txt'):
        raw = name.encode()
        (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith('gz') else raw)
    found = load(tmp_path, test_split='test')
    splits = (found.train, found.validation, found.test)
    assert [list(split) for split in splits] == [['train.txt'], ['validation.txt.gz'], ['test.txt']]


@pytest.mark.parametrize(
    ('raw', 'message'),
    [
        (b'', r'empty \(0 bytes'),
        (b' \n', 'empty'),
        (b'x' * (3 << 20) + b'\0', r'NUL byte at offset 3145728'),
        ('é'.encode() * (3 << 19) + b'\xc3', r'byte 0xc3 at offset 3145728'),
        (b'a' + 'é'.encode() * (3 << 19) + b'\xff', r'byte 0xff at offset 3145729'),
    ],
)
def test_a_single_file(tmp_path, raw, message):
    path = tmp_path / 'a.txt'
    path.write_bytes(raw)
    with pytest.raises(UserError, match=message):
        load(path)
    lazy = load(path, lazy=True)
    with pytest.raises(UserError, match=message):
        len(lazy.train)


def test_a_single_file_is_cut_by_characters_in_little_memory(tmp_path):
    text = ''.join(f'line {n}: ä€𝄞\n' for n in range(600_000))
    path = tmp_path / 'a.txt'
    path.write_text('\ufeff' + text, encoding='utf-8')
    size, cut = len(text), int(len(text) * 0.9)
    want_train, want_held = text[:cut], text[cut:]
    del text
    tracemalloc.start()
    found = load(path)
    count = sum(len(piece) for piece, _ in pieces_of(found.train))
    count += sum(len(piece) for piece, _ in pieces_of(found.validation))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == size and peak < 24 << 20  # of 35 MB as a string of four bytes a character
    assert found.train[0] == want_train and found.validation[0] == want_held
    pieces = list(found.texts())
    assert ''.join(pieces) == want_train and max(map(len, pieces)) <= LONGEST


def test_files_that_are_no_text_in_a_list(tmp_path):
    (tmp_path / 'a.txt').write_text('a')
    with pytest.raises(ConfigError, match=r'accepted.*there is no .*b\.txt'):
        load(f'{tmp_path}/a.txt,{tmp_path}/b.txt')
    with pytest.raises(ConfigError, match='documents'):
        SourceConfig(documents='page')
    for name in ('x', 'undefined', 'hex', 'utf-8\0'):
        for documents in ('line', 'file'):
            with pytest.raises(ConfigError) as raised:
                load(tmp_path / 'a.txt', encoding=name, documents=documents)
            assert raised.value.field == 'data.encoding' and raised.value.value == name


def test_a_gzip_that_is_not_whole(tmp_path):
    raw = gzip.compress(b'some text\n' * 1000)
    (tmp_path / 'a.txt.gz').write_bytes(raw[:-9])
    for documents in ('file', 'line', 'paragraph'):
        with pytest.raises(UserError, match=r'a\.txt\.gz is not a whole gzip file'):
            load(tmp_path / 'a.txt.gz', documents=documents)


@pytest.mark.parametrize('documents', ['line', 'paragraph'])
def test_many_documents_by_index_and_in_order(tmp_path, documents):
    texts = [f'document {n}' + ' x' * (n % 5) for n in range(1000)]
    between = '\n' if documents == 'line' else '\n \n\n'
    (tmp_path / 'a.txt').write_text(between.join(texts))
    found = load(tmp_path / 'a.txt', documents=documents)
    assert sorted(both(found)) == sorted(texts) and len(found.validation) == 100
    for side in (found.train, found.validation):
        assert [side[n] for n in range(len(side))] == list(side)
