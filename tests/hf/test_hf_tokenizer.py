"""Tokenizers of Hugging Face directories, against ids that are written out."""

import json

import pytest

from transformer.errors import UserError
from transformer.hf import tokenizer_files
from transformer.hf.tokenizer import HFTokenizer

tokenizers = pytest.importorskip('tokenizers')

WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'the', 'dog', '##s', 'run', '##ning', '.']
HELLO = [{'role': 'user', 'content': 'dogs'}, {'role': 'assistant', 'content': 'run .'}]
TURNS = (
    '{% for m in messages %}\n'
    "    {% if m['role'] == 'user' %}\n"
    "{{ bos_token }}[{{ m['content'] }}]\n"
    '    {% else %}\n'
    "{% generation %}{{ m['content'] }}{% endgeneration %}{{ eos_token }}\n"
    '    {% endif %}\n'
    '{% endfor %}\n'
    '{% if add_generation_prompt %}go{% endif %}'
)


def word_pieces():
    """BERT's kind: its own [CLS] and [SEP] around texts."""
    made = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token='[UNK]')
    )
    made.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.decoder = tokenizers.decoders.WordPiece(cleanup=False)
    made.add_special_tokens(WORDS[:5])
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single='[CLS] $A [SEP]',
        pair='[CLS] $A [SEP] $B:1 [SEP]:1',
        special_tokens=[('[CLS]', 2), ('[SEP]', 3)],
    )
    return made


