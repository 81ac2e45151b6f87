"""A pretrained checkpoint's tokenizer, as objectives and answers use it."""

import json
import types

import numpy as np
import pytest
import tokenizers as library

from data import feed, tokenizers
from data.tokenizers import Pretrained
from tests.records import corpus_of, segments
from transformer import objectives as kinds
from transformer.errors import ConfigError, UserError
from transformer.experiment import DataConfig
from transformer.hf.tokenizer import HFTokenizer
from transformer.hf.tokenizer_files import Parts
from transformer.respond import Speaker, respond

SETTINGS = {
    'padding_side': 'right',
    'truncation_side': 'right',
    'model_max_length': None,
    'clean_up_tokenization_spaces': False,
    'clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output': False,
    'split_special_tokens': False,
    'model_input_names': ['input_ids', 'attention_mask'],
}
LETTERS = 'abcdefghijklmnopqrstuvwxyz'


def wrapped(backend, single, start=None, **settings):
    """Around a backend, with `single` around texts.

    Args:
      settings: roles of special tokens, such as eos='</s>'; or settings of the tokenizer.
    """
    named = {k: v for k, v in settings.items() if k not in SETTINGS}
    others = {k: v for k, v in settings.items() if k in SETTINGS}
    roles = {f'{role}_token': token for role, token in named.items()}
    if single:
        used = [(token, backend.token_to_id(token)) for token in single.split() if token != '$A']
        backend.post_processor = library.processors.TemplateProcessing(
            single=single, special_tokens=used
        )
    return Pretrained(HFTokenizer(Parts(backend, roles, (), SETTINGS | others, {})), start)


def bert(**settings):
    """0 to 4: special tokens; 5 to 30: letters; then their '##' forms, and whole words."""
    words = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', *LETTERS, *(f'##{c}' for c in LETTERS)]
    vocab = {word: i for i, word in enumerate([*words, '[', ']', '.', 'fox', 'the'])}
    backend = library.Tokenizer(library.models.WordPiece(vocab, unk_token='[UNK]'))
    backend.normalizer = library.normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    backend.decoder = library.decoders.WordPiece()
    backend.add_special_tokens(words[:5])
    roles = {role: f'[{role.upper()}]' for role in ('cls', 'sep', 'mask', 'pad', 'unk')}
    return wrapped(backend, '[CLS] $A [SEP]', **roles, **settings)


def t5(**settings):
    """0 pad, 1 </s>, 2 <unk>, 3 the blank, 4 to 29 letters, 30 ' fox', then sentinels."""
    pieces = ['<pad>', '</s>', '<unk>', '▁', *LETTERS, '▁fox', '.', *kinds.SpanCorruption(
        sentinels=20
    ).special_tokens]  # fmt: skip
    scores = [(piece, -1.0 if len(piece) == 1 else -0.5) for piece in pieces]
    backend = library.Tokenizer(library.models.Unigram(scores, unk_id=2))
    backend.pre_tokenizer = library.pre_tokenizers.Metaspace()
    backend.decoder = library.decoders.Metaspace()
    backend.add_special_tokens(['<pad>', '</s>', '<unk>', *pieces[32:]])
    roles = {'pad': '<pad>', 'eos': '</s>', 'unk': '<unk>'}
    return wrapped(backend, '$A </s>', start=0, **roles, **settings)


def bart():
    """Bytes, 256 ' fox', 257 <s>, 258 </s>, 259 <mask>, which takes the blank before it."""
    alphabet = sorted(library.pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate(alphabet)}
    vocab |= {'fo': 256, 'fox': 257, '<s>': 258, '</s>': 259}
    backend = library.Tokenizer(library.models.BPE(vocab, [('f', 'o'), ('fo', 'x')]))
    backend.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = library.decoders.ByteLevel()
    backend.add_special_tokens(['<s>', '</s>'])
    backend.add_special_tokens([library.AddedToken('<mask>', lstrip=True, special=True)])
    roles = {'bos': '<s>', 'eos': '</s>', 'cls': '<s>', 'sep': '</s>', 'mask': '<mask>'}
    return wrapped(backend, '<s> $A </s>', start=259, **roles)


