"""Tokenizers that others made: `tokenizer.json`, SentencePiece models, tiktoken's encodings."""

import base64
import hashlib
import io
import json
import pickle
import time

import numpy as np
import pytest
import tokenizers as library

from data import tokenizers
from data.sources.corpus import Corpus
from data.tokenizers import sentence_pieces, tiktokens
from tests.test_pretrained_tokenizer import bert, t5
from transformer.data_config import DataConfig
from transformer.errors import ConfigError, UserError
from transformer.objectives import MASK, Masked, SpanCorruption

TEXT = 'the quick fox walks, the lazy dog walked: 12 boxes of walking dogs. '


def made(name, special_tokens=(), vocab=0):
    config = DataConfig(tokenizer=str(name), vocab=vocab)
    return tokenizers.make(config, {}, special_tokens)


def saved(tokenizer, path):
    path.write_text(tokenizer.to_json(), encoding='utf-8')
    loaded = tokenizers.load(path)
    assert type(loaded) is type(tokenizer)
    assert tokenizers.digest(loaded) == tokenizers.digest(tokenizer)
    for field in ('vocab_size', 'specials', 'start', 'end', 'frame', 'pieces'):
        assert getattr(loaded, field) == getattr(tokenizer, field)
    assert loaded.ordinary.tolist() == tokenizer.ordinary.tolist()
    assert loaded.encode(TEXT) == tokenizer.encode(TEXT)
    return loaded


# tokenizer.json


def test_a_hugging_face_directory(tmp_path):
    bert().tokenizer.save(tmp_path / 'bert')
    for path in (tmp_path / 'bert', tmp_path / 'bert' / 'tokenizer.json'):
        found = made(path, Masked().special_tokens)
        assert isinstance(found, tokenizers.Pretrained)
        assert found.special(MASK) == 4 and found.frame == ((2,), (3,))
        # BERT's has no end marker: it comes after its vocabulary.
        assert found.end == bert().vocab_size == found.vocab_size - 1
        assert found.encode(TEXT) == bert().encode(TEXT)
        assert found.end not in found.ordinary
        assert found.end not in found.encode(tokenizers.END)
    saved(found, tmp_path / 'tokenizer.json')


def test_missing_special_tokens_are_added(tmp_path):
    t5().tokenizer.save(tmp_path)
    names = (*SpanCorruption(sentinels=22).special_tokens, MASK)
    found, size = made(tmp_path, names), t5().vocab_size
    assert [found.special(n) for n in names[-3:]] == [size, size + 1, size + 2]
    assert found.special('<extra_id_3>') == t5().special('<extra_id_3>')
    assert found.tokenizer.mask == found.special(MASK)
    assert found.decode([30, size]) == 'fox<extra_id_20>'
    assert saved(found, tmp_path / 'saved.json').special(MASK) == size + 2
    assert made(tmp_path, names, vocab=size + 3).vocab_size == size + 3
    with pytest.raises(ConfigError, match=f'vocab=4096 .*accepted: 0 or {size + 3}, as .*not trai'):
        made(tmp_path, names, vocab=4096)


def test_a_file_alone(tmp_path):
    """The roles of its special tokens follow from their names."""
    path = tmp_path / 'mine.json'
    path.write_text(bert().tokenizer.backend.to_str())
    found = made(path, (MASK,))
    assert isinstance(found, tokenizers.Pretrained)
    assert (found.special(MASK), found.frame) == (4, ((2,), (3,)))
    assert found.encode(TEXT) == bert().encode(TEXT)
    saved(found, tmp_path / 'tokenizer.json')


def test_a_file_alone_of_another_kind(tmp_path):
    backend = library.Tokenizer(library.models.WordLevel({'?': 0, 'fox': 1}, unk_token='?'))
    backend.pre_tokenizer = library.pre_tokenizers.Whitespace()
    backend.add_special_tokens(['</s>'])
    path = tmp_path / 'words.json'
    path.write_text(backend.to_str())
    found = saved(made(path, (MASK,)), tmp_path / 'tokenizer.json')
    assert found.encode('the fox') == [0, 1]
    assert (found.end, found.special(MASK), found.vocab_size) == (2, 3, 4)


@pytest.mark.parametrize('kind', ['bpe', 'unigram', 'wordpiece', 'bytes', 'characters'])
def test_one_of_another_run(tmp_path, kind):
    """The same tokenizer; what it lacks comes after its vocabulary."""
    config = DataConfig(tokenizer=kind, vocab=0 if kind in ('bytes', 'characters') else 300)
    one = tokenizers.train(config, Corpus('test', [TEXT], [TEXT]))
    path = tmp_path / 'tokenizer.json'
    path.write_text(one.to_json(), encoding='utf-8')
    assert tokenizers.digest(made(path)) == tokenizers.digest(one)
    more = made(path, (MASK,))
    assert type(more) is type(one)
    assert more.special(MASK) == one.vocab_size == more.vocab_size - 1
    assert more.encode(TEXT) == one.encode(TEXT)
    assert more.decode(more.encode_marked(f'the{MASK}', (MASK,))).replace(' ', '') == f'the{MASK}'
    saved(more, path)