def byte_pairs():
    """GPT-2's kind: single bytes, and 'he' and ' he'."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate(alphabet)}
    vocab |= {'he': 256, 'Ġhe': 257, '<|endoftext|>': 258}
    return vocab, [('h', 'e'), ('Ġ', 'he')]


def write(directory, backend=None, **files):
    """Files by their names, with _ for what a name cannot hold."""
    directory.mkdir(parents=True, exist_ok=True)
    if backend is not None:
        (directory / 'tokenizer.json').write_text(backend.to_str(), encoding='utf-8')
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (directory / name).write_text(text, encoding='utf-8')
    return directory


BERT = {'cls_token': '[CLS]', 'sep_token': '[SEP]', 'pad_token': '[PAD]', 'unk_token': '[UNK]'}


def bert(directory, **settings):
    config = BERT | {'mask_token': '[MASK]'} | settings
    return HFTokenizer.from_directory(
        write(directory, word_pieces(), **{'tokenizer_config.json': config})
    )


def test_ids_are_those_written_out(tmp_path):
    made = bert(tmp_path)
    assert made.encode('The dogs running.') == [2, 5, 6, 7, 8, 9, 10, 3]
    assert made.encode('The dogs', special_tokens=False) == [5, 6, 7]
    assert made.encode('dog', 'the cat') == [2, 6, 3, 5, 1, 3]
    assert made.encode('dog[MASK]') == [2, 6, 4, 3]
    assert made.vocab_size == 11
    assert (made.cls, made.sep, made.pad, made.unk, made.mask) == (2, 3, 0, 1, 4)
    assert made.bos is made.eos is None
    assert made.special_tokens == {'[PAD]': 0, '[UNK]': 1, '[CLS]': 2, '[SEP]': 3, '[MASK]': 4}


def test_batches_are_padded_and_cut_on_the_side_that_is_named(tmp_path):
    right = bert(tmp_path / 'right')(['dog', 'the dogs'], ['run', 'running'])
    assert right['input_ids'].tolist() == [[2, 6, 3, 8, 3, 0, 0, 0], [2, 5, 6, 7, 3, 8, 9, 3]]
    assert right['attention_mask'].tolist() == [[1] * 5 + [0] * 3, [1] * 8]
    assert right['token_type_ids'].tolist() == [[0, 0, 0, 1, 1, 0, 0, 0], [0] * 5 + [1] * 3]
    assert all(array.dtype == 'int32' for array in right.values())
    made = bert(tmp_path / 'left', padding_side='left', truncation_side='left')
    left = made(['dog', 'the dogs running'], max_length=5, truncation=True)
    assert left['input_ids'].tolist() == [[0, 0, 2, 6, 3], [2, 7, 8, 9, 3]]
    assert left['attention_mask'].tolist() == [[0, 0, 1, 1, 1], [1] * 5]
    whole = made('dog', padding='max_length', max_length=4)
    assert whole['input_ids'].tolist() == [[0, 2, 6, 3]]
    # What one call cuts, another does not.
    assert made.encode('the dogs running') == [2, 5, 6, 7, 8, 9, 3]


def test_decoding_leaves_out_special_tokens_and_cleans_blanks(tmp_path):
    ids = [2, 5, 6, 7, 8, 10, 3, 0]
    plain = bert(tmp_path / 'plain')
    assert plain.decode(ids) == 'the dogs run .'
    assert plain.decode(ids, skip_special_tokens=False) == '[CLS] the dogs run . [SEP] [PAD]'
    assert bert(tmp_path / 'clean', clean_up_tokenization_spaces=True).decode(ids) == (
        'the dogs run.'
    )
    with pytest.raises(UserError, match='id -1 is no token; accepted: 0 to 10'):
        plain.decode([5, -1])


def test_old_directories_of_bert(tmp_path):
    files = {'vocab.txt': '\n'.join(WORDS) + '\n', 'config.json': {'model_type': 'bert'}}
    made = HFTokenizer.from_directory(write(tmp_path / 'a', **files))
    assert made.encode('The dogs', 'run') == [2, 5, 6, 7, 3, 8, 3]
    assert made(['dog'], ['dog'])['token_type_ids'].tolist() == [[0, 0, 0, 1, 1]]
    assert (made.cls, made.mask) == (2, 4)
    files['tokenizer_config.json'] = {'do_lower_case': False}
    made = HFTokenizer.from_directory(write(tmp_path / 'b', **files))
    assert made.encode('The dogs') == [2, 1, 6, 7, 3]


def test_old_directories_of_gpt2(tmp_path):
    vocab, merges = byte_pairs()
    lines = '\n'.join(['#version: 0.2', *map(' '.join, merges)])
    files = {'vocab.json': vocab, 'merges.txt': lines + '\n', 'config.json': {'model_type': 'gpt2'}}
    made = HFTokenizer.from_directory(write(tmp_path / 'a', **files))
    t = vocab['t']
    assert made.encode('the he<|endoftext|>') == [t, 256, 257, 258]
    assert made.decode([t, 256, 257, 258]) == 'the he'
    assert (made.bos, made.eos, made.unk, made.pad) == (258, 258, 258, None)
    assert set(made(['he'])) == {'input_ids', 'attention_mask'}
    files['tokenizer_config.json'] = {'add_bos_token': True, 'pad_token': '<pad>'}
    made = HFTokenizer.from_directory(write(tmp_path / 'b', **files))
    assert made.encode('he') == [258, 256]
    assert (made.pad, made.vocab_size) == (259, 260)  # a token that the vocabulary lacked


def test_tokenizer_json_alone_says_what_stands_around_a_text(tmp_path):
    """`add_bos_token` is of the time before it."""
    vocab, merges = byte_pairs()
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab, merges))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    settings = {'bos_token': '<|endoftext|>', 'add_bos_token': True}
    made = HFTokenizer.from_directory(
        write(tmp_path, backend, **{'tokenizer_config.json': settings})
    )
    assert made.encode('he') == [256]


def test_roles_may_lie_in_a_file_of_their_own(tmp_path):
    mask = {'content': '[MASK]', 'lstrip': True, 'rstrip': False, 'normalized': False}
    files = {
        'special_tokens_map.json': BERT
        | {'mask_token': mask, 'additional_special_tokens': ['<one>']}
    }
    made = HFTokenizer.from_directory(write(tmp_path, word_pieces(), **files))
    assert (made.cls, made.mask, made.special_tokens['<one>']) == (2, 4, 11)
    assert made.encode('dog<one>') == [2, 6, 11, 3]


def test_saved_and_made_again(tmp_path):
    files = {'chat_template.jinja': TURNS, 'tokenizer_config.json': BERT | {'padding_side': 'left'}}
    first = HFTokenizer.from_directory(write(tmp_path / 'a', word_pieces(), **files))
    first.chat_templates['short'] = 'no'
    first.save(tmp_path / 'b')
    second = HFTokenizer.from_directory(tmp_path / 'b')
    third = HFTokenizer.from_json(second.to_json())
    for made in (second, third):
        assert made.to_json() == first.to_json()
        assert made.encode('the dogs') == [2, 5, 6, 7, 3]
        assert made(['dog', 'dogs'])['input_ids'].tolist() == [[0, 2, 6, 3], [2, 6, 7, 3]]
        assert made.chat_template == TURNS
        assert made.chat_templates['short'] == 'no'
    first.chat_templates['../../out'] = 'no'
    with pytest.raises(UserError, match="chat template '../../out' cannot be a file"):
        first.save(tmp_path / 'c')
    assert not list(tmp_path.glob('**/out*'))
    with pytest.raises(UserError, match='the saved tokenizer is damaged'):
        HFTokenizer.from_json(first.to_json()[:-20])


def test_chats_are_rendered_and_encoded(tmp_path):
    roles = BERT | {'bos_token': '[CLS]', 'eos_token': '[SEP]'}
    made = bert(tmp_path, **roles, chat_template=TURNS)
    assert made.apply_chat_template(HELLO, tokenize=False) == '[CLS][dogs]\nrun .[SEP]\n'
    asked = made.apply_chat_template(HELLO[:1], add_generation_prompt=True, tokenize=False)
    assert asked == '[CLS][dogs]\ngo'
    ids = made.apply_chat_template(HELLO)
    assert ids == [2, 1, 6, 7, 1, 8, 10, 3]  # no second [CLS] and [SEP] around it


def test_chat_templates_by_name(tmp_path):
    listed = [
        {'name': 'default', 'template': 'a'},
        {'name': 'tool_use', 'template': 'b{{ tools }}'},
    ]
    made = bert(tmp_path / 'a', chat_template=listed)
    assert made.apply_chat_template(HELLO, tokenize=False) == 'a'
    assert made.apply_chat_template(HELLO, tokenize=False, tools=[1]) == 'b[1]'
    assert made.apply_chat_template(HELLO, tokenize=False, name='tool_use') == 'bNone'
    with pytest.raises(UserError, match="no chat template 'rag'; it has: 'default', 'tool_use'"):
        made.apply_chat_template(HELLO, name='rag')
    with pytest.raises(UserError, match="no chat template 'default'; it has: none"):
        bert(tmp_path / 'b').apply_chat_template(HELLO)
    write(tmp_path / 'a', **{'chat_template.jinja': 'file'})
    made = HFTokenizer.from_directory(tmp_path / 'a')
    assert made.chat_templates == {'default': 'file'}


@pytest.mark.parametrize(
    ('template', 'want'),
    [
        ('{{ messages | tojson }}', json.dumps(HELLO)),
        ("{{ {'a': '<é>'} | tojson(indent=1) }}", '{\n "a": "<é>"\n}'),
        ("{{ strftime_now('%%') }}", '%'),
        ('{% for m in messages %}{{ m.role }}{% break %}{% endfor %}', 'user'),
        ('{% set ns = namespace(n=1) %}{% set ns.n = 2 %}{{ ns.n }}', '2'),
        ('{{ colour }}', 'blue'),
    ],
)
def test_what_templates_may_use(tmp_path, template, want):
    made = bert(tmp_path, chat_template=template)
    assert made.apply_chat_template(HELLO, tokenize=False, colour='blue') == want


@pytest.mark.parametrize(
    'template',
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__'] }}",
        "{{ (''|attr('__class__')).__mro__ }}",
        "{{ '{0.__class__}'.format('') }}",
        '{{ raise_exception.__globals__ }}',
        '{{ strftime_now.__globals__ }}',
        '{{ namespace.__init__.__globals__ }}',
        '{{ namespace(__class__=1) }}',
        '{% set ns = namespace() %}{% set ns.__class__ = 1 %}',
        "{{ lipsum.__globals__['os'] }}",
        "{{ messages.append({'role': 'x'}) }}",
        '{{ messages.clear() }}',
        "{% include 'tokenizer.json' %}",
        "{% import 'os' as os %}",
        '{{ range(99999999) | list }}',
        "{{ raise_exception('roles must alternate') }}",
        '{{ messages[0].content + 1 }}',
        '{{ 1 / 0 }}',
    ],
)
def test_templates_that_do_what_they_must_not_are_refused(tmp_path, template):
    made = bert(tmp_path, chat_template=template)
    messages = [dict(m) for m in HELLO]
    with pytest.raises(UserError, match='the chat template cannot be used on these messages: .'):
        made.apply_chat_template(messages, tokenize=False)
    assert messages == HELLO


def test_objects_do_not_reach_templates(tmp_path):
    made = bert(tmp_path, chat_template='{{ thing }}')
    with pytest.raises(UserError, match='thing holds a PosixPath; accepted: text, numbers'):
        made.apply_chat_template(HELLO, thing=tmp_path)
    for messages in ([], 'dogs', {'role': 'user'}, ['dogs']):
        with pytest.raises(UserError, match='messages.* cannot be used; accepted'):
            made.apply_chat_template(messages)


def test_a_damaged_template_says_where(tmp_path):
    made = bert(tmp_path, chat_template='a\n{% if %}')
    with pytest.raises(UserError, match='the chat template is damaged: line 2'):
        made.apply_chat_template(HELLO)


def test_without_jinja2_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    import jinja2

    made = bert(tmp_path, chat_template=f'{tmp_path} a template that nobody compiled yet')
    monkeypatch.setattr(jinja2, '__version__', '3.1.5')
    with pytest.raises(UserError, match='jinja2 3.1.5 .*accepted: 3.1.6 or later'):
        made.apply_chat_template(HELLO)
    monkeypatch.setitem(__import__('sys').modules, 'jinja2', None)
    with pytest.raises(UserError, match="chat templates need jinja2: pip install 'jinja2>="):
        made.apply_chat_template(HELLO)


def test_directories_that_cannot_be_read(tmp_path):
    read = HFTokenizer.from_directory
    with pytest.raises(UserError, match='there is no directory'):
        read(tmp_path / 'none')
    with pytest.raises(UserError, match='has no tokenizer: there is no tokenizer.json'):
        read(write(tmp_path / 'empty'))
    whole = word_pieces().to_str()
    with pytest.raises(UserError, match='tokenizer.json cannot be read'):
        read(write(tmp_path / 'cut', **{'tokenizer.json': whole[: len(whole) // 2]}))
    with pytest.raises(UserError, match='tokenizer.json is damaged'):
        read(write(tmp_path / 'wrong', **{'tokenizer.json': {'model': {'type': 'None'}}}))
    with pytest.raises(UserError, match='spiece.model.*AutoTokenizer.from_pretrained'):
        read(write(tmp_path / 'pieces', **{'spiece.model': 'x'}))
    with pytest.raises(UserError, match='vocab.json of Qwen2Tokenizer and no tokenizer.json'):
        files = {'vocab.json': {}, 'merges.txt': '', 'config.json': {'model_type': 'qwen2'}}
        read(write(tmp_path / 'qwen', **files))
    with pytest.raises(UserError, match='the vocabulary of .* is damaged'):
        files = {'vocab.json': '{"a": ', 'merges.txt': '', 'config.json': {'model_type': 'gpt2'}}
        read(write(tmp_path / 'gpt2', **files))
    with pytest.raises(UserError, match="padding_side='top'; accepted: 'left', 'right'"):
        bert(tmp_path / 'side', padding_side='top')
    for name, value in (
        ('chat_template', [{'nme': 'default'}]),
        ('added_tokens_decoder', {'x': {}}),
        ('model_max_length', 'long'),
    ):
        with pytest.raises(UserError, match='the tokenizer settings of .* are damaged'):
            bert(tmp_path / name, **{name: value})
    assert not tokenizer_files.present(tmp_path / 'empty')
    assert tokenizer_files.present(tmp_path / 'side')


def test_batches_that_cannot_be_made(tmp_path):
    made = bert(tmp_path)
    with pytest.raises(UserError, match='2 texts have 1 pairs'):
        made(['a', 'b'], ['c'])
    with pytest.raises(UserError, match="padding='longest'; accepted: True, False, 'max_length'"):
        made(['a'], padding='longest')
    with pytest.raises(UserError, match='max_length=None: the tokenizer names none'):
        made(['a'], truncation=True)
    with pytest.raises(UserError, match='text 2 has 5 tokens, max_length=4; truncation=True'):
        made(['dog', 'the dogs'], max_length=4)
    with pytest.raises(UserError, match='texts of 3 to 5 tokens make no array: padding=False'):
        made(['dog', 'the dogs'], padding=False)
    with pytest.raises(UserError, match='max_length=1; accepted: at least 2'):
        made(['dog'], max_length=1, truncation=True)
    made = bert(tmp_path / 'b', pad_token=None)
    with pytest.raises(UserError, match='the tokenizer has no padding token'):
        made(['dog', 'the dogs'])
    assert made(['dog', 'run'], padding=False)['input_ids'].tolist() == [[2, 6, 3], [2, 8, 3]]
