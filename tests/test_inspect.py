"""What is read from inside a model, and what is put there, agrees with arithmetic by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from transformer import inspect
from transformer import model as models
from transformer.errors import UserError
from transformer.inspect import edits, taps

B = 2


@functools.lru_cache
def small(name, **options):
    """A model, its parameters, and a batch of one document a row."""
    model, params = tiny.made(name, **options)
    batch = tiny.one(tiny.batch_for(model, B=B))
    for key in [key for key in batch if key.endswith('segment_ids')]:
        places = key.replace('segment_ids', 'positions')
        batch[key] = jnp.ones_like(batch[key])
        batch[places] = jnp.broadcast_to(jnp.arange(tiny.CONTEXT)[None], batch[key].shape)
    return model, params, batch


def score(model, params, batch) -> float:
    scores, _ = jax.jit(lambda p: model.apply({'params': p}, batch, method='forward'))(params)
    return float(edits.score(scores, batch))


def test_weights_are_the_softmax_by_hand():
    model, params, batch = small('gpt')
    first, second = inspect.attention(model, params, batch)
    assert [(m.stack, m.layer, m.part) for m in (first, second)] == [
        ('stack', 0, 'mixer'),
        ('stack', 1, 'mixer'),
    ]
    np.testing.assert_allclose(first.weights_BNTS.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(second.weights_BNTS.sum(-1), 1, atol=1e-5)
    block = jax.tree.map(lambda x: np.asarray(x[0]), params['stack']['repeat']['block_0'])
    table = np.asarray(params['tokens']['table'])
    x_BTD = table[batch['inputs']] + np.asarray(params['embed']['positions']['table'])[None]
    x_BTD = (x_BTD - x_BTD.mean(-1, keepdims=True)) / np.sqrt(x_BTD.var(-1, keepdims=True) + 1e-5)
    norm = block['mixer_norm']
    x_BTD = x_BTD * norm['scale'] + norm['bias']
    q, k = (
        np.einsum('btd,dnh->bnth', x_BTD, block['mixer'][name]['kernel'])
        + block['mixer'][name]['bias'][None, :, None]
        for name in ('query', 'key')
    )
    scores = np.einsum('bnth,bnsh->bnts', q, k) * q.shape[-1] ** -0.5
    seen = np.tril(np.ones(scores.shape[-2:], bool))
    wanted = np.exp(scores) * seen
    wanted /= wanted.sum(-1, keepdims=True)
    np.testing.assert_allclose(first.weights_BNTS, wanted, atol=1e-5)


def test_both_sequences_of_an_encoder_decoder():
    model, params, batch = small('t5')
    found = inspect.attention(model, params, batch)
    assert [(m.stack, m.layer, m.part, m.seen) for m in found] == [
        ('encoder', 0, 'mixer', 'encoder'),
        ('encoder', 1, 'mixer', 'encoder'),
        ('decoder', 0, 'cross', 'encoder'),
        ('decoder', 0, 'mixer', 'decoder'),
    ]
    for m in found:
        np.testing.assert_allclose(m.weights_BNTS.sum(-1), 1, atol=1e-5)


def test_layers_that_share_parameters_differ_in_what_they_see():
    first, second = inspect.attention(*small('albert'))
    assert (first.layer, second.layer) == (0, 1)
    assert np.abs(first.weights_BNTS - second.weights_BNTS).max() > 0.01


MORE = [pytest.param(name, marks=pytest.mark.long) for name in ('t5', 'retnet')]


@pytest.mark.parametrize('name', ['gemma', 'bert', 'vit', *MORE])
def test_the_last_layer_of_the_lens_is_the_model(name):
    model, params, batch = small(name)
    found = inspect.lens_logits(model, params, batch)
    scores, _ = jax.jit(lambda p: model.apply({'params': p}, batch, method='forward'))(params)
    np.testing.assert_allclose(found[-1], scores, atol=1e-5)
    assert np.abs(np.asarray(found[0]) - np.asarray(scores)).max() > 0.01
    lens = inspect.logit_lens(model, params, batch, top=3)
    assert lens.tokens_LBTK.shape == (*found.shape[:-1], 3)
    chances = np.asarray(jax.nn.softmax(found))
    best = np.sort(chances, -1)[..., ::-1][..., :3]
    np.testing.assert_allclose(lens.chances_LBTK, best, atol=1e-6)
    np.testing.assert_allclose(lens.entropy_LBT, -(chances * np.log(chances)).sum(-1), atol=1e-4)
    np.testing.assert_allclose(lens.divergence_LBT[-1], 0, atol=1e-6)
    apart = (chances[-1] * np.log(chances[-1] / chances[0])).sum(-1)
    np.testing.assert_allclose(lens.divergence_LBT[0], apart, atol=1e-4)


def test_a_layer_of_the_lens_is_a_shorter_model():
    model, params, batch = small('llama')
    shorter = dataclasses.replace(model.config.stack, repeats=1)
    shorter = models.make(dataclasses.replace(model.config, stack=shorter))
    stack = params['stack'] | {'repeat': jax.tree.map(lambda x: x[:1], params['stack']['repeat'])}
    scores, _ = shorter.apply({'params': params | {'stack': stack}}, batch, method='forward')
    found = inspect.lens_logits(model, params, batch)
    np.testing.assert_allclose(found[1], scores, atol=1e-5)


def test_taking_a_head_out_is_zeroing_its_slice_of_the_kernel():
    model, params, batch = small('gpt')
    found = inspect.ablate(model, params, batch, kinds=('heads', 'layers'))
    whole = score(model, params, batch)
    assert found.score == found.start == pytest.approx(whole, abs=1e-6)
    block = params['stack']['repeat']['block_0']
    kernel = block['mixer']['out']['kernel']

    def without(kernel, **more) -> float:
        out = block['mixer']['out'] | {'kernel': kernel} | more
        changed = block | {'mixer': block['mixer'] | {'out': out}}
        stack = params['stack'] | {'repeat': {'block_0': changed}}
        return score(model, params | {'stack': stack}, batch) - whole

    for layer, head in np.ndindex(2, 2):
        wanted = without(kernel.at[layer, head].set(0))
        assert found.heads['stack', 'mixer'][layer, head] == pytest.approx(wanted, abs=1e-5)
        assert abs(wanted) > 1e-4
    bias = block['mixer']['out']['bias'].at[1].set(0)
    wanted = without(kernel.at[1].set(0), bias=bias)
    assert found.layers['stack', 'mixer'][1] == pytest.approx(wanted, abs=1e-5)


def test_means_take_the_place_of_what_is_taken_out():
    model, params, batch = small('vit')
    by_mean = inspect.ablate(model, params, batch, by='mean', kinds=('heads',))
    by_zero = inspect.ablate(model, params, batch, kinds=('heads',))
    key = 'stack', 'mixer'
    assert np.abs(by_mean.heads[key] - by_zero.heads[key]).max() > 1e-4
    _, found = edits.found(model, params, batch)
    site = taps.Site('stack', 0, 'mixer_heads')
    mean_NH = np.asarray(found[site]).mean((0, 2))
    put_in = np.asarray(edits.means(found, batch)[site])
    np.testing.assert_allclose(put_in, np.broadcast_to(mean_NH[None, :, None], put_in.shape), 1e-5)


@pytest.mark.parametrize('name', ['llama', 'transformer'])
def test_all_of_a_clean_text_brings_its_score_back(name):
    model, params, clean = small(name)
    corrupt = clean | {'inputs': (clean['inputs'] + 1) % tiny.VOCAB}
    _, values = edits.found(model, params, clean)
    plan = np.array([edits.NONE, (edits.ALL, edits.ALL, edits.ALL)], np.int32)
    before, after = edits.scores(model, params, corrupt, values, plan)
    assert after == pytest.approx(score(model, params, clean), abs=1e-6)
    assert before == pytest.approx(score(model, params, corrupt), abs=1e-6)
    assert abs(before - after) > 1e-3


def test_a_place_of_the_residual_stream_is_patched():
    """Two texts that differ in one place: patched there at the beginning, all comes back."""
    model, params, clean = small('llama')
    at = 5
    other_B = (clean['inputs'][:, at] + 1) % tiny.VOCAB
    corrupt = clean | {'inputs': clean['inputs'].at[:, at].set(other_B)}
    found = inspect.patch(model, params, clean, corrupt, kinds=('places',))
    gap = found.score - found.start
    assert abs(gap) > 1e-4
    residual = found.places['stack', 'residual']
    assert residual.shape == (3, tiny.CONTEXT)
    assert residual[0, at] == pytest.approx(gap, abs=1e-5)
    np.testing.assert_allclose(np.delete(residual[0], at), 0, atol=1e-5)  # the same in both
    np.testing.assert_allclose(residual[:, :at], 0, atol=1e-5)  # causal
    branches = found.places['stack', 'mlp']
    np.testing.assert_allclose(branches[:, :at], 0, atol=1e-5)
    assert np.abs(branches[:, at]).max() > 1e-4


def test_experts_are_left_out_one_by_one():
    model, params, batch = small('mixtral')
    found = inspect.ablate(model, params, batch, kinds=('layers',))
    changed = {site: jnp.zeros_like(x) for site, x in edits.found(model, params, batch)[1].items()}

    def visit(site, x):
        return changed[site] if site == taps.Site('stack', 1, 'mlp') else x

    scores = jax.jit(lambda p: taps.run(*taps.apart(model, p), batch, visit))(params)
    wanted = float(edits.score(scores, batch)) - found.score
    assert found.layers['stack', 'mlp'][1] == pytest.approx(wanted, abs=1e-5)


def test_only_one_layer_and_head():
    model, params, batch = small('llama')
    found = inspect.ablate(model, params, batch, kinds=('heads', 'layers'), layer=1, head=2)
    heads = found.heads['stack', 'mixer']
    assert heads.shape == (2, 4)
    assert np.argwhere(~np.isnan(heads)).tolist() == [[1, 2]]
    assert np.isnan(found.layers['stack', 'mlp']).tolist() == [True, False]


def test_a_hybrid_has_effects_of_what_it_has():
    model, params, batch = small('mamba')
    (found,) = inspect.attention(model, params, batch)
    assert found.layer == 1
    heads = inspect.ablate(model, params, batch, kinds=('heads',)).heads['stack', 'mixer']
    assert np.isnan(heads).tolist() == [[True, True], [False, False]]


class Repeater:
    """Weights of attention by hand: head 0 is an induction head, head 1 looks at the one before."""

    def __init__(self, half):
        T = 2 * half
        self.weights_BNTS = np.zeros((1, 2, T, T), np.float32)
        for t in range(T):
            self.weights_BNTS[0, 0, t, max(t + 1 - half, 0)] = 1
            self.weights_BNTS[0, 1, t, max(t - 1, 0)] = 1
        self.layer = 1


def test_patterns_are_told_apart(monkeypatch):
    model, params, _ = small('llama')
    seen = []

    def attention(model, params, tokens):
        seen.append(tokens)
        return [Repeater(tokens.shape[1] // 2)]

    monkeypatch.setattr('transformer.inspect.patterns.attention', attention)
    found = inspect.head_patterns(model, params, tokens=(3, 4, 5))
    half = tiny.CONTEXT // 2
    assert (seen[0][:, :half] == seen[0][:, half:]).all() and set(np.unique(seen[0])) == {3, 4, 5}
    assert found.induction.shape == (2, 2)
    assert np.isnan(found.induction[0]).all()
    assert found.induction[1].tolist() == [1, 0]
    others = 2 * half - 1  # the second token has but one to look at, besides itself
    np.testing.assert_allclose(found.previous[1], [1 / others, 1], atol=1e-6)
    first = [(half - 1) / others, 1 / others]
    np.testing.assert_allclose(found.first[1], first, atol=1e-6)


def test_patterns_are_means_of_the_weights():
    model, params, _ = small('llama')
    found = inspect.head_patterns(model, params, seed=3)
    said, rng = [], np.random.default_rng(3)
    for _ in range(4):  # in a row all differ, as there are enough
        said.append(rng.choice(tiny.VOCAB, 8, replace=False))
    maps = inspect.attention(model, params, np.concatenate([said, said], axis=1))
    for layer, head in np.ndindex(2, 4):
        weights_BTS = maps[layer].weights_BNTS[:, head]
        induction = np.mean([weights_BTS[:, t, t - 7] for t in range(8, 16)])
        previous = np.mean([weights_BTS[:, t, t - 1] for t in range(1, 16)])
        assert found.induction[layer, head] == pytest.approx(induction, abs=1e-5)
        assert found.previous[layer, head] == pytest.approx(previous, abs=1e-5)
    of_one = found.only(1, 2)
    assert np.argwhere(~np.isnan(of_one.induction)).tolist() == [[1, 2]]
    assert of_one.first[1, 2] == found.first[1, 2]
    np.testing.assert_array_equal(found.only(None, None).previous, found.previous)


BAD = {
    'the text has 17 tokens; accepted: 1 to the context of the model, 16': [1] * 17,
    'the text has 0 tokens': [],
    'the text holds token 40; accepted: 0 to 39': [1, 40],
}


@pytest.mark.parametrize('message', BAD)
def test_tokens_that_cannot_be_read(message):
    model, params, _ = small('llama')
    with pytest.raises(UserError, match=message):
        inspect.attention(model, params, BAD[message])


def test_what_is_not_there_is_refused():
    model, params, batch = small('llama')
    with pytest.raises(UserError, match='layer 2: the model has 2; accepted: 0 to 1'):
        inspect.ablate(model, params, batch, layer=2)
    with pytest.raises(UserError, match='head 4: the model has 4; accepted: 0 to 3'):
        inspect.ablate(model, params, batch, head=4)
    with pytest.raises(UserError, match="by='noise': accepted: zero, mean"):
        inspect.ablate(model, params, batch, by='noise')
    with pytest.raises(UserError, match=r"kinds=\('rows',\): accepted: some of heads, layers"):
        inspect.ablate(model, params, batch, kinds=('rows',))
    with pytest.raises(UserError, match='the corrupted text has 3 tokens, the clean one 4'):
        inspect.patch(model, params, [1, 2, 3, 4], [1, 2, 3])
    with pytest.raises(UserError, match='tokens alone are not what a EncoderDecoder reads'):
        inspect.attention(*small('t5')[:2], [1, 2])
    with pytest.raises(UserError, match=r'no layer .* \(its mixers: LinearAttention, RetNet\)'):
        inspect.attention(*small('retnet'))
    with pytest.raises(UserError, match='a Vision repeats nothing; accepted: a decoder'):
        inspect.head_patterns(*small('vit')[:2])
    model, params, batch = small('bert', head='none')
    with pytest.raises(UserError, match='no head that scores tokens or classes'):
        inspect.logit_lens(model, params, batch)
    with pytest.raises(UserError, match='no head that scores tokens or classes'):
        inspect.ablate(model, params, batch)


def test_tokens_alone_are_what_a_decoder_is_to_say_next():
    model, params, _ = small('llama')
    tokens = [3, 1, 4, 1, 5]
    found = inspect.ablate(model, params, tokens, kinds=('layers',))
    ids = np.array([tokens], np.int32)
    batch = {
        'inputs': ids[:, :-1],
        'positions': np.arange(4, dtype=np.int32)[None],
        'segment_ids': np.ones((1, 4), np.int32),
        'targets': ids[:, 1:],
        'weights': np.ones((1, 4), np.float32),
    }
    assert found.score == pytest.approx(score(model, params, batch), abs=1e-5)


def test_without_targets_the_answers_are_the_models_own():
    model, params, batch = small('classifier')
    bare = {name: x for name, x in batch.items() if name not in ('targets', 'weights')}
    found = inspect.ablate(model, params, bare, kinds=('layers',))
    scores, _ = model.apply({'params': params}, bare, method='forward')
    wanted = np.log(np.asarray(jax.nn.softmax(scores)).max(-1)).mean()
    assert found.score == pytest.approx(wanted, abs=1e-5)
