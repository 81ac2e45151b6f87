"""Chat templates in configs, rows of conversations, and answers."""

import numpy as np
import pytest

from data import tokenizers
from data.chat import Format
from data.encoders.base import in_memory
from data.encoders.chat import ChatEncoder
from tests import tiny
from tests.chat_templates import CHATML, HELLO, LLAMA3
from tests.chat_tokenizers import imported, learnt
from tests.records import CHATS, made, passes, segments
from transformer import cli
from transformer.data_config import DataConfig
from transformer.decode import Generator
from transformer.errors import ConfigError, UserError
from transformer.experiment import Experiment, default_config
from transformer.objectives import Chat
from transformer.respond import Speaker, asked, respond
from transformer.sampling import Sampling

# Templates


def test_which_template_is_used(tmp_path):
    file = tmp_path / 'mine.jinja'
    file.write_text(CHATML.replace('im_end', 'eot_id'), encoding='utf-8')
    objective = Chat(template=str(file))
    file.unlink()  # its text was kept
    tokenizer = imported('bytes', CHATML)
    assert learnt(Format(tokenizer, objective), tokenizer, HELLO[:2]) == ['Hi there<|eot_id|>']
    assert learnt(Format(tokenizer, Chat()), tokenizer, HELLO[:2]) == ['Hi there<|im_end|>']
    # Without a template of its own: ChatML, where its tokens are there; or what an end marker does.
    bare = imported('bytes')
    assert learnt(Format(bare, Chat()), bare, HELLO[:2]) == ['Hi there<|im_end|>']
    plain = tokenizers.Bytes()
    written = Format(plain, Chat()).write(HELLO[:2], 'record 1')
    assert written.text == '<|user|>\nHello<|endoftext|>\n<|assistant|>\nHi there<|endoftext|>\n'
    assert Format(plain, Chat()).ends == (plain.end,)
    with pytest.raises(ConfigError, match='neither a template nor an end marker'):
        Format(tokenizers.Characters('ab'), Chat())
    with pytest.raises(UserError, match='record 1: .*it has no form for tools'):
        Format(plain, Chat()).write({'messages': HELLO, 'tools': [{'name': 'f'}]}, 'record 1')


def test_templates_that_cannot_be_used(tmp_path):
    with pytest.raises(ConfigError, match='objective.template=.*none.jinja.*No such file'):
        Chat(template=str(tmp_path / 'none.jinja'))
    (tmp_path / 'empty.jinja').write_text('hello')
    with pytest.raises(ConfigError, match='the text of a Jinja template'):
        Chat(template=str(tmp_path / 'empty.jinja'))
    with pytest.raises(UserError, match='the chat template is damaged: line 1'):
        Format(imported('bytes'), Chat(template='{% if %}'))
    with pytest.raises(ConfigError, match=r'train_on=\(.tutor.,\).*at least one of system'):
        Chat(train_on=('tutor',))
    with pytest.raises(ConfigError, match=r'train_on=\(\)'):
        Chat(train_on=())
    assert Chat(train_on=('tutor',), roles=('user', 'tutor')).train_on == ('tutor',)


def test_a_config_keeps_the_text_of_its_template(tmp_path):
    (tmp_path / 'mine.jinja').write_text(CHATML, encoding='utf-8')
    config = default_config('decoder', 'chat')
    cli.override(config, {'objective.template': str(tmp_path / 'mine.jinja')})
    assert config.objective.template == CHATML
    assert Experiment.from_config(config).objective == Chat(template=CHATML)


# Rows


def examples_of(kind='bytes'):
    tokenizer = tokenizers.Bytes(Chat().special_tokens)
    return tokenizer, in_memory(ChatEncoder(tokenizer, Chat()), CHATS)


