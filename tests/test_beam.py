"""Beam search: against enumeration of all texts, and rules worked out by hand."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from transformer import beam, writer
from transformer import model as models
from transformer.beam import Beam
from transformer.context import Context
from transformer.decode import State
from transformer.errors import UserError
from transformer.models import DecoderOptions, EncoderDecoderOptions
from transformer.models.assemble import Sizes

V, M, END = 5, 3, 1
SHAPE = {'width': 16, 'depth': 1, 'heads': 2, 'hidden': 16, 'norm': 'layernorm'}
# One whose caches are states; one whose caches are keys and values, of its text and of a source.
SEARCHED = {
    'mamba': DecoderOptions(**SHAPE, mixers=('mamba',), positions='none', mamba_state=4),
    'both': EncoderDecoderOptions(**SHAPE),
}
PROMPTS = [[2, 3, 4], [4]]  # padded on the left where there is one stack, on the right for sources


@functools.lru_cache
def searched(name):
    """A model over V tokens that is far from uniform."""
    model = models.make(SEARCHED[name].build(Sizes(V, 8, target_context=8, decode=True)))
    return writer.ready(model, tiny.drawn(model, 1.0))


@functools.lru_cache
def prefill(name):
    """The compiled way from parameters to the state after the prompts."""
    model, _ = searched(name)
    slots = max(map(len, PROMPTS))
    tokens = np.zeros((len(PROMPTS), slots), np.int32)
    segments = np.zeros_like(tokens)
    lengths = np.array(list(map(len, PROMPTS)))
    for row, prompt in enumerate(PROMPTS):
        at = slice(len(prompt)) if name == 'both' else slice(slots - len(prompt), slots)
        tokens[row, at], segments[row, at] = prompt, 1
    places = np.maximum(np.arange(slots)[None] - (slots - lengths)[:, None], 0)

    @jax.jit
    def start(params):
        variables, B = {'params': params}, len(PROMPTS)
        if name == 'both':
            source = Context.of(tokens, segments_BT=jnp.asarray(segments))
            memory, _ = model.apply(variables, tokens, source, method='encode')
            first = jnp.full((B, 1), END)
            ctx = Context.of(first, memory_BSD=memory, memory_segments_BS=jnp.asarray(segments))
            scores, caches, _ = model.apply(
                variables, first, ctx, model.init_cache(B, M + 1, slots)
            )
            return State.of(scores[:, 0], caches, jnp.ones(B, jnp.int32), M)
        ctx = Context.of(tokens, jnp.asarray(places), jnp.asarray(segments))
        scores, caches, _ = model.apply(variables, tokens, ctx, model.init_cache(B, slots + M))
        return State.of(scores[:, -1], caches, jnp.asarray(lengths), M)

    return start


def find(name, how, ends=END):
    model, params = searched(name)
    run = jax.jit(lambda p: beam.search(model, p, prefill(name)(p), ends, how))
    return jax.device_get(run(params))


@functools.lru_cache
def by_enumeration(name, ends=(END,)):
    """{hypothesis: log p} of each prompt, without a cache: all texts that end, or are M long."""
    model, params = searched(name)

    @jax.jit
    def table(prompt, texts):
        """log p of each token of each text, [N, M]."""
        N, P = len(texts), len(prompt)
        rows = jnp.broadcast_to(jnp.asarray(prompt)[None], (N, P))
        if name == 'both':
            source = Context.of(rows)
            memory, _ = model.apply({'params': params}, rows, source, method='encode')
            inputs = jnp.concatenate([jnp.full((N, 1), END), texts], 1)
            ctx = Context.of(inputs, memory_BSD=memory, memory_segments_BS=source.segments_BT)
            at = 0
        else:
            inputs = jnp.concatenate([rows, texts], 1)
            ctx, at = Context.of(inputs), P - 1
        scores = jax.nn.log_softmax(model.apply({'params': params}, inputs, ctx)[0])
        return jnp.take_along_axis(scores[:, at : at + M], texts[..., None], 2)[..., 0]

    texts = np.array(list(itertools.product(range(V), repeat=M)), np.int32)
    found = []
    for prompt in PROMPTS:
        chances = np.asarray(table(np.array(prompt), texts), np.float64)
        scores = {}
        for text, chance in zip(texts.tolist(), chances):
            size = next((i + 1 for i, token in enumerate(text) if token in ends), M)
            scores[tuple(text[:size])] = chance[:size].sum()
        found.append(scores)
    return found


def penalised(scores, alpha, form='gnmt'):
    divide = {'gnmt': lambda n: ((5 + n) / 6) ** alpha, 'power': lambda n: n**alpha}[form]
    return {text: p / divide(len(text)) for text, p in scores.items()}


def plain(row):
    return tuple(int(t) for t in row if t >= 0)


@pytest.mark.parametrize(
    ('name', 'alpha', 'form'),
    [
        ('both', 0.0, 'gnmt'),
        ('both', 0.6, 'gnmt'),
        ('mamba', 0.6, 'gnmt'),
        ('both', 1.0, 'power'),
        ('both', -1.0, 'power'),
    ],
)
def test_a_wide_beam_finds_what_enumeration_finds(name, alpha, form):
    """All kept, nothing is lost: the whole ranking is right, with texts that end early."""
    W = 64  # all that do not end within two tokens go on, and there is room for those that did
    tokens, scores = find(name, Beam(W, alpha, form))
    for row, enumerated in enumerate(by_enumeration(name)):
        want = penalised(enumerated, alpha, form)
        assert len(want) == 1 + (V - 1) + (V - 1) ** 2 * V
        ranked = sorted(want, key=want.get, reverse=True)[:W]
        assert [plain(text) for text in tokens[row]] == ranked
        np.testing.assert_allclose(scores[row], [want[text] for text in ranked], atol=1e-4)
        assert {len(text) for text in ranked} == {1, 2, M}


@pytest.mark.parametrize('name', SEARCHED)
def test_a_narrow_beam_scores_what_it_says(name):
    """Every hypothesis has the log p of a whole pass over it: caches followed their beams."""
    tokens, scores = find(name, Beam(3, 0.6))
    moved = 0
    for row, enumerated in enumerate(by_enumeration(name)):
        want = penalised(enumerated, 0.6)
        texts = [plain(text) for text in tokens[row]]
        assert len(set(texts)) == 3
        np.testing.assert_allclose(scores[row], [want[text] for text in texts], atol=1e-4)
        assert list(scores[row]) == sorted(scores[row], reverse=True)
        moved += len({text[0] for text in texts}) < 3
    assert moved  # some beams had one parent


@pytest.mark.parametrize(
    ('how', 'message'),
    [
        ({'width': 0}, 'beam 0 .*accepted: at least 1'),
        ({'length_penalty': -1.0}, r'length_penalty -1\.0 .*accepted: at least 0'),
        ({'length_penalty': float('nan'), 'form': 'power'}, 'length_penalty nan .*a finite number'),
        ({'form': 'sum'}, "form 'sum' .*accepted: gnmt, power"),
        ({'stop': 'soon'}, "stop 'soon' .*accepted: certain, guess, full"),
    ],
)
def test_bad_beams(how, message):
    with pytest.raises(UserError, match=message):
        Beam(**how)


def test_a_text_may_end_in_several_ways():
    ends = (END, 3)
    tokens, scores = find('both', Beam(64, 0.6), ends)
    for row, enumerated in enumerate(by_enumeration('both', ends)):
        want = penalised(enumerated, 0.6)
        found = [plain(text) for text, score in zip(tokens[row], scores[row]) if score > -1e6]
        assert found == sorted(want, key=want.get, reverse=True)
        assert len(found) == 2 + 3 * 2 + 3 * 3 * V
        np.testing.assert_allclose(scores[row][: len(found)], [want[t] for t in found], atol=1e-4)


def test_without_an_end_all_texts_are_as_long_as_there_is_room():
    tokens, _ = find('both', Beam(3, 0.6), None)
    for row, enumerated in enumerate(by_enumeration('both', ())):
        assert {len(text) for text in enumerated} == {M}
        assert {len(plain(text)) for text in tokens[row]} == {M}


@pytest.mark.parametrize('name', SEARCHED)
def test_scores_can_be_changed_first(name):
    """A ban of what is best: the next best is found, and no text holds what is banned."""
    model, params = searched(name)
    free, _ = find(name, Beam(64, 0.6))

    def ban(scores_RV, tokens_RM, made):
        return jnp.where((jnp.arange(V) == 2)[None] & (made > 0), -jnp.inf, scores_RV)

    run = jax.jit(lambda p: beam.search(model, p, prefill(name)(p), END, Beam(8, 0.6), ban))
    found, _ = jax.device_get(run(params))
    for row in range(len(PROMPTS)):
        allowed = [text for text in map(plain, free[row]) if 2 not in text[1:]]
        assert [plain(text) for text in found[row]] == allowed[:8]


# By hand: what is likely to follow each token at each place. Tokens: 0 start, 1 end, 2, 3.
NEXT = {
    (0, 0): {1: 0.5, 2: 1.0},  # - log p
    (0, 3): {2: 1.0},
    (1, 2): {3: 0.5, 1: 1.2},
    (2, 3): {2: 0.0},
}


class Table:
    """A model that reads `NEXT`; what is not in it is unlikely, and so is the rest of each row."""

    def apply(self, variables, tokens_R1, ctx, caches):
        scores_PVV = np.full((4, 4, 4), -30.0, np.float32)
        for (place, token), after in NEXT.items():
            for other, cost in after.items():
                scores_PVV[place, token, other] = -cost
        scores_PVV = jnp.asarray(scores_PVV)
        return scores_PVV[ctx.positions_BT, tokens_R1], caches, None


@pytest.mark.parametrize(
    ('stop', 'width', 'best'),
    [
        # After one token: the end has -0.5, 2 has -1, which may become -1.5 / 3^2.
        ('certain', 1, (2, 3, 2)),
        ('guess', 1, (1,)),
        ('full', 1, (1,)),
        # After two: 1 has -0.5 and (2, 1) has -2.2 / 2^2, both have ended; (2, 3) has -1.5 / 2^2.
        ('certain', 2, (2, 3, 2)),
        ('guess', 2, (2, 3, 2)),
        ('full', 2, (1,)),
    ],
)
def test_when_a_row_is_given_up(monkeypatch, stop, width, best):
    monkeypatch.setattr(beam.jax.nn, 'log_softmax', lambda x: x)  # NEXT is log p already
    prompts = jnp.array([[0], [3]])
    first = Table().apply(None, prompts, Context.of(prompts), ())
    state = State.of(first[0][:, 0], (), jnp.ones(2, jnp.int32), 3)
    how = Beam(width, 2.0, 'power', stop)
    tokens, scores = beam.search(Table(), None, state, END, how)
    assert plain(tokens[0, 0]) == best
    want = {(1,): -0.5, (2, 3, 2): -1.5 / 9}[best]
    # The other row goes on to the end, whatever becomes of the first.
    assert plain(tokens[1, 0]) == (2, 3, 2)
    np.testing.assert_allclose(scores[:, 0], [want, -1.5 / 9], rtol=1e-5)
