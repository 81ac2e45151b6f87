"""Tokenizers of Hugging Face directories, against what transformers makes of the same files."""

import json

import numpy as np
import pytest

from transformer.hf.tokenizer import HFTokenizer

tokenizers = pytest.importorskip('tokenizers')
transformers = pytest.importorskip('transformers')

from tokenizers import (  # noqa: E402
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

TEXTS = [
    'The quick brown fox jumps over the lazy dog.',
    "Hello, world! It's 2024 and déjà vu, naïve 日本語 🙂.",
    '  two  blanks\nand lines\n',
    "don't we 're n't it 's ?",
    'special <s> inside </s> [CLS] <mask> [MASK] <pad> <|endoftext|> text',
    '',
]
ROLES = ('bos', 'eos', 'pad', 'unk', 'cls', 'sep', 'mask')
CHAT = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] | trim }}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{ eos_token }}{% endgeneration %}{% endif %}"
    '{% endfor %}{{ tools | tojson(indent=2) }}{{ extra }}\n'
    '{% if add_generation_prompt %}<|assistant|>{% endif %}'
)
MESSAGES = [
    {'role': 'system', 'content': ' Be brief. '},
    {'role': 'user', 'content': 'The <quick> "fox"?', 'name': None},
    {'role': 'assistant', 'content': 'Hello, world!'},
]


def trained(backend, trainer):
    backend.train_from_iterator(TEXTS * 3, trainer)
    return backend


def byte_pairs():
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=['<s>', '</s>', '<pad>', '<unk>', '<mask>', '<|endoftext|>'],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained(made, trainer).post_processor = processors.TemplateProcessing(
        single='<s> $A </s>',
        pair='<s> $A </s> $B:1 </s>:1',
        special_tokens=[('<s>', 0), ('</s>', 1)],
    )
    return made


def word_pieces():
    made = tokenizers.Tokenizer(models.WordPiece(unk_token='[UNK]'))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    specials = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
    trainer = trainers.WordPieceTrainer(
        vocab_size=200, special_tokens=specials, show_progress=False
    )
    trained(made, trainer).post_processor = processors.TemplateProcessing(
        single='[CLS] $A [SEP]',
        pair='[CLS] $A [SEP] $B:1 [SEP]:1',
        special_tokens=[('[CLS]', 2), ('[SEP]', 3)],
    )
    return made


def unigram():
    made = tokenizers.Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120,
        special_tokens=['<pad>', '</s>', '<unk>', *(f'<extra_id_{i}>' for i in range(4))],
        unk_token='<unk>',
        show_progress=False,
    )
    trained(made, trainer).post_processor = processors.TemplateProcessing(
        single='$A </s>', pair='$A </s> $B </s>', special_tokens=[('</s>', 1)]
    )
    return made


def originals():
    """Generic tokenizers, each with other settings."""
    generic = transformers.PreTrainedTokenizerFast
    of_bytes = {'bos_token': '<s>', 'eos_token': '</s>', 'pad_token': '<pad>'}
    bert = {f'{r}_token': f'[{r.upper()}]' for r in ('unk', 'pad', 'cls', 'sep', 'mask')}
    pieces = {'unk_token': '<unk>', 'pad_token': '<pad>', 'eos_token': '</s>'}
    inputs = ['input_ids', 'token_type_ids', 'attention_mask']
    yield generic(
        tokenizer_object=byte_pairs(),
        **of_bytes,
        extra_special_tokens=['<x>'],
        clean_up_tokenization_spaces=True,
        chat_template=CHAT,
    )
    yield generic(
        tokenizer_object=word_pieces(),
        **bert,
        model_input_names=inputs,
        clean_up_tokenization_spaces=True,
        model_max_length=64,
        chat_template={'default': 'x{{ sep_token }}', 'tool_use': CHAT},
    )
    sides = {'padding_side': 'left', 'truncation_side': 'left'}
    yield generic(tokenizer_object=unigram(), **pieces, **sides, chat_template=CHAT)


def vocabulary(backend):
    model = json.loads(backend.to_str())['model']
    return model['vocab'], [tuple(pair) for pair in model.get('merges', ())]


def same(ours, theirs):
    """All that the two are asked for is equal."""
    for text in TEXTS:
        ids = theirs.encode(text)
        assert ours.encode(text) == ids
        without = theirs.encode(text, add_special_tokens=False)
        assert ours.encode(text, special_tokens=False) == without
        for skip in (True, False):
            assert ours.decode(ids, skip) == theirs.decode(ids, skip_special_tokens=skip)
    assert [getattr(ours, r) for r in ROLES] == [getattr(theirs, f'{r}_token_id') for r in ROLES]
    assert ours.vocab_size == len(theirs)
    assert set(theirs.all_special_tokens) <= set(ours.special_tokens)
    sides = ours.padding_side, ours.truncation_side
    assert sides == (theirs.padding_side, theirs.truncation_side)
    if theirs.pad_token is None:
        return
    cut = {'truncation': True, 'max_length': 7}
    for options in ({}, {'padding': 'max_length', 'max_length': 256}, cut):
        for seconds in (None, TEXTS[::-1]):
            got = ours(TEXTS, seconds, **options)
            options = {'padding': True} | options
            want = theirs(TEXTS, seconds, return_tensors='np', **options)
            assert set(got) == set(want)
            for name in got:
                np.testing.assert_array_equal(got[name], want[name], name)