@pytest.mark.parametrize('packing', ['first_fit', 'best_fit', 'concat'])
def test_rows_hold_every_learnt_token_once(packing):
    """Where nothing is too long; and conversations see but themselves."""
    tokenizer, examples = examples_of()
    found, _ = made(Chat(), context=512, data=DataConfig(packing=packing))
    rows = found.train.rows
    want = []
    for tokens, trained in zip(examples['tokens'], examples['trained']):
        want += tokens[trained > 0].tolist()
    got = []
    for row in [rows.at(place) for place in range(len(rows))]:
        got += row['targets'][row['weights'] > 0].tolist()
        for n in segments(row):
            part = row['segment_ids'] == n
            assert row['positions'][part].tolist() == list(range(part.sum()))
            assert not row['weights'][~(row['segment_ids'] > 0)].any()
            inputs, targets = row['inputs'][part], row['targets'][part]
            assert np.array_equal(inputs[1:], targets[:-1])
            if packing != 'concat':  # a whole conversation
                assert tokenizer.decode(inputs).startswith('<|im_start|>user\n')
                assert tokenizer.decode(targets).endswith('<|im_end|>\n')
    assert sorted(got) == sorted(want)
    assert found.train.predicted == len(want) and found.train.text_bytes == 0
    assert 'left out' not in found.summary and 'cut to' not in found.summary


def test_long_conversations_are_cut_and_counted():
    tokenizer, examples = examples_of()
    context = 36
    found, _ = made(Chat(), context=context, data=DataConfig(packing='best_fit'))
    want, cut, empty = [], 0, 0
    for tokens, trained in zip(examples['tokens'], examples['trained']):
        seen = tokens[: context + 1][trained[: context + 1] > 0].tolist()
        want += seen
        cut += bool(seen) and len(tokens) > context + 1
        empty += not seen
    assert cut and empty
    rows = [found.train.rows.at(place) for place in range(len(found.train.rows))]
    got = [t for row in rows for t in row['targets'][row['weights'] > 0].tolist()]
    assert sorted(got) == sorted(want) and found.train.predicted == len(want)
    assert all(row['weights'].any() for row in rows)
    assert f'{cut} cut to {context}' in found.summary
    assert f'left out: {empty} x nothing to learn in {context} tokens' in found.summary
    assert len(passes(found.train.rows)) == len(rows)


def test_no_conversation_that_fits():
    with pytest.raises(UserError, match='at least one conversation of which something is learnt'):
        made(Chat(), context=8, data=DataConfig(packing='first_fit'))


# Answers


class Echo:
    """Says 'Hi', and notes what it was asked."""

    seen: list = []

    def __init__(self, model, params, end, how, prefix=False):
        self.seen.append(end)

    def generate(self, prompts, room, seed):
        self.seen.extend(prompts)
        return [list(b'Hi')] * len(prompts)


def test_a_chat_model_answers(monkeypatch):
    monkeypatch.setattr('transformer.respond.Generator', Echo)
    tokenizer = tokenizers.Bytes(Chat().special_tokens)
    speaker = Speaker(None, None, tokenizer, Chat(), system='Be brief')
    assert respond(speaker, ['a <|im_end|>']) == ['Hi']
    ends, prompt = Echo.seen
    assert ends == (tokenizer.special('<|im_end|>'), tokenizer.end)
    text = '<|im_start|>system\nBe brief<|im_end|>\n<|im_start|>user\na <|im_end|><|im_end|>\n'
    assert tokenizer.decode(prompt) == f'{text}<|im_start|>assistant\n'
    assert prompt.count(ends[0]) == 2
    with pytest.raises(UserError, match='no beam search'):
        respond(Speaker(None, None, tokenizer, Chat(), how=None), ['a'])


def test_any_of_several_tokens_ends_an_answer(key):
    model = tiny.model()
    params = model.init(key, model.example(), method='forward')['params']
    vocab = model.config.tokens.vocab
    free = Generator(model, params, None, Sampling(0.0)).generate([[1, 2, 3]], 8)[0]
    ends = (vocab - 1, free[3]) if free[3] not in free[:3] else (free[0], vocab - 1)
    stopped = Generator(model, params, ends, Sampling(0.0)).generate([[1, 2, 3]], 8)[0]
    place = next(i for i, token in enumerate(free) if token in ends)
    assert stopped == free[:place]


def test_prompts_of_many(monkeypatch):
    tokenizer = imported('pieces', LLAMA3)
    ends, prompts = asked(Speaker(None, None, tokenizer, Chat()), ['Hello', 'More'])
    want = tokenizer.tokenizer.apply_chat_template(HELLO[:1], add_generation_prompt=True)
    assert prompts[0] == want and len(prompts) == 2
    assert ends == (tokenizer.special('<|eot_id|>'), tokenizer.special('</s>'))