def gpt2():
    backend = library.Tokenizer(library.models.BPE({c: i for i, c in enumerate(LETTERS)}, []))
    backend.add_special_tokens(['<|endoftext|>'])
    return wrapped(backend, '', eos='<|endoftext|>', bos='<|endoftext|>')


def rows_of(objective, tokenizer, records, **fields):
    fields = {'seed': 0, 'context': 16, 'target_context': 0, 'data': DataConfig()} | fields
    experiment = types.SimpleNamespace(objective=objective, **fields)
    return feed.load(experiment, corpus_of(records), tokenizer).train


MAKERS = {'bert': bert, 't5': t5, 'bart': bart, 'gpt2': gpt2}


@pytest.mark.parametrize('name', list(MAKERS))
def test_saved_as_it_was(tmp_path, name):
    made = MAKERS[name]()
    path = tmp_path / 'tokenizer.json'
    path.write_text(made.to_json(), encoding='utf-8')
    assert json.loads(made.to_json())['type'] == 'pretrained'
    again = tokenizers.load(path)
    assert tokenizers.digest(again) == tokenizers.digest(made)
    for field in ('vocab_size', 'specials', 'start', 'end', 'frame', 'pieces'):
        assert getattr(again, field) == getattr(made, field)
    assert again.encode('the fox') == made.encode('the fox')
    path.write_text(made.to_json()[:-9], encoding='utf-8')
    with pytest.raises(UserError, match='the tokenizer at .* is damaged'):
        tokenizers.load(path)


def test_special_tokens_have_their_own_names_and_ours():
    made = bert()
    ours = {name: made.specials[name] for name in (kinds.MASK, kinds.START, kinds.SEPARATOR)}
    assert ours == {'[MASK]': 4, '[CLS]': 2, '[SEP]': 3}
    assert made.end is made.start is None
    made = bart()
    assert (made.special(kinds.MASK), made.special('<mask>')) == (260, 260)
    assert (made.special(kinds.START), made.special(kinds.SEPARATOR)) == (258, 259)
    assert (made.end, made.start) == (259, 259)
    made = t5()
    assert (made.end, made.start, made.vocab_size) == (1, 0, 52)
    assert [made.special(f'<extra_id_{i}>') for i in (0, 19)] == [32, 51]
    with pytest.raises(UserError, match=r"no special token '\[MASK\]'; it has: <pad>, </s>"):
        made.special(kinds.MASK)
    made = gpt2()
    assert made.end == made.start == made.special(kinds.START) == 26


def test_another_end_than_the_one_that_our_name_spells():
    """Of chat models the end of a turn ends texts, and '<|endoftext|>' is padding."""
    backend = library.Tokenizer(library.models.BPE({'a': 0}, []))
    backend.add_special_tokens(['<|endoftext|>', '<|im_end|>'])
    made = wrapped(backend, '', eos='<|im_end|>', pad='<|endoftext|>')
    assert made.end == 2
    assert made.special('<|endoftext|>') == 2
    assert made.ordinary.tolist() == [0]
    assert set(made.specials.values()) == {1, 2}


def test_text_is_encoded_without_special_tokens():
    made = bert()
    assert made.encode('fox a') == [60, 5]
    assert 4 not in made.encode('[MASK]')
    assert made.tokenizer.encode('[MASK]') == [2, 4, 3]  # the original's way is left to itself
    texts = ['fox', '', 'the fox.']
    assert [ids.tolist() for ids in made.encode_all(texts)] == [[60], [], [61, 60, 59]]
    assert made.decode([61, 60, 59]) == 'the fox.'
    assert set(made.ordinary) == set(range(5, 62))


@pytest.mark.parametrize('name', list(MAKERS))
def test_pieces_are_those_of_a_text(name):
    made = MAKERS[name]()
    pieces = {'bert': ' fox', 't5': ' fox', 'bart': 'fox', 'gpt2': None}[name]
    if pieces:
        word = {'bert': 60, 't5': 30, 'bart': 257}[name]
        assert made.pieces[word] == pieces
    tail = made.encode('ab')[-1]
    assert made.pieces[tail].strip() == 'b'
    assert len(made.pieces) == made.vocab_size


