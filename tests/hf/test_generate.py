"""Text from checkpoints, against whole passes without a cache."""

import numpy as np
import pytest

from tests import tiny
from transformer.errors import UserError
from transformer.hf import architecture as architectures
from transformer.hf import pretrained as checkpoints

GPT2 = {
    'model_type': 'gpt2',
    'architectures': ['GPT2LMHeadModel'],
    'n_embd': 16,
    'n_layer': 1,
    'n_head': 2,
    'n_positions': 24,
    'vocab_size': 43,
    'tie_word_embeddings': False,
    'pad_token_id': 0,
}
LLAMA = {
    'model_type': 'llama',
    'architectures': ['LlamaForCausalLM'],
    'hidden_size': 16,
    'num_hidden_layers': 1,
    'num_attention_heads': 2,
    'num_key_value_heads': 1,
    'intermediate_size': 24,
    'vocab_size': 43,
    'max_position_embeddings': 12,
}
T5 = {
    'model_type': 't5',
    'architectures': ['T5ForConditionalGeneration'],
    'd_model': 16,
    'd_ff': 24,
    'd_kv': 8,
    'num_heads': 2,
    'num_layers': 1,
    'vocab_size': 43,
    'tie_word_embeddings': False,
    'decoder_start_token_id': 0,
    'pad_token_id': 0,
}
PROMPTS = np.array([[0, 0, 5, 9], [7, 11, 13, 17]])
MASK = (PROMPTS > 0).astype(int)


def made(values, **generation):
    """A checkpoint that lies nowhere, with random parameters."""
    architecture = architectures.read(values)
    model = architecture.model(checkpoints.sizes(architecture, 'float32'))
    return checkpoints.Pretrained(model, tiny.filled(model), None, architecture, None, generation)


@pytest.fixture(scope='module')
def gpt2():
    return made(GPT2)


@pytest.fixture(scope='module')
def t5():
    return made(T5)


def by_whole_passes(pretrained, prompt, count):
    """Greedy, one row, without a cache; padded on the right, so that one program is enough."""
    text = list(prompt)
    for _ in range(count):
        row = np.zeros((1, 24), int)
        row[0, : len(text)] = text
        text.append(int(pretrained(input_ids=row).logits[0, len(text) - 1].argmax()))
    return text


def test_greedy_equals_whole_passes_up_to_the_last_place(gpt2):
    count = 24 - 4 + 1  # the last token is made, but not read
    got = gpt2.generate(PROMPTS, MASK, max_new_tokens=count)
    assert got.shape == (2, 25) and got.dtype == np.int64
    assert min(len(set(row)) for row in got.tolist()) > 8  # not one token over and over
    assert got[0].tolist() == [0, 0, *by_whole_passes(gpt2, [5, 9], count)]
    assert got[1].tolist() == by_whole_passes(gpt2, PROMPTS[1], count)
    # Where no mask is given, the padding token tells.
    np.testing.assert_array_equal(gpt2.generate(PROMPTS, max_new_tokens=count), got)
    with pytest.raises(UserError, match=r'4 tokens and 22 new .* 24 places; .* up to 21'):
        gpt2.generate(PROMPTS, MASK, max_new_tokens=22)


def test_texts_that_end_are_padded(gpt2):
    free = gpt2.generate(PROMPTS, MASK, max_new_tokens=12)
    # A token that stands at different places of the rows.
    both = set(free[0, 4:]) & set(free[1, 4:])
    first = {token: [row.tolist().index(token, 4) for row in free] for token in both}
    end, cut = next((token, at) for token, at in first.items() if at[0] != at[1])
    how = {'eos_token_id': int(end), 'pad_token_id': 42}
    got = gpt2.generate(PROMPTS, MASK, max_new_tokens=12, **how)
    assert got.shape[1] == max(cut) + 1
    for row, whole, at in zip(got, free, cut):
        assert row.tolist() == [*whole[: at + 1], *[42] * (max(cut) - at)]


def test_rotary_models_write_beyond_their_context():
    llama = made(LLAMA)
    got = llama.generate(PROMPTS[1:], max_new_tokens=16)
    assert got[0].tolist() == by_whole_passes(llama, PROMPTS[1], 16)
    # If nobody says how long, it is 20 tokens or the context.
    assert llama.generate(PROMPTS[1:]).shape == (1, 12)


def test_targets_equal_whole_passes(t5):
    sources, mask = np.array([[5, 6, 7, 8, 0], [3, 4, 5, 6, 7]]), np.ones((2, 5), int)
    mask[0, 4] = 0
    got = t5.generate(sources, mask, max_new_tokens=8)
    for i in range(2):
        text = [0]
        for _ in range(8):
            row = np.zeros((1, 9), int)
            row[0, : len(text)] = text
            out = t5(
                input_ids=sources[i : i + 1],
                attention_mask=mask[i : i + 1],
                decoder_input_ids=row,
            )
            text.append(int(out.logits[0, len(text) - 1].argmax()))
        assert got[i].tolist() == text
    # What the decoder's texts begin with, with or without the start token.
    for width in (1, 0):
        more = t5.generate(sources, mask, decoder_input_ids=got[:, width:4], max_new_tokens=5)
        np.testing.assert_array_equal(more, got)
    forced = t5.generate(sources, mask, max_new_tokens=3, forced_bos_token_id=9)
    assert (forced[:, :2] == [0, 9]).all()


