"""Numbers over a whole split, whatever its batches."""

import math
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from transformer import evaluators, sharding, text_metrics
from transformer.evaluators import Scores
from transformer.experiment import MeshConfig
from transformer.heads import ClassHeadConfig
from transformer.objectives import Classification, NextToken, TokenClassification

C, B = 4, 8
NAMES = ('a', 'b', 'O', 'c')


class Bias(nn.Module):
    @nn.compact
    def __call__(self, scores):
        bias_C = self.param('bias', nn.initializers.zeros, (C,))
        return scores + bias_C.reshape((1,) * (scores.ndim - 1) + (C,))


class Given(nn.Module):
    """Scores are part of the batch, plus a bias, so that there is a parameter."""

    config = SimpleNamespace(head=ClassHeadConfig(C))

    @nn.compact
    def forward(self, batch, rows_B=None, train=False):
        return Bias(name='head')(batch['scores']), {}


BIAS = np.array([0.1, -0.2, 0.3, 0.0], np.float32)


def batches(places=(), count=3, real=None, seed=0):
    """`count` batches [1, B, *places]; only the first `real` rows of the last one count."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        shape = (1, B, *places)
        weights = (rng.random(shape) < 0.8).astype(np.float32) if places else np.ones(shape)
        if real is not None and i == count - 1:
            weights[:, real:] = 0
        yield {
            'scores': 2 * rng.standard_normal((*shape, C), np.float32),
            'targets': rng.integers(0, C, shape, dtype=np.int32),
            'weights': weights.astype(np.float32),
        }


@pytest.fixture(scope='module')
def evaluator():
    mesh = sharding.make_mesh(MeshConfig())
    made = {}

    def get(objective, classes):
        if (objective.kind, classes) not in made:
            params = {'head': {'bias': jnp.asarray(BIAS)}}
            whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
            params = jax.device_put(params, whole)
            scores = Scores(
                Given(), objective, classes, mesh, jax.tree.map(lambda _: whole, params)
            )
            made[objective.kind, classes] = lambda found, **more: dict(
                scores(params, found, **more)
            )
        return made[objective.kind, classes]

    return get


def by_numpy(found):
    """(loss, accuracy, confusion, count) of everything that counts, one by one."""
    nats, right, count, confusion = 0.0, 0, 0, np.zeros((C, C))
    for batch in found:
        scores = np.float64(batch['scores']) + BIAS
        for where in np.argwhere(batch['weights'] > 0):
            where = tuple(where)
            chances, target = (
                scores[where] - np.logaddexp.reduce(scores[where]),
                batch['targets'][where],
            )
            nats -= chances[target]
            right += chances.argmax() == target
            confusion[target, chances.argmax()] += 1
            count += 1
    return nats / count, right / count, confusion, count


def macro_f1(confusion):
    right = np.diag(confusion)
    return np.mean(2 * right / (confusion.sum(0) + confusion.sum(1)))


def test_classes(evaluator):
    got = evaluator(Classification(), NAMES)(batches(real=3))
    loss, accuracy, confusion, count = by_numpy(batches(real=3))
    assert count == 2 * B + 3
    want = {'loss': loss, 'accuracy': accuracy, 'f1': macro_f1(confusion), 'examples': count}
    assert got == pytest.approx(want, rel=1e-5)
    assert list(got)[-1] == 'examples'


def test_tags(evaluator):
    got = evaluator(TokenClassification(), NAMES)(batches((5,), real=2))
    loss, accuracy, confusion, count = by_numpy(batches((5,), real=2))
    tags = [i for i, name in enumerate(NAMES) if name != 'O']
    right = sum(confusion[i, i] for i in tags)
    said, true = confusion[:, tags].sum(), confusion[tags].sum()
    want = {
        'loss': loss,
        'accuracy': accuracy,
        'f1': macro_f1(confusion),
        'tag_f1': 2 * right / (said + true),
        'tokens': count,
    }
    assert got == pytest.approx(want, rel=1e-5)


def test_tokens(evaluator):
    found = list(batches((5,), real=2))
    got = evaluator(NextToken(), ())(found, text_bytes=99)
    loss, accuracy, _, count = by_numpy(found)
    want = {
        'loss': loss,
        'perplexity': math.exp(loss),
        'bits_per_byte': loss * count / math.log(2) / 99,
        'accuracy': accuracy,
        'tokens': count,
    }
    assert got == pytest.approx(want, rel=1e-5)
    assert 'bits_per_byte' not in evaluator(NextToken(), ())(found)


def test_padding_rows_do_not_count(evaluator):
    found = list(batches(real=3))
    other = [jax.tree.map(np.copy, batch) for batch in found]
    other[-1]['scores'][:, 3:] *= -100
    other[-1]['targets'][:, 3:] = 0
    run = evaluator(Classification(), NAMES)
    assert run(found) == run(other)


@pytest.mark.parametrize(
    ('objective', 'names', 'places'), [(Classification(), NAMES, ()), (NextToken(), (), (5,))]
)
def test_sources(objective, names, places):
    mesh = sharding.make_mesh(MeshConfig())
    params = {'head': {'bias': jnp.asarray(BIAS)}}
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    layout = jax.tree.map(lambda _: whole, params)
    scores = Scores(Given(), objective, names, mesh, layout, ('x', 'never', 'y'))
    rng = np.random.default_rng(7)
    found = [
        batch | {'source': rng.choice([0, 2], (1, B)).astype(np.int32)}
        for batch in batches(places, real=3)
    ]
    got = dict(scores(jax.device_put(params, whole), found))
    what = 'tokens' if places else 'examples'
    for k, name in ((0, 'x'), (2, 'y')):
        alone = jax.tree.map(np.copy, found)
        for batch in alone:
            batch['weights'][batch['source'] != k] = 0
        loss, _, _, count = by_numpy(alone)
        assert got[f'loss/{name}'] == pytest.approx(loss, rel=1e-5)
        assert got[f'{what}/{name}'] == count
    assert got[what] == got[f'{what}/x'] + got[f'{what}/y']
    assert not any('never' in name for name in got)


def test_what_cannot_be_evaluated(evaluator):
    run = evaluator(Classification(), NAMES)
    with pytest.raises(ValueError, match='no batches'):
        run([])
    with pytest.raises(ValueError, match='all weights are 0'):
        run(batches(count=1, real=0))


def test_generated_texts(monkeypatch):
    seen = {}

    def bleu(predictions, references, lowercase, tokenize):
        seen[tokenize] = lowercase
        return {'13a': 12.5, 'intl': 13.5}[tokenize], f'signature of {tokenize}'

    monkeypatch.setattr(text_metrics, 'bleu', bleu)  # needs a library that may not be there
    texts, wanted = ['a b c', 'x y'], ['a b d', 'x y']
    got = dict(evaluators.generated(texts, wanted, lowercase=True))
    assert seen == {'13a': True, 'intl': True}
    names = ['bleu', 'bleu_signature', 'bleu_intl', 'bleu_intl_signature']
    assert list(got) == [*names, 'rouge1', 'rouge2', 'rougeL', 'token_f1', 'exact_match']
    assert (got['bleu'], got['bleu_signature']) == (12.5, 'signature of 13a')
    assert got['bleu_intl'] == 13.5
    assert got['rouge1'] == text_metrics.rouge(texts, wanted, '1')
    assert got['rougeL'] == pytest.approx(np.mean([2 / 3, 1]) * (100 if got['rougeL'] > 1 else 1))
    assert got['rouge2'] < got['rouge1']
    assert got['token_f1'] == text_metrics.token_f1(texts, wanted)
    assert got['exact_match'] == 50