@pytest.mark.parametrize(
    ('name', 'match'),
    [
        ('bpee', 'accepted: bpe, wordpiece, .*tiktoken:NAME, or a path'),
        ('notes.txt', r'ends in \.json .* or \.model'),
        ('damaged.json', 'damaged.json cannot be read'),
        ('list.json', 'list.json'),
        ('object.json', 'object.json is damaged'),
        ('number.json', 'number.json is damaged'),
        ('empty', 'tokenizer'),
    ],
)
def test_what_is_no_tokenizer(tmp_path, name, match, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'notes.txt').write_text('x')
    (tmp_path / 'damaged.json').write_text('{"model": ')
    (tmp_path / 'list.json').write_text('[]')
    (tmp_path / 'number.json').write_text('{"model": 3, "added_tokens": [4]}')
    (tmp_path / 'object.json').write_text('{"model": {}}')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match=match):
        made(name)


def test_the_end_marker_of_a_file_alone(tmp_path):
    path = tmp_path / 'tokenizer.json'
    path.write_text(t5().tokenizer.backend.to_str())
    found = made(path)
    assert (found.end, found.tokenizer.pad, found.tokenizer.unk) == (1, 0, 2)
    assert found.side(found.encode('fox')).tolist() == [30, 1]


# SentencePiece


@pytest.fixture(scope='module', params=['unigram', 'bpe'])
def sentencepiece(request, tmp_path_factory):
    package = pytest.importorskip('sentencepiece')
    made = io.BytesIO()
    words = [TEXT.replace('dog', f'd{c}g{c}') for c in 'abcdefghijklmnopq']
    package.SentencePieceTrainer.train(
        sentence_iterator=iter(words * 20),
        model_writer=made,
        vocab_size=330,
        model_type=request.param,
        byte_fallback=True,
        pad_id=3,
        user_defined_symbols=['<mask>'],
        minloglevel=2,
        hard_vocab_limit=False,
    )
    path = tmp_path_factory.mktemp('model') / 'some.model'
    path.write_bytes(made.getvalue())
    return path, package.SentencePieceProcessor(model_proto=made.getvalue())


def test_sentencepiece_is_exact(sentencepiece, tmp_path):
    path, original = sentencepiece
    found = saved(made(path), tmp_path / 'tokenizer.json')
    texts = [TEXT, '', ' ', 'a\n\n b\0c', 'Ünï 日本 🙂', '<s></s><unk>', '▁a'] * 3
    for text, ids in zip(texts, found.encode_all(texts), strict=True):
        assert found.encode(text) == ids.tolist() == original.encode(text)
        assert found.decode(ids) == original.decode(original.encode(text))
        assert not {found.end, original.bos_id(), original.pad_id()} & set(ids.tolist())
    assert found.vocab_size == len(original)
    assert (found.end, found.special('[CLS]')) == (original.eos_id(), original.bos_id())
    assert found.special(MASK) == original.piece_to_id('<mask>')
    assert found.encode('a\ud800b') == original.encode('a\ufffdb')


def test_sentencepiece_with_special_tokens(sentencepiece, tmp_path):
    path, original = sentencepiece
    found = made(path, SpanCorruption(sentinels=3).special_tokens)
    found, size = saved(found, tmp_path / 'tokenizer.json'), len(original)
    assert [found.special(f'<extra_id_{i}>') for i in range(3)] == [size, size + 1, size + 2]
    fox = original.encode('fox')
    assert found.decode([*fox, size, *fox, found.end]) == 'fox<extra_id_0> fox</s>'
    assert found.continuation(fox, fox) == ' fox'
    assert found.encode('<extra_id_0>') == original.encode('<extra_id_0>')
    pieces = [found.pieces[i] for i in original.encode('the 日')]
    assert ''.join(pieces).startswith(' the ') and '\ufffd' in pieces
    assert np.isin(found.encode(TEXT), found.ordinary).all()


def test_sentencepiece_that_is_damaged(sentencepiece, tmp_path):
    path, _ = sentencepiece
    bad = tmp_path / 'bad.model'
    for content in (b'', b'not a model', path.read_bytes()[:-99]):
        bad.write_bytes(content)
        with pytest.raises(UserError, match=r'bad\.model.* no SentencePiece model'):
            made(bad)
    text = made(path).to_json()
    bad = tmp_path / 'tokenizer.json'
    bad.write_text(json.dumps(json.loads(text) | {'model': 'AAAA'}))
    with pytest.raises(UserError, match='tokenizer.json is damaged'):
        tokenizers.load(bad)


