"""Bans, penalties and forced tokens, against sets and loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from transformer import beam, decode, writer
from transformer.beam import Beam
from transformer.errors import UserError
from transformer.sampling import Sampling, filtered
from transformer.scores import Constraints, adjuster, is_end

V, M, ENDS = 7, 6, (1, 6)
PROMPT = np.array([[-1, -1, 2, 3, 2], [4, 5, 2, 3, 5]])
MADE = np.array([[3, 4, 2], [2, 3, 5]])
SOURCE = np.array([[-1, 3, 2, 5], [5, 5, 0, 4]])
SCORES = np.random.default_rng(0).standard_normal((2, V)).astype(np.float32)
INF = np.inf


def changed(how, made=3, scores=SCORES, room=M):
    """What becomes of the scores after the first `made` of `MADE`."""
    tokens = np.full((2, M), -1)
    tokens[:, :made] = MADE[:, :made]
    adjust = adjuster(how, ENDS, jnp.asarray(PROMPT), jnp.asarray(SOURCE), room)
    return np.asarray(jax.jit(adjust)(jnp.asarray(scores), jnp.asarray(tokens), jnp.int32(made)))


def texts(made=3):
    whole = np.concatenate([PROMPT, MADE[:, :made]], 1)
    return [[t for t in row if t >= 0] for row in whole.tolist()]


def banned(how, made=3):
    """Tokens of each row that cannot be; all others keep their scores."""
    found = changed(how, made)
    gone = np.isneginf(found)
    np.testing.assert_array_equal(found[~gone], SCORES[~gone])
    return [set(np.flatnonzero(row).tolist()) for row in gone]


def grams(text, n):
    return {tuple(text[i : i + n]) for i in range(len(text) - n + 1)}


def test_nothing_wanted_is_no_function():
    assert adjuster(Constraints(), ENDS, jnp.asarray(PROMPT), jnp.asarray(SOURCE), M) is None


@pytest.mark.parametrize('made', [0, 1, 3])
@pytest.mark.parametrize('n', [1, 2, 3, 9])
def test_no_ngram_comes_twice(n, made):
    want = []
    for text in texts(made):
        tail = text[len(text) - n + 1 :] if n > 1 else []
        want.append({t for t in range(V) if (*tail, t) in grams(text, n)})
    assert banned(Constraints(no_repeat=n), made) == want
    assert n > 2 or any(want)


@pytest.mark.parametrize('n', [1, 2])
def test_no_ngram_of_the_source_is_written(n):
    want = []
    for text, row in zip(texts(), SOURCE.tolist()):
        held = grams([t for t in row if t >= 0], n)
        want.append({t for t in range(V) if (*text[len(text) - n + 1 :], t) in held})
    assert banned(Constraints(no_repeat_source=n)) == want
    assert any(want)


def test_penalties_of_what_was_written_and_read():
    for how, rows in (
        (Constraints(repetition_penalty=1.5), texts()),
        (Constraints(source_penalty=0.5), [[t for t in row if t >= 0] for row in SOURCE]),
    ):
        factor = max(how.repetition_penalty, 1.0) * min(how.source_penalty, 1.0)
        want = SCORES.copy()
        for row, held in zip(want, rows):
            for t in set(map(int, held)):
                row[t] = row[t] * factor if row[t] < 0 else row[t] / factor
        np.testing.assert_allclose(changed(how), want, rtol=1e-6)
        assert (SCORES < 0).any() and (SCORES > 0).any()


def test_biases_of_tokens_and_of_the_last_of_several():
    how = Constraints(biases=(((0,), 2.0), ((4, 2, 5), -INF), ((2, 3), 7.0), ((5, 5), 0.5)))
    want = SCORES.copy()
    want[:, 0] += 2
    want[0, 5] = -INF  # the first row ends with 3, 4, 2
    want[0, 3] += 7
    want[1, 5] += 0.5  # the second with 2, 3, 5
    np.testing.assert_allclose(changed(how), want, rtol=1e-6)


def test_first_last_and_least():
    assert banned(Constraints(least=3), 2) == [{1, 6}] * 2
    assert banned(Constraints(least=3), 3) == [set()] * 2
    assert banned(Constraints(suppressed=(0, 3))) == [{0, 3}] * 2
    assert banned(Constraints(suppressed_once=(2,), once=1), 1) == [{2}] * 2
    assert banned(Constraints(suppressed_once=(2,), once=1), 0) == [set()] * 2
    for how, now in ((Constraints(first=4), 0), (Constraints(last=(4,)), 3)):
        want = np.full_like(SCORES, -INF)
        want[:, 4] = 0
        np.testing.assert_array_equal(changed(how, now, room=4), want)
        np.testing.assert_array_equal(changed(how, 2, room=4), SCORES)


def test_ends_grow():
    how = Constraints(growth=(1, 1.5))
    np.testing.assert_array_equal(changed(how, 1), SCORES)
    want = SCORES.copy()
    want[:, ENDS] += np.abs(SCORES[:, ENDS]) * (1.5**2 - 1)
    np.testing.assert_allclose(changed(how, 3), want, rtol=1e-6)
    minus = np.full_like(SCORES, -INF)
    np.testing.assert_array_equal(changed(how, 3, minus), minus)  # what is banned stays so


def test_log_p_again():
    found = changed(Constraints(suppressed=(0,), normalise=True))
    np.testing.assert_allclose(np.exp(found).sum(-1), 1, rtol=1e-6)
    assert np.isneginf(found[:, 0]).all()


def test_ends():
    tokens = jnp.array([0, 1, 6])
    for ends, want in ((None, []), ((), []), (1, [1]), ((1, 6), [1, 6])):
        assert tokens[is_end(tokens, ends)].tolist() == want


@pytest.mark.parametrize(
    'how', [{'repetition_penalty': 0.0}, {'source_penalty': -1.0}, {'no_repeat': -1}]
)
def test_bad_constraints(how):
    with pytest.raises(UserError, match=f'{next(iter(how))} .*accepted'):
        Constraints(**how)


def test_the_least_share_of_the_likeliest():
    p = np.array([[0.5, 0.3, 0.15, 0.05]])
    found = filtered(jnp.log(p), Sampling(min_p=0.2))
    assert np.isneginf(found).tolist() == [[False, False, False, True]]
    # After the temperature: the shares are squared.
    found = filtered(jnp.log(p), Sampling(temperature=0.5, min_p=0.2))
    assert np.isneginf(found).tolist() == [[False, False, True, True]]
    with pytest.raises(UserError, match=r'min_p 1\.5 .*accepted: from 0 to 1'):
        Sampling(min_p=1.5)


@pytest.mark.parametrize('how', [Sampling(0.0), Beam(2)])
def test_the_loops_apply_them(how):
    """No token comes twice in what a model writes, which otherwise repeats itself."""
    model = tiny.model()  # a tied head repeats what it reads
    model, params = writer.ready(model, tiny.filled(model))
    prompts = jnp.array([[0, 3, 9], [4, 2, 7]])
    segments = jnp.array([[0, 1, 1], [1, 1, 1]])

    def write(constraints):
        state = decode.prefill(model, False, params, prompts, segments, slots=11, length=8)
        width = how.width if isinstance(how, Beam) else 1
        rows = jnp.repeat(jnp.where(segments > 0, prompts, -1), width, 0)
        adjust = adjuster(constraints, (), rows, rows, 8)
        if isinstance(how, Beam):
            return beam.search(model, params, state, None, how, adjust)[0][:, 0]
        key = jax.random.key(0)
        return decode.advance(model, how, None, params, key, state, 0, 8, adjust).tokens_BM

    free, once = (np.asarray(jax.jit(write, static_argnums=0)(c)).tolist() for c in (
        Constraints(), Constraints(no_repeat=1)
    ))  # fmt: skip
    for repeated, row, prompt in zip(free, once, ([3, 9], [4, 2, 7])):
        assert len({*repeated, *prompt}) < 8 + len(prompt)
        assert len({*row, *prompt}) == 8 + len(prompt)