def test_wrapping_is_the_original_s():
    for made, text in ((bert(), 'the fox'), (t5(), 'a fox'), (bart(), 'a fox'), (gpt2(), 'fox')):
        ids = made.encode(text)
        assert made.wrap(ids).tolist() == made.tokenizer.encode(text)
        room = len(made.wrap(ids)) - 1
        want = made.tokenizer(text, max_length=room, truncation=True)['input_ids'][0]
        assert made.wrap(ids, room).tolist() == want.tolist()
    left = bert(truncation_side='left')
    assert left.wrap([5, 6, 7], 4).tolist() == [2, 6, 7, 3]
    with pytest.raises(UserError, match='1 tokens are too few; accepted: at least 2'):
        left.wrap([5], 1)


def test_others_wrap_and_close_as_before():
    made = tokenizers.Bytes((kinds.START,))
    assert made.start == made.end == 256
    assert made.frame == ((), ())
    assert made.wrap(made.encode('abc'), 3).tolist() == [257, 97, 98]
    assert made.close(made.encode('abc'), 3).tolist() == [97, 98, 256]
    assert made.side(made.encode('abc')).tolist() == [97, 98, 99, 256]
    assert made.encode_marked('a[CLS]b', [kinds.START]) == [97, 257, 98]
    assert made.encode_marked('[CLS]', ()) == list(b'[CLS]')


def test_classes_are_read_within_the_frame():
    found = rows_of(kinds.Classification(), bert(), [('the fox', 1), ('fox ' * 20, 0)], context=6)
    first, second = (found.rows.at(i) for i in range(2))
    assert first['inputs'].tolist() == [2, 61, 60, 3, 0, 0]
    assert first['segment_ids'].tolist() == [1, 1, 1, 1, 0, 0]
    assert second['inputs'].tolist() == [2, 60, 60, 60, 60, 3]
    assert '1 cut to 6' in found.rows.size()
    with pytest.raises(ConfigError, match='context=2 .*at least 3: special tokens and a token'):
        rows_of(kinds.Classification(), bert(), [('the fox', 1)], context=2)


def test_tags_are_read_within_the_frame():
    records = [(('the', 'fox', 'xy'), (1, 2, 0))]
    row = rows_of(kinds.TokenClassification(), bert(), records, context=7).rows.at(0)
    assert row['inputs'].tolist()[:6] == [2, 61, 60, 28, 55, 3]
    assert row['weights'].tolist() == [0, 1, 1, 1, 0, 0, 0]
    assert row['targets'].tolist()[1:4] == [1, 2, 0]
    row = rows_of(kinds.TokenClassification(), bert(), records, context=4).rows.at(0)
    assert row['inputs'].tolist() == [2, 61, 60, 3]
    assert row['weights'].tolist() == [0, 1, 1, 0]
    with pytest.raises(ConfigError, match='context=2 .*at least 3'):
        rows_of(kinds.TokenClassification(), bert(), records, context=2)


@pytest.mark.parametrize('kind', ['span_corruption', 'denoising', 'seq2seq'])
def test_decoders_begin_with_the_tokenizer_s_start(kind):
    made = t5() if kind != 'denoising' else bart()
    objective = kinds.OBJECTIVES[kind]()
    texts = ['the fox. a dog. ' * 3, 'a fox']
    records = [(text, text) for text in texts] if kind == 'seq2seq' else texts
    if kind == 'span_corruption':
        objective = kinds.SpanCorruption(sentinels=20)
    rows = rows_of(objective, made, records, context=40).rows
    row = rows.at(0)
    seen = segments(row, 'decoder_segment_ids')
    assert seen
    for segment in seen:
        part = row['decoder_segment_ids'] == segment
        inputs, targets = row['decoder_inputs'][part], row['targets'][part]
        assert inputs.tolist() == [made.start, *targets[:-1]]
    if kind == 'span_corruption':
        assert (row['inputs'] == made.special('<extra_id_0>')).any()


def test_both_sides_of_pairs_are_the_original_s():
    made = bart()
    row = rows_of(kinds.Seq2Seq(), made, [('a', 'fox')]).rows.at(0)
    a, fox = made.encode('a')[0], 257
    assert row['inputs'].tolist()[:4] == [258, a, 259, 0]
    assert row['decoder_inputs'].tolist()[:4] == [259, 258, fox, 0]
    assert row['targets'].tolist()[:4] == [258, fox, 259, 0]
    assert made.decode([258, fox, 259]) == made.decode([258, fox]) == 'fox'
    with pytest.raises(ConfigError, match='context=2 .*at least 3: a token and special tokens'):
        rows_of(kinds.Seq2Seq(), made, [('a', 'fox')], context=2)


