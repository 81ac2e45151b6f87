"""What is learnt of conversations, under templates of many shapes; and as the original has it."""

import json
import re

import numpy as np
import pytest

from data import tokenizers
from data.chat import Format
from tests.chat_templates import CASES, CHATML, HELLO, SPECIALS, SYSTEM, TAGGED
from tests.chat_tokenizers import BACKENDS, imported, learnt
from transformer.errors import ConfigError, UserError
from transformer.objectives import Chat

# What is learnt


@pytest.mark.parametrize('kind', list(BACKENDS))
@pytest.mark.parametrize('name', list(CASES))
def test_published_templates(name, kind):
    template, told, want = CASES[name]
    tokenizer = imported(kind, template)
    form, record = Format(tokenizer, Chat()), (SYSTEM if told else []) + HELLO
    written = form.write(record, 'record 1')
    assert [written.text[begin:end] for begin, end in written.spans] == want
    whole = tokenizer.tokenizer.apply_chat_template(record, tokenize=False)
    assert written.text == whole
    ((ids, flags),) = form.encode([written])
    assert ids.tolist() == tokenizer.tokenizer.apply_chat_template(record)
    blanks = re.compile(r'\s')
    got = [blanks.sub('', text) for text in learnt(form, tokenizer, record)]
    assert got == [blanks.sub('', text) for text in want]
    assert flags.dtype == np.uint8
    ending = re.search(r'<[^<]*>$', want[-1])[0]
    assert form.ends[0] == tokenizer.special(ending)


@pytest.mark.parametrize('name', [n for n, (_, told, _) in CASES.items() if told and ',' not in n])
def test_what_is_given_to_answer_is_what_was_learnt_from(name):
    """A tokenizer of ours: prompt and answer alone are the beginning of the conversation."""
    template = CASES[name][0]
    tokenizer = tokenizers.Bytes(SPECIALS)
    form = Format(tokenizer, Chat(template=template.replace('eos_token', "'</s>'")))
    record = SYSTEM + HELLO
    ((ids, flags),) = form.encode([form.write(record, 'record 1')])
    prompt = form.prompt(record[:2])
    assert ids[: len(prompt)].tolist() == prompt
    assert not flags[: len(prompt)].any() and flags[len(prompt)]


@pytest.mark.parametrize('template', [CHATML, TAGGED])
def test_messages_of_weight_0(template):
    tokenizer = imported('bytes', template)
    record = [dict(m) for m in HELLO]
    record[1]['weight'] = 0
    assert learnt(Format(tokenizer, Chat()), tokenizer, record) == ['No, done.<|im_end|>']


def test_other_roles():
    tokenizer = imported('bytes', CHATML)
    form = Format(tokenizer, Chat(train_on=('user',)))
    assert learnt(form, tokenizer, HELLO) == ['Hello<|im_end|>', ' More?\n<|im_end|>']
    both = Format(tokenizer, Chat(train_on=('user', 'assistant')))
    assert len(learnt(both, tokenizer, HELLO)) == 4


def test_tools_and_their_calls():
    template = (
        '{% if tools %}<|im_start|>tools\n{{ tools | tojson(ensure_ascii=True) }}<|im_end|>\n'
        "{% endif %}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}"
        "{% for call in m['tool_calls'] or [] %}<call>{{ call | tojson }}</call>{% endfor %}"
        '<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
    )
    tokenizer = imported('bytes', template)
    call = {'role': 'assistant', 'content': None, 'tool_calls': [{'name': 'f', 'x': '</s>'}]}
    messages = [HELLO[0], call, {'role': 'tool', 'content': '1'}, HELLO[1]]
    tools = [{'name': 'f', 'description': 'é <|im_end|>'}]
    form = Format(tokenizer, Chat())
    said = learnt(form, tokenizer, {'messages': messages, 'tools': tools})
    assert said == ['<call>{"name": "f", "x": "</s>"}</call><|im_end|>', 'Hi there<|im_end|>']
    again = learnt(form, tokenizer, {'messages': messages, 'tools': json.dumps(tools)})
    assert again == said
    written = form.write({'messages': messages, 'tools': tools}, 'record 1')
    wrote = '<|im_start|>tools\n[{"name": "f", "description": "\\u00e9 <|im_end|>"}]'
    assert written.text.startswith(wrote)
    ((ids, _),) = form.encode([written])
    assert ids.tolist().count(tokenizer.special('<|im_end|>')) == 5
    assert tokenizer.special('</s>') not in ids


