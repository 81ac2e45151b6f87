"""What is to be written: the files of published checkpoints, and what a caller wants instead."""

import dataclasses

import pytest

from transformer.beam import Beam
from transformer.errors import UserError
from transformer.hf.generation_config import OPTIONS, plan
from transformer.sampling import Sampling
from transformer.scores import Constraints

CNN = {  # facebook/bart-large-cnn
    'bos_token_id': 0,
    'decoder_start_token_id': 2,
    'early_stopping': True,
    'eos_token_id': 2,
    'forced_bos_token_id': 0,
    'forced_eos_token_id': 2,
    'length_penalty': 2.0,
    'max_length': 142,
    'min_length': 56,
    'no_repeat_ngram_size': 3,
    'num_beams': 4,
    'pad_token_id': 1,
    'transformers_version': '4.27.0.dev0',
}
CHAT = {  # meta-llama/Meta-Llama-3-8B-Instruct
    'bos_token_id': 128_000,
    'do_sample': True,
    'eos_token_id': [128_001, 128_009],
    'max_length': 4096,
    'temperature': 0.6,
    'top_p': 0.9,
    'transformers_version': '4.40.0.dev0',
}


def test_a_summary():
    found = plan(CNN, {}, {}, 1, 50_264)
    assert found.how == Beam(4, 2.0, 'power', 'full')
    assert found.constraints == Constraints(no_repeat=3, least=55, first=0, last=(2,))
    assert (found.ends, found.pad, found.start, found.room) == ((2,), 1, 2, 141)
    # config.json says it where there is no other file; what is no option of it is the model's.
    assert plan(
        {}, CNN | {'d_model': 16, 'min_length': None}, {}, 1, 50_264
    ) == dataclasses.replace(found, constraints=dataclasses.replace(found.constraints, least=0))
    assert plan({'pad_token_id': 1}, CNN, {}, 1, 50_264).ends == ()


def test_a_chat():
    found = plan(CHAT, {}, {}, 10, 128_256)
    assert found.how == Sampling(0.6, 50, 0.9)
    assert (found.ends, found.pad, found.room) == ((128_001, 128_009), 128_001, 4086)
    found = plan(CHAT, {}, {'do_sample': False, 'eos_token_id': None}, 10, 128_256)
    assert found.how == Sampling(0.0) and found.ends == () and found.pad is None
    found = plan(CHAT, {}, {'top_k': None, 'temperature': 2, 'max_new_tokens': 5}, 10, 128_256)
    assert found.how == Sampling(2.0, 0, 0.9) and found.room == 5


def test_lengths():
    room = lambda **wanted: plan({'max_new_tokens': 7}, {}, wanted, 10, 9).room  # noqa: E731
    assert room() == 7 and room(max_length=12) == 2 and room(max_new_tokens=3) == 3
    assert plan({}, {}, {}, 10, 9).room == 20
    assert plan({}, {}, {}, 10, 9, longest=24).room == 14
    least = lambda **w: plan({}, {}, {'eos_token_id': 1} | w, 10, 9).constraints.least  # noqa: E731
    assert least(min_length=12) == 2 and least(min_new_tokens=12) == 12 and least(min_length=3) == 0


@pytest.mark.parametrize(
    ('early', 'stop'), [(False, 'guess'), (True, 'full'), ('never', 'certain'), (None, 'guess')]
)
def test_when_beams_stop(early, stop):
    assert plan({}, {}, {'num_beams': 2, 'early_stopping': early}, 1, 9).how.stop == stop


def test_what_is_banned():
    wanted = {
        'bad_words_ids': [[3], [1, 2], [5]],
        'sequence_bias': [[[4, 5], -2.5]],
        'eos_token_id': 5,
        'suppress_tokens': [6, 7],
        'begin_suppress_tokens': [8],
        'forced_bos_token_id': 2,
        'exponential_decay_length_penalty': (4, 1.1),
        'encoder_repetition_penalty': 2.0,
    }
    inf = float('inf')
    got = plan({}, {}, wanted, 1, 9).constraints
    assert got == Constraints(
        biases=(((4, 5), -2.5), ((3,), -inf), ((1, 2), -inf)),  # an end is never a bad word
        source_penalty=0.5,
        first=2,
        growth=(4, 1.1),
        suppressed=(6, 7),
        suppressed_once=(8,),
        once=1,
    )
    assert plan({}, {}, wanted, 3, 9).constraints == dataclasses.replace(got, first=None, once=0)


def test_what_a_file_cannot_want():
    message = (
        r'generation_config\.json: penalty_alpha=0\.6 is not here; accepted: 0\.0 or None, or '
        'penalty_alpha=None to go without it'
    )
    with pytest.raises(UserError, match=message):
        plan({'penalty_alpha': 0.6}, {}, {}, 4, 43)
    assert plan({'penalty_alpha': 0.6}, {}, {'penalty_alpha': None}, 4, 43).how == Sampling(0.0)
    with pytest.raises(UserError, match="chat_format='raw' is not here.*chat_format=None"):
        plan({'chat_format': 'raw'}, {}, {}, 4, 43)
    assert plan({'chat_format': 'raw'}, {}, {'chat_format': None}, 4, 43).room == 20
    # A file's settings of sampling are no mistake where nothing is drawn.
    assert plan({'temperature': 0.6}, {}, {}, 4, 43).how == Sampling(0.0)


def test_options_are_the_original_s():
    config = pytest.importorskip('transformers').GenerationConfig()
    assert set(OPTIONS) <= set(vars(config))
    for name, value in config._get_default_generation_params().items():
        if name in OPTIONS and name != 'max_length':
            assert OPTIONS[name][1] == value, name