def test_masks_that_are_spelt_out():
    """By our name and by their own; the blank before belongs to the mask, as with the original."""
    made = bart()
    a = made.encode('a')[0]
    want = [a, 260, *made.encode(' fox')]
    for text in ('a [MASK] fox', 'a <mask> fox'):
        assert made.encode_marked(text, (kinds.MASK,)) == want
    assert bert().encode_marked('the [MASK].', (kinds.MASK,)) == [61, 4, 59]


@pytest.mark.parametrize(
    ('kind', 'make', 'text', 'source', 'first'),
    [
        ('seq2seq', bart, 'fox', [258, 257, 259], 259),
        ('denoising', bart, 'fox[MASK]', [257, 260, 259], 259),
        ('seq2seq', t5, 'fox', [30, 1], 0),
        ('span_corruption', t5, 'fox<extra_id_1>', [30, 33, 1], 0),
    ],
)
def test_what_an_encoder_decoder_reads(monkeypatch, kind, make, text, source, first):
    made, seen = make(), []

    class Echo:
        def __init__(self, model, params, start, end, how):
            seen.append((start, end))

        def generate(self, sources, max_tokens, seed):
            seen.append(sources)
            return [source[:-1] for source in sources]

    monkeypatch.setattr('transformer.respond.Seq2SeqGenerator', Echo)
    objective = kinds.OBJECTIVES[kind]()
    if kind == 'span_corruption':
        objective = kinds.SpanCorruption(sentinels=20)
    said = respond(Speaker(None, None, made, objective), [text])
    assert seen == [(first, made.end), [source]]
    assert said[0].startswith('fox')


def llama():
    """0 <s>, 1 </s>, 2 <unk>, 3 the blank, 4 to 29 letters, 30 ' fox'."""
    pieces = ['<s>', '</s>', '<unk>', '▁', *LETTERS, '▁fox']
    vocab = {piece: i for i, piece in enumerate([*pieces, 'fo', 'fox'])}
    merges = [('f', 'o'), ('fo', 'x'), ('▁', 'fox')]
    backend = library.Tokenizer(library.models.BPE(vocab, merges, unk_token='<unk>'))
    backend.pre_tokenizer = library.pre_tokenizers.Metaspace()
    backend.decoder = library.decoders.Metaspace()
    backend.add_special_tokens(['<s>', '</s>', '<unk>'])
    return wrapped(backend, '<s> $A', bos='<s>', eos='</s>', unk='<unk>')


def test_a_decoder_goes_on(monkeypatch):
    """After its begin of sequence; the blank before its first word is not lost."""
    made, seen = llama(), []

    class Echo:
        def __init__(self, *args):
            pass

        def generate(self, prompts, room, seed):
            seen.extend(prompts)
            return [[30, 4]] * len(prompts)

    monkeypatch.setattr('transformer.respond.Generator', Echo)
    assert respond(Speaker(None, None, made, kinds.NextToken()), ['a']) == [' foxa']
    assert seen == [[0, 3, 4]]
    assert made.decode([30, 4]) == 'foxa'
    bytes_ = tokenizers.Bytes()
    assert bytes_.prompt('a') == [97]
    assert bytes_.continuation([97], [98]) == 'b'


def test_a_masked_model_reads_the_frame(monkeypatch):
    made, seen = bert(), []

    def fill(model, params, rows, mask):
        seen.extend([*rows, mask])
        return [[[(60, 0.5)]] for _ in rows]

    monkeypatch.setattr('transformer.respond.fill', fill)
    assert respond(Speaker(None, None, made, kinds.Masked()), ['the [MASK]']) == ["'fox' 0.50"]
    assert seen == [[2, 61, 4, 3], 4]


def test_masking_leaves_special_tokens_alone():
    made = bert()
    rows = rows_of(kinds.Masked(rate=0.9), made, ['the fox the fox.'] * 4).rows
    row = rows.at(0)
    assert (row['inputs'] == 4).any()
    assert not np.isin(row['targets'][row['weights'] > 0], list(made.specials.values())).any()
