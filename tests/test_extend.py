"""A new mixer is one file, one config, one test: here it joins a model, and no other line changes.

The mixer itself, and the checks that it passes alone, are in `test_mixers.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np

from tests import tiny
from tests.test_mixers import mean  # noqa: F401  (the fixture that registers the mixer 'mean')
from transformer import losses
from transformer import model as models
from transformer.context import Context
from transformer.models import DecoderOptions
from transformer.models.assemble import Sizes

T = tiny.CONTEXT


def test_a_new_mixer_in_a_decoder(mean):  # noqa: F811
    options = DecoderOptions(
        width=16, depth=2, heads=2, hidden=24, mixers=('mean', 'attention'), positions='none'
    )
    model = models.make(options.build(Sizes(tiny.VOCAB, T)))
    assert isinstance(model.config.stack.pattern[0].mixer, mean)
    batch = tiny.one(tiny.batch(B=2, seed=3))

    # It trains: the loss falls, and its own parameter moves.
    @jax.jit
    def train(key):
        params = model.init(key, model.example(), method='forward')['params']

        def loss(params):
            scores, _ = model.apply({'params': params}, batch, method='forward')
            nats, _ = losses.cross_entropy(scores, batch['targets'], batch['weights'])
            return nats / batch['weights'].sum()

        def step(params, _):
            nats, grads = jax.value_and_grad(loss)(params)
            return jax.tree.map(lambda p, g: p - 0.5 * g, params, grads), nats

        return jax.lax.scan(step, params, length=40)

    params, nats = train(jax.random.key(0))
    assert nats[-1] < 0.8 * nats[0]
    scale = params['stack']['repeat']['block_0']['mixer']['scale']
    assert not np.allclose(scale, 1, atol=1e-3)

    # It is causal and keeps documents apart, by gradients to the vectors of distinct tokens.
    row = batch['inputs'][:1] * 0 + jnp.arange(T)[None]
    ctx = Context.of(row, batch['positions'][:1], batch['segment_ids'][:1])

    @jax.jit
    def reach(params):
        def output(table):
            changed = params | {'tokens': {'table': table}}
            x_BTD, _, _ = model.apply({'params': changed}, row, ctx, method='hidden')
            return (x_BTD[0] * jnp.cos(jnp.arange(16))[None]).sum(-1)

        pull = jax.vjp(output, params['tokens']['table'])[1]
        return jnp.abs(jax.lax.map(lambda one_T: pull(one_T)[0], jnp.eye(T))).sum(-1)[:, :T]

    segments = np.asarray(ctx.segments_BT[0])
    may = np.equal.outer(segments, segments) & np.tri(T, dtype=bool)
    seen = np.asarray(reach(params))
    assert may.sum() < np.tri(T).sum()
    assert (seen[~may] == 0).all()
    assert (seen[may] > 0).all()

    # What it keeps in its cache is enough.
    places = jnp.broadcast_to(jnp.arange(T)[None], (2, T))
    read = jax.jit(
        lambda x, at, caches: model.apply({'params': params}, x, Context.of(x, at), caches)
    )
    full, _, _ = read(batch['inputs'], places, None)
    caches, parts = model.init_cache(2, T), []
    for half in (slice(T // 2), slice(T // 2, T)):
        scores, caches, _ = read(batch['inputs'][:, half], places[:, half], caches)
        parts.append(scores)
    np.testing.assert_allclose(jnp.concatenate(parts, 1), full, atol=1e-5)