def test_a_template_for_tools_alone():
    tokenizer = imported('bytes', CHATML, tool_use=CHATML.replace('im_end', 'eot_id'))
    form = Format(tokenizer, Chat())
    with_tools = {'messages': HELLO[:2], 'tools': [{'name': 'f'}]}
    assert learnt(form, tokenizer, with_tools) == ['Hi there<|eot_id|>']
    assert learnt(form, tokenizer, HELLO[:2]) == ['Hi there<|im_end|>']


@pytest.mark.parametrize(
    'template',
    [
        # The last message first: nothing is a prefix of anything.
        "{% for m in messages | reverse %}{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}",
        # Twice: which of the two is meant?
        "{% for m in messages %}{{ m['content'] + m['content'] }}{{ loop.last }}{% endfor %}",
        # Without it.
        "{% for m in messages %}{{ m['role'] + loop.revindex | string }}</s>{% endfor %}",
        # Written in another way if it is long.
        "{{ messages | length }}{% for m in messages %}{{ m['content'] | length }}"
        "{{ m['content'] }}</s>{% endfor %}",
    ],
)
def test_what_cannot_be_told_is_refused(template):
    form = Format(imported('bytes', template), Chat())
    with pytest.raises(UserError, match=r'^record 7: what the template makes of messages\[1\]'):
        form.write(HELLO, 'record 7')


def test_generations_that_do_not_fit():
    tokenizer = imported('bytes', TAGGED)
    with pytest.raises(ConfigError, match='train_on=.*the template marks by') as raised:
        Format(tokenizer, Chat(train_on=('user',)))
    assert raised.value.field == 'objective.train_on'
    twice = (
        "{% for m in messages %}{% generation %}{{ m['content'] }}{% endgeneration %}{% endfor %}"
    )
    form = Format(imported('bytes', twice), Chat())
    with pytest.raises(UserError, match='marks 2 parts for 1 messages'):
        form.write([HELLO[0], HELLO[1] | {'weight': 0}], 'record 1')
    changed = '{% set x %}{% generation %} a {% endgeneration %}{% endset %}{{ x | length }}'
    with pytest.raises(UserError, match='changes what its'):
        Format(imported('bytes', changed), Chat()).write(HELLO, 'record 1')


# The original


@pytest.mark.live
@pytest.mark.parametrize('kind', list(BACKENDS))
@pytest.mark.parametrize('name', list(CASES))
def test_as_transformers(name, kind):
    """Ids of any template; what is learnt, where it is marked by the template."""
    transformers = pytest.importorskip('transformers')
    template, told, _ = CASES[name]
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=BACKENDS[kind](),
        bos_token='<s>',
        eos_token='</s>',
        unk_token='<unk>',
        chat_template=template,
    )
    form = Format(imported(kind, template), Chat())
    for record in (HELLO, HELLO[:2], [HELLO[0], HELLO[1] | {'content': 'ünï\n\n日本 '}]):
        record = (SYSTEM if told else []) + record
        marked = name == 'tagged'
        want = theirs.apply_chat_template(
            record, tokenize=True, return_dict=True, return_assistant_tokens_mask=marked
        )
        ((ids, flags),) = form.encode([form.write(record, 'record 1')])
        assert ids.tolist() == want['input_ids']
        if marked:
            assert flags.tolist() == want['assistant_masks']
            assert sum(want['assistant_masks'])
