"""Generation over the cache."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from transformer.context import Context
from transformer.decode import Generator, Sampling, sample
from transformer.errors import UserError

PROMPTS = [[3, 1, 4], [1], [5, 9, 2, 6, 5, 3, 5]]


@pytest.fixture(scope='module')
def trained():
    model = tiny.model(init_std=0.0)
    return model, tiny.noisy(tiny.init(model))


def generator(trained, end=None, **how):
    return Generator(*trained, end, Sampling(**({'temperature': 0.0} | how)))


def by_full_passes(trained, prompt, count):
    """Greedy text without a cache: the whole text is read anew for every token."""
    model, params = trained
    read = jax.jit(lambda inputs: model.apply({'params': params}, inputs, Context.of(inputs))[0])
    text = list(prompt)
    for _ in range(count):
        row = np.zeros((1, tiny.CONTEXT), np.int32)  # what follows is not seen: one compilation
        row[0, : len(text)] = text
        text.append(int(read(row)[0, len(text) - 1].argmax()))
    return text[len(prompt) :]


def test_greedy_equals_full_passes_for_unequal_prompts(trained):
    got = generator(trained).generate(PROMPTS, 8)
    assert got == [by_full_passes(trained, prompt, 8) for prompt in PROMPTS]


@pytest.mark.parametrize(
    'how', [{'temperature': 0.0}, {'temperature': 1.0, 'top_k': 5, 'top_p': 0.9}]
)
def test_a_stream_is_the_whole_in_pieces(trained, how):
    whole = generator(trained, **how).generate(PROMPTS, 9, seed=4)
    for every in (1, 4):
        rows = [[], [], []]
        for new in generator(trained, **how).stream(PROMPTS, 9, seed=4, every=every):
            assert max(map(len, new)) <= every
            for row, tokens in zip(rows, new):
                row += tokens
        assert rows == whole


def test_the_seed_decides(trained):
    how = {'temperature': 1.0}
    one, two, other = (generator(trained, **how).generate(PROMPTS, 9, s) for s in (1, 1, 2))
    assert one == two != other


def test_a_row_does_not_depend_on_its_neighbours(trained):
    one = generator(trained, temperature=1.0).generate(PROMPTS, 6, seed=3)
    other = generator(trained, temperature=1.0).generate([PROMPTS[0], [7, 7, 7, 7]], 6, seed=3)
    assert one[0] == other[0]


def test_stops_at_the_end_of_the_document(trained):
    free = generator(trained).generate(PROMPTS, 9)
    end = free[0][4]
    stopped = generator(trained, end=end).generate(PROMPTS, 9)
    for whole, row in zip(free, stopped):
        assert row == list(itertools.takewhile(lambda t: t != end, whole))
    assert len(stopped[0]) < 5 + 1
    only = generator(trained, end=end)
    assert len(list(only.stream(PROMPTS[:1], 9))) == free[0].index(end) + 1  # and computes no more


def test_goes_on_beyond_the_context(trained):
    got = generator(trained).generate([PROMPTS[0]], 3 * tiny.CONTEXT)[0]
    assert len(got) == 3 * tiny.CONTEXT
    fits = tiny.CONTEXT - len(PROMPTS[0]) + 1
    assert got[:fits] == by_full_passes(trained, PROMPTS[0], fits)
    # then the last half of the context is read again
    text = PROMPTS[0] + got[:fits]
    window = text[-tiny.CONTEXT // 2 :]
    rest = by_full_passes(trained, window, tiny.CONTEXT // 2)
    assert got[fits : fits + len(rest)] == rest


def test_a_prompt_as_long_as_the_context(trained):
    prompt = list(range(tiny.CONTEXT))
    got = generator(trained).generate([prompt], 1)[0]
    assert got == by_full_passes(trained, prompt, 1)


@pytest.mark.parametrize(
    ('prompts', 'message'),
    [
        ([], 'no prompt'),
        ([[1], []], 'prompt 2 is empty'),
        ([[0] * 17], 'prompt 1 has 17 tokens; accepted: at most the context of the model, 16'),
        ([[tiny.VOCAB]], 'token 40, which the model lacks; accepted: 0 to 39'),
    ],
)
def test_bad_prompts(trained, prompts, message):
    with pytest.raises(UserError, match=message):
        generator(trained).generate(prompts, 4)


@pytest.mark.parametrize(
    'how', [{'temperature': -1.0}, {'top_k': -1}, {'top_p': 0.0}, {'top_p': 1.1}]
)
def test_bad_sampling(how):
    with pytest.raises(UserError, match=next(iter(how))):
        Sampling(**how)


def drawn(probabilities, **how):
    logits = jnp.log(jnp.array([probabilities] * 4000))
    keys = jax.random.split(jax.random.key(0), 4000)
    return np.bincount(sample(logits, keys, Sampling(**how)), minlength=len(probabilities)) / 4000


def test_sampling_follows_the_distribution():
    p = [0.5, 0.3, 0.15, 0.05]
    np.testing.assert_allclose(drawn(p), p, atol=0.03)
    np.testing.assert_allclose(drawn(p, top_k=2), [0.625, 0.375, 0, 0], atol=0.03)
    # 0.5 alone does not reach 0.6, with 0.3 it does
    np.testing.assert_allclose(drawn(p, top_p=0.6), [0.625, 0.375, 0, 0], atol=0.03)
    np.testing.assert_allclose(drawn(p, top_p=0.01), [1, 0, 0, 0])
    np.testing.assert_allclose(drawn(p, temperature=0.0), [1, 0, 0, 0])
    squared = np.square(p) / np.square(p).sum()
    np.testing.assert_allclose(drawn(p, temperature=0.5), squared, atol=0.03)