def test_what_is_drawn(gpt2):
    how = {'do_sample': True, 'max_new_tokens': 8}
    one, two, other = (gpt2.generate(PROMPTS, MASK, seed=s, **how) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
    greedy = gpt2.generate(PROMPTS, MASK, max_new_tokens=8)
    np.testing.assert_array_equal(gpt2.generate(PROMPTS, MASK, top_k=1, **how), greedy)
    three = gpt2.generate(PROMPTS, MASK, num_return_sequences=3, **how)
    np.testing.assert_array_equal(three[:, :4], np.repeat(PROMPTS, 3, 0))
    assert len({tuple(row) for row in three.tolist()}) == 6


def test_several_of_the_best(gpt2):
    how = {'max_new_tokens': 6, 'num_beams': 3}
    three = gpt2.generate(PROMPTS, MASK, num_return_sequences=3, **how)
    assert len({tuple(row) for row in three.tolist()}) == 6
    np.testing.assert_array_equal(three[::3], gpt2.generate(PROMPTS, MASK, **how))

    def log_p(row):
        row = row[None, row[0] == 0 and 2 or 0 :]
        x = np.asarray(gpt2(input_ids=row).logits, np.float64)
        x -= np.log(np.exp(x).sum(-1, keepdims=True))
        return sum(x[0, i - 1, row[0, i]] for i in range(row.shape[1] - 6, row.shape[1]))

    found = np.array([log_p(row) for row in three]).reshape(2, 3)
    assert (np.diff(found, axis=1) < 0).all()


# Refusals


@pytest.mark.parametrize(
    ('wanted', 'message'),
    [
        ({'num_beam': 4}, "num_beam is no option of generate; did you mean 'num_beams'"),
        ({'num_beams': 0}, 'num_beams=0 cannot be used; accepted: a whole number from 1'),
        ({'do_sample': 1}, 'do_sample=1 cannot be used; accepted: True or False'),
        ({'eos_token_id': 43}, 'eos_token_id=43 cannot be used; accepted: tokens 0 to 42'),
        ({'suppress_tokens': [1, -1]}, 'suppress_tokens=.*accepted'),
        ({'bad_words_ids': [[]]}, 'bad_words_ids=.*accepted: a list of lists'),
        ({'early_stopping': 'soon', 'num_beams': 2}, "early_stopping='soon'.*'never'"),
        ({'temperature': 0.5}, r'temperature=0\.5 is used only with do_sample=True'),
        ({'length_penalty': 2.0}, r'length_penalty=2\.0 is used only with num_beams above 1'),
        ({'num_beams': 2, 'do_sample': True}, 'do_sample=True is not here with num_beams=2'),
        ({'num_return_sequences': 2}, r'num_return_sequences=2 .* num_beams \(1\)'),
        ({'typical_p': 0.5}, r'typical_p=0\.5 is not here; accepted: 1\.0 or None$'),
        ({'max_new_tokens': 4, 'max_length': 4}, 'max_new_tokens and max_length say the same'),
        ({'max_length': 4}, 'max_length=4 leaves no room after 4 tokens'),
        ({'repetition_penalty': -1.0}, r'repetition_penalty -1\.0 .*accepted: above 0'),
    ],
)
def test_what_a_caller_cannot_want(gpt2, wanted, message):
    with pytest.raises(UserError, match=message):
        gpt2.generate(PROMPTS, MASK, **wanted)


def test_prompts_that_cannot_be_continued(gpt2, t5):
    with pytest.raises(UserError, match='row 1 ends with padding.*on the left'):
        gpt2.generate(PROMPTS, MASK[::-1, ::-1])
    with pytest.raises(UserError, match='input_ids hold 43; accepted: 0 to 42'):
        gpt2.generate(PROMPTS + 26)
    with pytest.raises(UserError, match="input_ids are 25 wide; accepted: the model's 24 places"):
        gpt2.generate(np.ones((1, 25), int), max_new_tokens=1)
    with pytest.raises(UserError, match='decoder_input_ids is no input of GPT2LMHeadModel'):
        gpt2.generate(PROMPTS, decoder_input_ids=PROMPTS)
    with pytest.raises(UserError, match=r'decoder_input_ids have shape \(1, 4\); .*\(2, length\)'):
        t5.generate(PROMPTS, decoder_input_ids=PROMPTS[:1])
    for name in ('GPT2Model', 'GPT2ForSequenceClassification'):
        other = made(GPT2 | {'architectures': [name]})
        with pytest.raises(UserError, match=f'{name} writes no text; accepted: GPT2LMHeadModel'):
            other.generate(PROMPTS)