@pytest.mark.parametrize('number', range(3))
def test_generic_directories(tmp_path, number):
    list(originals())[number].save_pretrained(tmp_path / 'theirs')
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / 'theirs')
    ours = HFTokenizer.from_directory(tmp_path / 'theirs')
    same(ours, theirs)
    same(HFTokenizer.from_json(ours.to_json()), theirs)
    ours.save(tmp_path / 'ours')
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / 'ours')
    same(ours, again)
    assert again.chat_template == theirs.chat_template


@pytest.mark.parametrize('number', range(3))
def test_chats(tmp_path, number):
    theirs = list(originals())[number]
    theirs.save_pretrained(tmp_path)
    ours = HFTokenizer.from_directory(tmp_path)
    tools = [{'type': 'function', 'function': {'name': 'f', 'parameters': {'<a>': 1.5}}}]
    for options in (
        {},
        {'add_generation_prompt': True, 'extra': 'é'},
        {'tools': tools},
    ):
        want = theirs.apply_chat_template(MESSAGES, tokenize=False, **options)
        assert ours.apply_chat_template(MESSAGES, tokenize=False, **options) == want
        want = theirs.apply_chat_template(MESSAGES, return_dict=False, **options)
        assert ours.apply_chat_template(MESSAGES, **options) == want


def of_classes():
    """Model type and a tokenizer of its class."""
    t = transformers
    pairs, merges = vocabulary(byte_pairs())
    words, _ = vocabulary(word_pieces())
    pieces = [tuple(piece) for piece in vocabulary(unigram())[0]]
    bytes_ = {'vocab': pairs, 'merges': merges}
    return {
        'bert': lambda: t.BertTokenizer(vocab=words, do_lower_case=False),
        'distilbert': lambda: t.DistilBertTokenizer(vocab=words),
        'roberta': lambda: t.RobertaTokenizer(**bytes_),
        'bart': lambda: t.BartTokenizer(**bytes_),
        'gpt2': lambda: t.GPT2Tokenizer(**bytes_),
        'gpt_neox': lambda: t.GPTNeoXTokenizer(**bytes_),
        'llama': lambda: t.LlamaTokenizer(**bytes_, add_bos_token=True),
        'qwen2': lambda: t.Qwen2Tokenizer(**bytes_),
        'gemma': lambda: t.GemmaTokenizer(
            vocab=pairs | {'<bos>': len(pairs), '<eos>': len(pairs) + 1}
        ),
        't5': lambda: t.T5Tokenizer(vocab=pieces),
    }


@pytest.mark.parametrize('bare', [False, True], ids=['whole', 'bare'])
@pytest.mark.parametrize('kind', list(of_classes()))
def test_directories_of_classes(tmp_path, kind, bare):
    """Bare ones say next to nothing of special tokens, as those of the first models do not."""
    of_classes()[kind]().save_pretrained(tmp_path)
    (tmp_path / 'config.json').write_text(json.dumps({'model_type': kind}))
    if bare:
        file = tmp_path / 'tokenizer_config.json'
        said = json.loads(file.read_text())
        kept = ('do_lower_case', 'model_max_length', 'tokenizer_class')
        file.write_text(json.dumps({k: said[k] for k in kept if k in said}))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = HFTokenizer.from_directory(tmp_path)
    same(ours, theirs)
    ours.save(tmp_path)
    same(ours, transformers.AutoTokenizer.from_pretrained(tmp_path))


OLD = {
    'bert': ('bert', {'do_lower_case': False}),
    'gpt2': ('gpt2', {}),
    'gpt2, framed': ('gpt2', {'add_bos_token': True, 'add_eos_token': True, 'pad_token': '<pad>'}),
    'gpt2, prefix': ('gpt2', {'add_prefix_space': True}),
    'roberta': ('roberta', {'model_max_length': 512}),
    'bart': ('bart', {'tokenizer_class': 'BartTokenizer'}),
    'opt': (
        'opt',
        {
            'tokenizer_class': 'GPT2Tokenizer',
            'add_bos_token': True,
            'pad_token': '<pad>',
            'bos_token': {'__type': 'AddedToken', 'content': '</s>', 'normalized': True},
            'eos_token': '</s>',
            'unk_token': '</s>',
        },
    ),
}


@pytest.mark.parametrize('name', list(OLD))
def test_directories_without_tokenizer_json(tmp_path, name):
    kind, settings = OLD[name]
    if kind == 'bert':
        words, _ = vocabulary(word_pieces())
        (tmp_path / 'vocab.txt').write_text('\n'.join(sorted(words, key=words.get)) + '\n')
    else:
        pairs, merges = vocabulary(byte_pairs())
        lines = '\n'.join(['#version: 0.2', *map(' '.join, merges)])
        (tmp_path / 'vocab.json').write_text(json.dumps(pairs))
        (tmp_path / 'merges.txt').write_text(lines + '\n', encoding='utf-8')
        (tmp_path / 'added_tokens.json').write_text(json.dumps({'<new>': len(pairs)}))
    (tmp_path / 'config.json').write_text(json.dumps({'model_type': kind}))
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(settings))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    same(HFTokenizer.from_directory(tmp_path), theirs)
