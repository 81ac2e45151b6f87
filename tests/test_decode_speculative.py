"""Speculative decoding: the model's own text, whatever the draft."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from transformer.context import Context
from transformer.decode import Generator
from transformer.errors import UserError
from transformer.sampling import Sampling, filtered
from transformer.speculative import SpeculativeGenerator

GREEDY = Sampling(temperature=0.0)
PROMPTS = [[3, 1, 4], [1], [5, 9, 2, 6, 5, 3, 5]]


def near(params, spread=0.02):
    """Parameters of a draft that is often, but not always, right."""
    rng = np.random.default_rng(7)
    return jax.tree.map(lambda x: x + spread * rng.standard_normal(x.shape, np.float32), params)


@functools.lru_cache
def pair():
    model = tiny.model(tied=False, depth=2, attention='reference')
    params = tiny.filled(model)
    return model, params, near(params)


@functools.lru_cache
def both(end=None, count=3):
    model, params, other = pair()
    plain = Generator(model, params, end, GREEDY)
    draft = {'draft': model, 'draft_params': other, 'draft_tokens': count}
    return plain, SpeculativeGenerator(model, params, end, GREEDY, **draft)


@pytest.mark.parametrize('prompts', [PROMPTS[2:], PROMPTS], ids=['one', 'three'])
def test_greedy_text_is_that_of_the_model_alone(prompts):
    """Beyond its context, too, where the last half of it is read again."""
    plain, speculative = both()
    whole = plain.generate(prompts, 2 * tiny.CONTEXT)
    assert speculative.generate(prompts, 2 * tiny.CONTEXT) == whole
    pieces = [[] for _ in prompts]
    for new in speculative.stream(prompts, 2 * tiny.CONTEXT, every=2):
        assert max(map(len, new)) <= 2
        for row, tokens in zip(pieces, new):
            row += tokens
    assert pieces == whole


def test_texts_end_where_the_model_alone_ends_them():
    free = both()[0].generate(PROMPTS, 9)
    end = free[2][4]
    plain, speculative = both(end)
    stopped = plain.generate(PROMPTS, 9)
    assert len({*map(len, stopped)}) > 1
    assert speculative.generate(PROMPTS, 9) == stopped
    in_turn = [sum(rows, []) for rows in zip(*speculative.stream(PROMPTS, 9, every=1))]
    assert in_turn == stopped


@pytest.mark.parametrize(('spread', 'rounds'), [(0.0, 2), (0.02, 5)])
def test_a_draft_that_is_right_saves_passes(spread, rounds):
    """Eight tokens by proposals of three: two rounds if all are accepted, eight if none is."""
    model, params, _ = pair()
    draft = {'draft': model, 'draft_params': near(params, spread), 'draft_tokens': 3}
    generator = SpeculativeGenerator(model, params, None, GREEDY, **draft)
    state = generator._start([PROMPTS[2]], 8, np.zeros(1, bool))
    passes = 0
    while state.made < 8:
        state = generator._more(jax.random.key(0), state, 0, int(state.made) + 1, 8)
        passes += 1
    assert passes <= rounds
    assert passes > 2 or not spread


def test_what_is_drawn_has_the_distribution_of_the_model():
    """Three tokens after a prompt, of six there are: all 216 texts as often as they should be."""
    how, V, prompt, count = Sampling(temperature=1.3, top_p=0.9), 6, [2, 5], 8000
    model = tiny.member('llama', vocab=V, context=8, decode=True)
    params = tiny.filled(model)
    other = near(params, 0.3)
    texts = np.array(list(itertools.product(range(V), repeat=3)))
    rows = np.concatenate([np.tile(prompt, (len(texts), 1)), texts], 1)
    read = jax.jit(lambda p, x: model.apply({'params': p}, x, Context.of(x))[0])

    def chances(params):
        scores = jnp.asarray(read(params, jnp.asarray(rows))[:, 1:4])
        p = jax.nn.softmax(filtered(scores.reshape(-1, V), how)).reshape(len(texts), 3, V)
        return np.take_along_axis(np.asarray(p), texts[..., None], 2)[..., 0].prod(1)

    want, drafted = chances(params), chances(other)
    draft = {'draft': model, 'draft_params': other, 'draft_tokens': 2}
    generator = SpeculativeGenerator(model, params, None, how, **draft)
    got = np.zeros((2, len(texts)))
    start = generator._start([prompt, prompt], 3, np.zeros(2, bool))

    @jax.jit
    def draw(keys):
        return jax.vmap(lambda key: generator._more(key, start, 0, 3, 3).tokens_BM[:, :3])(keys)

    for row in (0, 1):
        drawn = np.asarray(draw(jax.random.split(jax.random.key(row), count)))[:, row]
        got[row] = np.bincount(drawn @ [V * V, V, 1], minlength=len(texts)) / count
    away = lambda a, b: np.abs(a - b).sum() / 2  # noqa: E731
    noise = np.sqrt(want / count).sum() / 2
    assert away(drafted, want) > 10 * noise
    for row in got:
        assert away(row, want) < 1.5 * noise


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'draft_tokens': 0}, 'draft_tokens 0 cannot be used; accepted: at least 1'),
        ({'draft': {'vocab': 39}}, 'the draft has a vocabulary of 39 tokens; accepted: 40'),
        ({'draft': {'context': 8}}, 'the draft has a context of 8; accepted: at least 16'),
        ({'draft': {'name': 'bert'}}, 'the draft writes no text; accepted: a decoder'),
        ({'model': {'name': 't5'}}, 'the model writes no text; accepted: a decoder'),
        ({'draft': {'name': 'mamba'}}, "the draft has layers of 'mamba', whose state"),
        ({'model': {'name': 'retnet'}}, "the model has layers of 'retnet', whose state"),
    ],
)
def test_what_cannot_be_drafted(changes, message):
    of = lambda name='llama', **more: tiny.member(name, **more)  # noqa: E731
    model, draft = of(**changes.get('model', {})), of(**changes.get('draft', {}))
    count = changes.get('draft_tokens', 4)
    with pytest.raises(UserError, match=message):
        given = {'draft': draft, 'draft_params': {}, 'draft_tokens': count}
        SpeculativeGenerator(model, {}, None, GREEDY, **given)
