"""Tokenizers that are trained on the data; those of others are in `test_tokenizer_files`."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from data import tokenizers
from data.sources.corpus import Corpus
from transformer.data_config import DataConfig
from transformer.errors import ConfigError, UserError

TEXTS = ['abc', 'def main():\n    return 1\n', 'ünïcödé 日本 🙂', 'x' * 50, 'a']
VOCAB = {'bpe': 300, 'unigram': 400, 'wordpiece': 300, 'characters': 0, 'bytes': 0}
EXACT = ['bpe', 'unigram', 'bytes']
# What normalisers, blanks' marks and byte tokens trip over.
AWKWARD = [
    '',
    ' ',
    '  a  ',
    '\n\n x\t\r\n',
    '▁a▁ b',
    '<0x0A><0x41>',
    '<|endoftext|>',
    '\0a\0',
    'e\u0301 é \ufb01',
    '\ufeff\u200b\u2028\u00a0',
    '<unk>[UNK]##a',
    '👨‍👩‍👧\ufffd',
    'x' * 3000,
    ' ' * 3000,
]


def corpus(texts=TEXTS):
    return Corpus('test', texts, ['validation text'])


def made(kind, vocab=None, special_tokens=(), texts=TEXTS, **fields):
    vocab = VOCAB[kind] if vocab is None else vocab
    config = DataConfig(tokenizer=kind, vocab=vocab, **fields)
    return tokenizers.train(config, corpus(texts), special_tokens)


def saved(tokenizer, tmp_path):
    path = tmp_path / 'tokenizer.json'
    path.write_text(tokenizer.to_json(), encoding='utf-8')
    loaded = tokenizers.load(path)
    assert type(loaded) is type(tokenizer)
    assert tokenizers.digest(loaded) == tokenizers.digest(tokenizer)
    return loaded


@pytest.mark.parametrize('kind', list(VOCAB))
def test_round_trip_through_text_and_file(tmp_path, kind):
    tokenizer = made(kind)
    loaded = saved(tokenizer, tmp_path)
    assert loaded.vocab_size == tokenizer.vocab_size == len(loaded.pieces)
    for text in TEXTS:
        ids = loaded.encode(text)
        blanks = ' def main ( ) : return 1' if text.startswith('def') else text
        assert loaded.decode(ids) == (
            text if kind != 'wordpiece' else blanks.strip().replace('日本', '日 本')
        )
        assert max(ids) < loaded.vocab_size
        (batched,) = loaded.encode_all([text])
        assert batched.dtype == np.uint32
        assert batched.tolist() == ids == tokenizer.encode(text)


@pytest.mark.parametrize('kind', EXACT)
def test_no_text_is_lost(kind):
    tokenizer = made(kind)
    for text, ids in zip(AWKWARD, tokenizer.encode_all(AWKWARD), strict=True):
        assert tokenizer.decode(ids) == text
        assert tokenizer.encode(text) == ids.tolist()
        assert not set(ids.tolist()) & set(tokenizer.specials.values())


@pytest.mark.parametrize('kind', EXACT)
def test_lone_surrogates_are_replaced(kind):
    tokenizer = made(kind)
    texts = ['a\ud800b', 'plain', '\ud83d\ude42']
    want = ['a\ufffdb', 'plain', '🙂']
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_all(texts)] == want
    assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == want


def test_surrogates_among_characters(tmp_path):
    tokenizer = made('characters', texts=['a\ud83d', '\udc00b'])
    loaded = saved(tokenizer, tmp_path)
    assert loaded.decode(loaded.encode('a\ud83d')) == 'a\ufffd'
    with pytest.raises(UserError, match="'Q' at position 0 is not among the 0 "):
        tokenizers.Characters('').encode('Q')


@pytest.mark.parametrize('kind', ['bpe', 'unigram', 'wordpiece'])
def test_learns_words(kind):
    # Unigram's first pieces are what several distinct words share.
    texts = ['walk walks walked walking talk talks talked talking '] * 30
    tokenizer = made(kind, 350, texts=texts)
    assert len(tokenizer.encode('walk talked')) <= 5
    assert len(tokenizer.encode('klaw deklat')) > 7


@pytest.mark.parametrize('kind', ['bpe', 'unigram', 'wordpiece'])
def test_training_is_repeatable(kind):
    """In another process too: the library's hash tables have another order there."""
    code = (
        'from tests.test_tokenizers import made; from data import tokenizers;'
        f'print(tokenizers.digest(made({kind!r}, 330, texts=[open("setup.py").read()])))'
    )
    done = [
        subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert done[0].stdout == done[1].stdout
    assert len(done[0].stdout.strip()) == 64


def test_wordpiece_is_bert_s():
    texts = ['The Café plays, and it played playing.'] * 20
    tokenizer = made('wordpiece', 120, texts=texts, lowercase=True)
    assert tokenizer.decode(tokenizer.encode('THE\t\n  CAFÉ')) == 'the cafe'
    assert tokenizer.decode(tokenizer.encode('played')) == 'played'
    kept = made('wordpiece', 120, texts=texts)
    assert kept.decode(kept.encode('The Café')) == 'The Café'
    assert kept.encode('the Q') == [*kept.encode('the'), kept.special('[UNK]')]
    assert kept.special('[UNK]') not in kept.ordinary
    pieces = dict(zip(kept.pieces, range(kept.vocab_size)))
    assert ' and' in pieces and 'ed' in pieces  # a word has its blank; what goes on has none
    assert kept.continuation(kept.encode('The'), kept.encode('it')) == ' it'
    with pytest.raises(ConfigError, match="lowercase=True .*tokenizer='wordpiece'"):
        made('bpe', lowercase=True)


@pytest.mark.parametrize('kind', ['bpe', 'bytes', 'unigram', 'wordpiece'])
def test_a_document_cannot_forge_the_end_marker(kind):
    tokenizer = made(kind, texts=['a<|endoftext|>b'] * 30)
    ids = tokenizer.encode('a<|endoftext|>b')
    assert tokenizer.end not in ids
    assert tokenizer.decode(ids).replace(' ', '') == 'a<|endoftext|>b'
    assert tokenizer.end in tokenizer.encode_marked('a<|endoftext|>b', (tokenizers.END,))


SPECIAL = ('[MASK]', '<extra_id_0>', '<extra_id_1>')
SPELLED = ['a[MASK]b <extra_id_0><extra_id_1> <|endoftext|>'] * 20


@pytest.mark.parametrize(
    ('kind', 'vocab'), [('bpe', 320), ('characters', 0), ('bytes', 0), ('unigram', 320)]
)
def test_special_tokens_are_apart_from_all_text(tmp_path, kind, vocab):
    tokenizer = made(kind, vocab, SPECIAL, SPELLED)
    for loaded in (tokenizer, saved(tokenizer, tmp_path)):
        ids = loaded.encode(SPELLED[0])
        assert loaded.decode(ids) == SPELLED[0]
        special = [loaded.special(name) for name in SPECIAL]
        assert len(set(special)) == 3 and max(special) < loaded.vocab_size
        assert not set(special) & set(ids)
        assert set(ids) <= set(loaded.ordinary.tolist())
        assert len(loaded.ordinary) == loaded.vocab_size - 3 - (loaded.end is not None)
        assert loaded.decode([*loaded.encode('a'), special[0]]) == 'a[MASK]'
    other = made(kind, vocab, SPECIAL[:2], SPELLED)
    assert tokenizers.digest(other) != tokenizers.digest(tokenizer)
    with pytest.raises(UserError, match=r"'\[CLS\]'; it has: .*\[MASK\], <extra_id_0>"):
        tokenizer.special('[CLS]')


def test_a_tokenizer_of_characters_can_be_given_an_end_marker():
    assert made('characters').end is None
    tokenizer = made('characters', special_tokens=(tokenizers.END,))
    assert tokenizer.end == tokenizer.vocab_size - 1


@pytest.mark.parametrize(
    ('kind', 'vocab', 'accepted'),
    [
        ('bpe', 259, 'at least 260'),
        ('unigram', 259, 'at least 260'),
        ('wordpiece', 12, 'at least 13'),
        ('bytes', 257, '0 or 260'),
        ('characters', 20, '3 special'),
    ],
)
def test_special_tokens_need_room(kind, vocab, accepted):
    texts = ['abcdefghijklmnopqr', 'alidton ext']
    with pytest.raises(ConfigError, match=accepted):
        made(kind, vocab, SPECIAL, texts)


@pytest.mark.parametrize(
    ('kind', 'vocab', 'accepted'),
    [
        ('bpe', 256, 'at least 257'),
        ('unigram', 256, 'at least 257'),
        ('wordpiece', 9, 'at least 10'),
        ('characters', 5, '0 or .* distinct'),
        ('characters', 400, '0 or .* distinct'),
        ('bytes', 9, '257'),
    ],
)
def test_vocabulary_smaller_than_the_alphabet(kind, vocab, accepted):
    with pytest.raises(ConfigError, match=accepted) as raised:
        made(kind, vocab)
    assert raised.value.field == 'data.vocab'


@pytest.mark.parametrize('kind', ['unigram', 'wordpiece'])
@pytest.mark.parametrize('vocab', [257, 258, 261, 290])
def test_the_vocabulary_is_never_exceeded(kind, vocab):
    """However many characters the text has, and however few."""
    many = ''.join(map(chr, range(0x4E00, 0x4E00 + 2000)))
    for texts in ([many, 'words of text ' * 9], [], ['']):
        assert made(kind, vocab, texts=texts).vocab_size <= vocab


def test_unknown_character_is_named():
    with pytest.raises(UserError, match=r"'Q' at position 1"):
        made('characters').encode('aQ')


@pytest.mark.parametrize(
    'content',
    ['', '{', '{"type": "characters"}', '[]', '{"model": 3}', '{"model": {"type": "X"}}', b'\xff'],
)
def test_damaged_tokenizer(tmp_path, content):
    path = tmp_path / 'tokenizer.json'
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match='tokenizer.json is damaged'):
        tokenizers.load(path)
    with pytest.raises(UserError, match='there is no tokenizer at'):
        tokenizers.load(tmp_path / 'other.json')


@pytest.mark.parametrize('kind', VOCAB)
def test_a_copy_for_a_worker_is_the_same(kind):
    tokenizer = made(kind)
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert tokenizers.digest(copy) == tokenizers.digest(tokenizer)
    text = TEXTS[0] if kind == 'characters' else 'abc<|endoftext|>main'
    assert copy.encode(text) == tokenizer.encode(text)
    assert tokenizer.end not in copy.encode(text)
