"""Writing text with every kind of model: targets of sources, gaps, answers."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.tokenizers import Bytes
from tests import tiny
from transformer.beam import Beam
from transformer.context import Context
from transformer.decode import Generator
from transformer.errors import UserError
from transformer.fill import fill
from transformer.objectives import OBJECTIVES
from transformer.respond import RESPONSES, Speaker, respond
from transformer.sampling import Sampling
from transformer.seq2seq import Seq2SeqGenerator

GREEDY = Sampling(temperature=0.0)


# Sources and targets

SOURCES = [[3, 1, 4, 1, 5], [9], [2, 6, 5]]


@pytest.fixture(scope='module')
def written():
    """A model, what full passes write to each source, and a token that ends some of it early."""
    model, params = tiny.made('transformer', tied=False)  # a tied head repeats what it reads

    @jax.jit
    def read(sources, segments, inputs):
        ctx = Context.of(sources, segments_BT=segments)
        memory, _ = model.apply({'params': params}, sources, ctx, method='encode')
        target = Context.of(inputs, memory_BSD=memory, memory_segments_BS=segments)
        return model.apply({'params': params}, inputs, target)[0]

    rows = []
    for source in SOURCES:  # alone and not padded
        text = np.zeros((1, 9), np.int32)
        text[0, 0] = 1
        for n in range(8):
            scores = read(jnp.asarray([source]), jnp.ones((1, len(source)), jnp.int32), text)
            text[0, n + 1] = scores[0, n].argmax()
        rows.append(text[0, 1:].tolist())

    def until(end):
        return [row[: row.index(end)] if end in row else row for row in rows]

    # The token that leaves the most lengths.
    end = max({token for row in rows for token in row}, key=lambda e: len({*map(len, until(e))}))
    return model, params, end, until(end)


@pytest.mark.parametrize('how', [GREEDY, Beam(1, 0.0)])
def test_targets_equal_full_passes_for_unequal_sources(written, how):
    """What pads a source changes nothing, and a beam of one is greedy."""
    model, params, end, want = written
    assert len({*map(len, want)}) > 1
    assert Seq2SeqGenerator(model, params, 1, end, how).generate(SOURCES, 8) == want


def test_a_token_costs_the_same_however_deep_the_encoder():
    """The encoder is read once: the cache holds what the decoder needs of it."""

    def step(encoder_depth, memory=False):
        model = tiny.member('t5', depth=encoder_depth, decoder_depth=1, unroll=0)
        params = jax.eval_shape(
            lambda: model.init(jax.random.key(0), model.example(), method='forward')['params']
        )
        caches = jax.eval_shape(lambda: model.init_cache(1, 4, 8))
        token, source = jnp.zeros((1, 1), jnp.int32), jnp.zeros((1, 8), jnp.int32)

        def apply(params, caches):
            variables, ctx = {'params': params}, Context.of(token)
            if memory:
                seen, _ = model.apply(variables, source, Context.of(source), method='encode')
                ctx = ctx.replace(memory_BSD=seen, memory_segments_BS=jnp.ones_like(source))
            return model.apply(variables, token, ctx, caches)[:2]

        return jax.jit(apply).lower(params, caches).cost_analysis()['flops']

    assert step(1) == step(3)
    assert step(3, memory=True) > step(1, memory=True) > step(1)


@pytest.mark.parametrize(
    ('sources', 'count', 'message'),
    [
        ([[1], []], 4, 'source 2 has 0 tokens; accepted: 1 to the context of the model, 16'),
        ([[1] * 17], 4, 'source 1 has 17 tokens'),
        ([[1, 40]], 4, 'source 1 holds token 40; accepted: 0 to 39'),
        ([[1]], 17, 'max_tokens 17 .*target context of the model, 16'),
    ],
)
def test_bad_sources(sources, count, message):
    generator = Seq2SeqGenerator(*tiny.made('t5'), 1, 2, GREEDY)
    with pytest.raises(UserError, match=message):
        generator.generate(sources, count)


# Decoders whose caches are states


@pytest.mark.parametrize('name', ['mamba', 'retnet'])
def test_prompts_of_unequal_length_through_a_state(name):
    """What pads a prompt on the left leaves no trace in the state."""
    model, params = tiny.made(name, tied=False)  # a tied head repeats what it reads
    full = jax.jit(lambda inputs: model.apply({'params': params}, inputs, Context.of(inputs))[0])
    prompts = [[3, 1, 4], [1], [5, 9, 2, 6, 5, 3, 5]]
    got = Generator(model, params, None, GREEDY).generate(prompts, 8)
    for prompt, new in zip(prompts, got):
        text = list(prompt)
        for token in new:
            row = np.zeros((1, tiny.CONTEXT), np.int32)
            row[0, : len(text)] = text
            scores = np.asarray(full(row)[0, len(text) - 1])
            assert token == scores.argmax()
            text.append(token)
        assert len(new) == 8
    assert len({tuple(new) for new in got}) == len(prompts)


# Gaps

MASK_ID = 7


def test_gaps_are_filled_with_the_likeliest_tokens():
    model, params = tiny.made('bert')
    texts = [[1, MASK_ID, 3, MASK_ID, 5], [MASK_ID, 2]]
    found = fill(model, params, texts, MASK_ID, 3)
    assert [len(gaps) for gaps in found] == [2, 1]
    alone = jax.jit(lambda inputs: model.apply({'params': params}, inputs, Context.of(inputs))[0])
    for text, gaps in zip(texts, found):
        chances = np.asarray(jax.nn.softmax(alone(jnp.asarray([text]))))[0]  # nothing padded
        places = [i for i, token in enumerate(text) if token == MASK_ID]
        for at, gap in zip(places, gaps):
            best = np.argsort(-chances[at])[:3]
            assert [token for token, _ in gap] == best.tolist()
            np.testing.assert_allclose([p for _, p in gap], chances[at, best], rtol=1e-4)


def test_bad_gaps():
    model, params = tiny.made('bert')
    with pytest.raises(UserError, match=r'text 2 has no \[MASK\]'):
        fill(model, params, [[MASK_ID], [1]], MASK_ID)
    with pytest.raises(UserError, match='text 1 has 17 tokens; accepted: at most .* 16'):
        fill(model, params, [[MASK_ID] * 17], MASK_ID)


# Answers

ANSWERS = {
    'next_token': ('llama', 'tokens'),
    'prefix': ('llama', 'tokens'),
    'fill_in_middle': ('llama', 'tokens'),
    'chat': ('llama', 'tokens'),
    'masked': ('bert', 'masked'),
    'span_corruption': ('t5', 'tokens'),
    'denoising': ('bart', 'tokens'),
    'seq2seq': ('transformer', 'tokens'),
    'classification': ('classifier', 'class'),
}


@functools.lru_cache
def speaker(kind, **more):
    objective = OBJECTIVES[kind]()
    if kind == 'span_corruption':
        objective = dataclasses.replace(objective, sentinels=4)
    tokenizer = Bytes(objective.special_tokens)
    name, head = ANSWERS[kind]
    model = tiny.member(name, vocab=tokenizer.vocab_size, head=head, context=32)
    classes = ('bad', 'good', 'mixed') if head == 'class' else ()
    fields = {'how': GREEDY, 'max_tokens': 4} | more
    return Speaker(model, tiny.drawn(model), tokenizer, objective, classes, **fields)


def test_every_objective_that_reads_text_answers():
    assert (
        set(ANSWERS)
        == set(RESPONSES)
        == {
            o.kind for o in OBJECTIVES.values() if o.HEAD != 'token_class' and o.RECORDS != 'images'
        }
    )


def test_a_decoder_continues():
    assert RESPONSES['prefix'] is RESPONSES['next_token']
    s = speaker('next_token')
    prompts = ['ab', 'a longer one']
    ids = Generator(s.model, s.params, s.tokenizer.end, GREEDY).generate(
        [list(text.encode()) for text in prompts], 4
    )
    assert respond(s, prompts) == [s.tokenizer.decode(row) for row in ids]
    with pytest.raises(UserError, match='a decoder has no beam search here'):
        respond(dataclasses.replace(s, how=Beam(2)), prompts)


def test_an_encoder_decoder_rewrites():
    s = speaker('span_corruption')
    end = s.tokenizer.end
    generator = Seq2SeqGenerator(s.model, s.params, end, end, GREEDY)
    want = generator.generate([[97, s.tokenizer.special('<extra_id_1>'), 98, end], [99, end]], 4)
    assert respond(s, ['a<extra_id_1>b', 'c']) == [s.tokenizer.decode(row) for row in want]


@pytest.mark.parametrize(
    ('kind', 'text', 'ids'),
    [
        ('span_corruption', 'a<extra_id_3>', [97, 260]),
        ('denoising', '[MASK]b[mask]', [257, *b'b[mask]']),
        ('seq2seq', 'A[MASK]', list(b'A[MASK]')),
    ],
)
def test_what_an_encoder_decoder_reads(monkeypatch, kind, text, ids):
    """Special tokens of its objective that are spelt out, and the end marker."""
    s, seen = speaker(kind), []

    class Echo:
        def __init__(self, *args):
            pass

        def generate(self, sources, max_tokens, seed):
            seen.extend(sources)
            return [list(b'yes')] * len(sources)

    monkeypatch.setattr('transformer.respond.Seq2SeqGenerator', Echo)
    assert respond(s, [text]) == ['yes']
    assert seen == [[*ids, s.tokenizer.end]]
    if kind == 'seq2seq':
        low = dataclasses.replace(s.objective, lowercase=True)
        respond(dataclasses.replace(s, objective=low), [text])
        assert seen[1] == [*b'a[mask]', s.tokenizer.end]


def test_a_masked_model_fills_gaps():
    s = speaker('masked')
    mask = s.tokenizer.special('[MASK]')
    (gap,) = fill(s.model, s.params, [[97, mask, 98]], mask)[0]
    told = ', '.join(f'{s.tokenizer.decode([t])!r} {p:.2f}' for t, p in gap)
    one, two = respond(s, ['a[MASK]b', '[MASK]a[MASK]'])
    assert one == told
    assert two.count('; ') == 1


def test_a_classifier_names_the_class():
    s = speaker('classification')
    texts = ['short', 'a text that is longer than the context of the model']
    told = respond(s, texts)
    start = s.tokenizer.special('[CLS]')
    for text, answer in zip(texts, told):
        row = jnp.asarray([[start, *text.encode()][:32]])
        chances = jax.jit(s.model.apply)({'params': s.params}, row, Context.of(row))[0]
        chances = np.asarray(jax.nn.softmax(chances))[0]
        assert answer == f'{s.classes[chances.argmax()]} {chances.max():.3f}'


def test_what_answers_no_text_says_so():
    s = dataclasses.replace(
        speaker('classification'), objective=OBJECTIVES['token_classification']()
    )
    with pytest.raises(UserError, match="kind='token_classification' answers no text.*next_token"):
        respond(s, ['a'])
