"""Text from checkpoints against the original's `generate`, on random models."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.hf.cases import Case
from transformer.hf import pretrained as checkpoints
from transformer.hf.generation_config import plan
from transformer.sampling import filtered
from transformer.scores import adjuster

pytest.importorskip('torch', reason='compares with torch and transformers: pip install both')
pytest.importorskip('transformers', reason='compares with transformers: pip install it')

import torch  # noqa: E402
import transformers  # noqa: E402

from tests.hf import original  # noqa: E402

SIDE = {'vocab_size': 43, 'pad_token_id': 3, 'bos_token_id': 1, 'eos_token_id': 2}
SMALL = SIDE | {
    'hidden_size': 16,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'num_key_value_heads': 1,
    'intermediate_size': 24,
    'max_position_embeddings': 96,
}
BOTH = SIDE | {
    'd_model': 16,
    'encoder_layers': 1,
    'decoder_layers': 2,
    'encoder_attention_heads': 2,
    'decoder_attention_heads': 2,
    'encoder_ffn_dim': 24,
    'decoder_ffn_dim': 24,
    'max_position_embeddings': 96,
    'decoder_start_token_id': 2,
    'forced_eos_token_id': 2,
}
ONE = {'n_layer': 2, 'n_head': 2}
MODELS = {
    'GPT2LMHeadModel': SIDE | ONE | {'n_embd': 16, 'n_positions': 96},
    'LlamaForCausalLM': SMALL,
    'MistralForCausalLM': SMALL | {'sliding_window': 4},
    'Qwen2ForCausalLM': SMALL,
    'Gemma2ForCausalLM': SMALL | {'head_dim': 6, 'sliding_window': 4},
    'BloomForCausalLM': SIDE | ONE | {'hidden_size': 16},
    'MambaForCausalLM': SIDE | {'hidden_size': 16, 'num_hidden_layers': 2, 'state_size': 4},
    'T5ForConditionalGeneration': SIDE
    | {'d_model': 16, 'd_ff': 24, 'd_kv': 8, 'num_heads': 2, 'num_layers': 2}
    | {'decoder_start_token_id': 3},
    'BartForConditionalGeneration': BOTH,
}
SUMMARY = {'length_penalty': 2.0, 'min_length': 12, 'no_repeat_ngram_size': 3, 'num_beams': 4}
BEAMS = (
    ('T5ForConditionalGeneration', {'num_beams': 4}),
    (
        'T5ForConditionalGeneration',
        {'num_beams': 4, 'early_stopping': 'never', 'length_penalty': 2.0},
    ),
    ('BartForConditionalGeneration', SUMMARY | {'early_stopping': True, 'forced_bos_token_id': 1}),
    (
        'BartForConditionalGeneration',
        {'num_beams': 4, 'early_stopping': True, 'length_penalty': 0.5},
    ),
    (
        'GPT2LMHeadModel',
        {'num_beams': 3, 'early_stopping': 'never', 'length_penalty': -1.0}
        | {'num_return_sequences': 2, 'repetition_penalty': 1.5},
    ),
    ('LlamaForCausalLM', SUMMARY | {'renormalize_logits': True, 'suppress_tokens': [5, 6]}),
)
OTHERS = (
    {'repetition_penalty': 1.3},
    {'encoder_repetition_penalty': 1.3},
    {'no_repeat_ngram_size': 2},
    {'encoder_no_repeat_ngram_size': 2},
    {'bad_words_ids': [[4], [5, 6], [7, 8, 9]]},
    {'sequence_bias': [[[4], 1.5], [[5, 6], -2.0]]},
    {'exponential_decay_length_penalty': (2, 1.5)},
    {'min_new_tokens': 9, 'begin_suppress_tokens': [8, 9]},
    {'forced_bos_token_id': 4, 'forced_eos_token_id': [2, 5]},
)


@pytest.fixture(scope='module', autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope='module')
def pairs(tmp_path_factory):
    """The original and what is loaded here, by the name of the class."""
    known = {}

    def pair(name):
        if name not in known:
            case = Case(f'generate/{name}', name, MODELS[name])
            model, directory = original.make(case), tmp_path_factory.mktemp(name)
            original.save(case, model, directory)
            known[name] = model, checkpoints.load(directory, dtype='float32')
        return known[name]

    return pair


def prompts(both):
    """Four of unequal length, padded on the left; sources on the right."""
    rows = np.random.default_rng(0).integers(4, 43, (4, 9))
    places = np.arange(9)[None]
    lengths = np.array([9, 4, 1, 7])[:, None]
    mask = places < lengths if both else places >= 9 - lengths
    return np.where(mask, rows, 3), mask.astype(int)


def theirs(model, ids, mask, **options):
    found = model.generate(torch.tensor(ids), attention_mask=torch.tensor(mask), **options)
    return found.numpy()


def an_end(texts, start):
    """The token that leaves the most lengths."""

    def cuts(token):
        return len({(row == token).argmax() for row in texts[:, start:] if token in row})

    return int(max(np.unique(texts[:, start:]), key=cuts))


@pytest.mark.live
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', MODELS)
def test_greedy_is_the_original(pairs, name):
    model, mine = pairs(name)
    both = model.config.is_encoder_decoder
    ids, mask = prompts(both)
    start = 1 if both else ids.shape[1]
    free = theirs(model, ids, mask, max_new_tokens=64, eos_token_id=None)
    end = an_end(free, start)
    want = theirs(model, ids, mask, max_new_tokens=64, eos_token_id=[end, 2])
    assert (want[:, start:] == 3).any()  # some ended
    got = mine.generate(ids, mask, max_new_tokens=64, eos_token_id=None)
    np.testing.assert_array_equal(got, free)
    np.testing.assert_array_equal(
        mine.generate(ids, mask, max_new_tokens=64, eos_token_id=[end, 2]), want
    )


@pytest.mark.live
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize(('name', 'options'), BEAMS)
def test_beams_are_the_original(pairs, name, options):
    model, mine = pairs(name)
    ids, mask = prompts(model.config.is_encoder_decoder)
    options = options | {'max_new_tokens': 24}
    want = theirs(model, ids, mask, **options)
    np.testing.assert_array_equal(mine.generate(ids, mask, **options), want)


@pytest.mark.live
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('options', OTHERS, ids=lambda x: next(iter(x)))
def test_scores_are_the_original(options):
    """The functions on scores, on texts that repeat themselves."""
    rng = np.random.default_rng(0)
    ids = rng.integers(4, 10, (3, 8))
    scores = rng.standard_normal((3, 12)).astype(np.float32)
    config = transformers.GenerationConfig(**options, eos_token_id=2, max_length=8)
    config._eos_token_tensor = torch.tensor([2])
    for prompt in (1, 3):
        held = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL))
        change = held._get_logits_processor(config, prompt, torch.tensor(ids[:, :prompt]))
        ours = plan({}, {}, options | {'eos_token_id': 2, 'max_length': 8}, prompt, 43)
        first = jnp.asarray(ids[:, :prompt])
        adjust = adjuster(ours.constraints, ours.ends, first, first, ours.room)
        for size in range(prompt, 8):
            want = change(torch.tensor(ids[:, :size]), torch.tensor(scores)).numpy()
            new = np.full((3, 8 - prompt), -1)
            new[:, : size - prompt] = ids[:, prompt:size]
            got = (
                scores
                if adjust is None
                else adjust(jnp.asarray(scores), jnp.asarray(new), size - prompt)
            )
            np.testing.assert_allclose(got, want, rtol=1e-5, err_msg=f'{prompt} {size}')


@pytest.mark.live
@pytest.mark.parametrize(
    'options',
    [{'top_k': 5}, {'top_p': 0.7, 'temperature': 0.5}, {'min_p': 0.3, 'top_p': 0.9, 'top_k': 0}],
)
def test_what_can_be_drawn_is_the_original(options):
    scores = np.random.default_rng(0).standard_normal((5, 43)).astype(np.float32)
    defaults = {'top_k': 50, 'do_sample': True}
    config = transformers.GenerationConfig(**defaults | options)
    config._eos_token_tensor = None
    held = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL))
    want = held._get_logits_processor(config, 1)(None, torch.tensor(scores)).numpy()
    got = filtered(jnp.asarray(scores), plan({}, {}, {'do_sample': True} | options, 1, 43).how)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    assert np.isneginf(want).any()
