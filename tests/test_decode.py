"""Generation over the cache."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from transformer import model as models
from transformer.context import Context
from transformer.decode import Generator
from transformer.errors import UserError
from transformer.models.assemble import Sizes
from transformer.sampling import Sampling, sample

PROMPTS = [[3, 1, 4], [1], [5, 9, 2, 6, 5, 3, 5]]


@functools.lru_cache
def trained():
    model = tiny.model(tied=False)
    return model, tiny.filled(model)


@functools.lru_cache
def generator(end=None, **how):
    """Tests with the same arguments share the compiled programs."""
    return Generator(*trained(), end, Sampling(**({'temperature': 0.0} | how)))


@functools.lru_cache
def reader():
    model, params = trained()
    return jax.jit(lambda inputs: model.apply({'params': params}, inputs, Context.of(inputs))[0])


def by_full_passes(prompt, count):
    """Greedy text without a cache: the whole text is read anew for every token."""
    read, text = reader(), list(prompt)
    for _ in range(count):
        row = np.zeros((1, tiny.CONTEXT), np.int32)  # what follows is not seen: one compilation
        row[0, : len(text)] = text
        text.append(int(read(row)[0, len(text) - 1].argmax()))
    return text[len(prompt) :]


def test_greedy_equals_full_passes_for_unequal_prompts():
    got = generator().generate(PROMPTS, 9)
    assert got == [by_full_passes(prompt, 9) for prompt in PROMPTS]
    assert all(len(set(row)) > 3 for row in got)  # not the same token over and over


@pytest.mark.parametrize(
    'how', [{'temperature': 0.0}, {'temperature': 1.0, 'top_k': 5, 'top_p': 0.9}]
)
def test_a_stream_is_the_whole_in_pieces(how):
    whole = generator(**how).generate(PROMPTS, 9, seed=4)
    for every in (1, 4):
        rows = [[], [], []]
        for new in generator(**how).stream(PROMPTS, 9, seed=4, every=every):
            assert max(map(len, new)) <= every
            for row, tokens in zip(rows, new):
                row += tokens
        assert rows == whole


def test_the_seed_decides():
    how = {'temperature': 1.0}
    one, two, other = (generator(**how).generate(PROMPTS, 9, s) for s in (1, 1, 2))
    assert one == two != other


def test_a_row_does_not_depend_on_its_neighbours():
    one = generator(temperature=1.0).generate(PROMPTS, 9, seed=3)
    other = generator(temperature=1.0).generate([PROMPTS[0], [7] * 4, [2] * 6], 9, seed=3)
    assert one[0] == other[0]


def test_stops_at_the_end_of_the_document():
    free = generator().generate(PROMPTS, 9)
    end = free[2][4]
    assert end not in free[2][:4]
    stopped = generator(end=end).generate(PROMPTS, 9)
    for whole, row in zip(free, stopped):
        assert row == list(itertools.takewhile(lambda t: t != end, whole))
    assert len(stopped[2]) == 4
    only = generator(end=end).stream([PROMPTS[2]] * 3, 9)
    assert len(list(only)) == 5  # and computes no more


def test_goes_on_beyond_the_context():
    got = generator().generate(PROMPTS, 3 * tiny.CONTEXT)
    fits = tiny.CONTEXT - max(map(len, PROMPTS)) + 1
    for prompt, row in zip(PROMPTS, got):
        assert len(row) == 3 * tiny.CONTEXT
        assert row[:fits] == by_full_passes(prompt, fits)
        # then the last half of the context is read again
        window = (prompt + row[:fits])[-tiny.CONTEXT // 2 :]
        rest = by_full_passes(window, tiny.CONTEXT // 2)
        assert row[fits : fits + len(rest)] == rest


def test_a_prompt_as_long_as_the_context():
    prompt = list(range(tiny.CONTEXT))
    got = generator().generate([prompt], 1)[0]
    assert got == by_full_passes(prompt, 1)


@pytest.mark.parametrize(
    ('prompts', 'message'),
    [
        ([], 'no prompt'),
        ([[1], []], 'prompt 2 is empty'),
        ([[0] * 17], 'prompt 1 has 17 tokens; accepted: at most the context of the model, 16'),
        ([[tiny.VOCAB]], 'token 40, which the model lacks; accepted: 0 to 39'),
    ],
)
def test_bad_prompts(prompts, message):
    with pytest.raises(UserError, match=message):
        generator().generate(prompts, 4)


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


def test_a_prefix_is_read_in_both_directions():
    """As in training: the first new token is that of a forward pass with the prompt as prefix."""
    model = tiny.model(tied=False)
    params = tiny.filled(model)
    prompt = [3, 17, 8, 30, 5, 21]
    inputs = jnp.asarray([prompt + [0] * (tiny.CONTEXT - len(prompt))])
    batch = {
        'inputs': inputs,
        'positions': jnp.arange(tiny.CONTEXT)[None],
        'segment_ids': jnp.ones_like(inputs),
        'prefix': (jnp.arange(tiny.CONTEXT) < len(prompt))[None],
    }
    forward = jax.jit(lambda b: model.apply({'params': params}, b, method='forward')[0])
    scores = {'prefix': forward(batch)[0, len(prompt) - 1]}
    scores['causal'] = forward(batch | {'prefix': jnp.zeros_like(batch['prefix'])})[0, 5]
    assert scores['prefix'].argmax() != scores['causal'].argmax()
    for name, prefix in (('prefix', True), ('causal', False)):
        generator = Generator(model, params, None, Sampling(0.0), prefix)
        (row,) = generator.generate([prompt], 1)
        assert row == [int(scores[name].argmax())]


def test_a_prompt_within_a_context_that_is_no_power_of_two():
    options = dataclasses.replace(tiny.OPTIONS, positions='learned')
    model = models.make(options.build(Sizes(tiny.VOCAB, 11)))
    generator = Generator(model, tiny.filled(model), None, Sampling(0.0))
    (row,) = generator.generate([[1] * 10], 4)
    assert len(row) == 4