@pytest.mark.parametrize(
    ('module', 'extra'), [(sentence_pieces, 'sentencepiece'), (tiktokens, 'tiktoken')]
)
def test_packages_that_are_missing(monkeypatch, tmp_path, module, extra):
    monkeypatch.setitem(__import__('sys').modules, extra, None)
    path = tmp_path / 'tokenizer.json'
    path.write_text(json.dumps({'type': extra}))
    (tmp_path / 'x.model').write_bytes(b'x')
    name = {'sentencepiece': tmp_path / 'x.model', 'tiktoken': 'tiktoken:gpt2'}[extra]
    for call in (module.package, lambda: tokenizers.load(path), lambda: made(name)):
        with pytest.raises(UserError, match=rf"pip install -e '\.\[{extra}\]'"):
            call()


# tiktoken

URL = 'https://files.example/tiny.tiktoken'
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""
PLUGIN = f"""
from tiktoken.load import load_tiktoken_bpe

def tiny():
    ranks = load_tiktoken_bpe({URL!r}, expected_hash='HASH')
    special = {{'<|endoftext|>': 270, '<|fim|>': 271}}
    return {{
        'name': 'tiny', 'pat_str': {PATTERN!r}, 'mergeable_ranks': ranks, 'special_tokens': special
    }}

ENCODING_CONSTRUCTORS = {{'tiny': tiny}}
"""


@pytest.fixture
def tiktoken(monkeypatch, tmp_path):
    """The package with an encoding of ours, whose file is cached; ids 262 to 269 are unused."""
    package = pytest.importorskip('tiktoken')
    import tiktoken.registry

    parts = [*(bytes([i]) for i in range(256)), b'th', b'the', b' the', b'fo', b' wa', b'lk']
    ranks = b'\n'.join(base64.b64encode(p) + f' {i}'.encode() for i, p in enumerate(parts))
    (tmp_path / 'cache').mkdir()
    (tmp_path / 'cache' / hashlib.sha1(URL.encode()).hexdigest()).write_bytes(ranks)
    monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(tmp_path / 'cache'))
    code = PLUGIN.replace('HASH', hashlib.sha256(ranks).hexdigest())
    names = {}
    exec(compile(code, 'plugin', 'exec'), names)
    monkeypatch.setattr(tiktoken.registry, 'ENCODINGS', {})
    known = {**names['ENCODING_CONSTRUCTORS']}
    tiktoken.registry._find_constructors()
    known |= tiktoken.registry.ENCODING_CONSTRUCTORS
    monkeypatch.setattr(tiktoken.registry, 'ENCODING_CONSTRUCTORS', known)
    return package


def test_tiktoken_is_exact_and_loses_nothing(tiktoken, tmp_path, monkeypatch):
    found = made('tiktoken:tiny', (MASK,))
    original = tiktoken.get_encoding('tiny')
    monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(tmp_path / 'gone'))
    found = saved(found, tmp_path / 'tokenizer.json')  # stands alone
    texts = [TEXT, '', ' ', 'a\n\n b\0c', 'Ünï 日本 🙂', '<|endoftext|><|fim|>', 'x' * 5000] * 3
    for text, ids in zip(texts, found.encode_all(texts), strict=True):
        assert found.encode(text) == ids.tolist() == original.encode_ordinary(text)
        assert found.decode(ids) == text
        assert np.isin(ids, found.ordinary).all()
    assert (found.end, found.special('<|fim|>')) == (270, 271)
    assert (found.special(MASK), found.vocab_size) == (272, 273)
    assert len(found.ordinary) == 262 and 265 not in found.ordinary
    assert found.decode([257, 265, 272, 270]) == f'the\ufffd{MASK}<|endoftext|>'
    assert found.decode(found.encode('a\ud800b')) == 'a\ufffdb'


def test_tiktoken_without_its_file(tiktoken, tmp_path, monkeypatch):
    """Said at once, and by the name of the variable; a damaged file is no file."""
    begun = time.monotonic()
    (file,) = (tmp_path / 'cache').iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    for _ in range(2):
        with pytest.raises(UserError, match=f'{URL} is not in the cache.*TIKTOKEN_CACHE_DIR'):
            made('tiktoken:tiny')
    monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(tmp_path / 'gone'))
    with pytest.raises(UserError, match='TIKTOKEN_CACHE_DIR names its directory'):
        made('tiktoken:gpt2')
    assert time.monotonic() - begun < 5
    with pytest.raises(ConfigError, match="'tiktoken:gpt-2' .*with one of cl100k_base, gpt2, "):
        made('tiktoken:gpt-2')


def test_tiktoken_that_is_damaged(tiktoken, tmp_path):
    good = json.loads(made('tiktoken:tiny').to_json())
    path = tmp_path / 'tokenizer.json'
    for change in ({'ranks': 'AA== 0'}, {'ranks': '* 0'}, {'pattern': '('}, {'own': None}):
        path.write_text(json.dumps(good | change))
        with pytest.raises(UserError, match='tokenizer.json is damaged'):
            tokenizers.load(path)


def test_a_copy_of_tiktoken_for_a_worker_is_the_same(tiktoken):
    tokenizer = made('tiktoken:tiny')
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert tokenizers.digest(copy) == tokenizers.digest(tokenizer)
    assert copy.encode('the walk<|endoftext|>') == tokenizer.encode('the walk<|endoftext|>')
