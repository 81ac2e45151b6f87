"""What holds for every family, in its tiny size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests import test_parallel, tiny
from transformer import losses, sharding, step
from transformer.context import Context
from transformer.experiment import MeshConfig
from transformer.model import EncoderDecoder
from transformer.paths import names

T = tiny.CONTEXT


def each(families, quick=None):
    """A test for each family; those of one family share a process, and so compiled programs.

    Args:
      quick: those that are not left to `pytest -m long`; None: all.
    """

    def marks(name):
        rest = [] if quick is None or name in quick else [pytest.mark.long]
        return [pytest.mark.xdist_group(name), *rest]

    return pytest.mark.parametrize('name', [pytest.param(n, marks=marks(n)) for n in families])


def close(got, want, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), got, want)


def loss_and_grads(model, params, batch):
    def loss(params):
        scores, aux = model.apply({'params': params}, batch, method='forward')
        total, _ = losses.cross_entropy(scores, batch['targets'], batch['weights'])
        return total + losses.reports(aux)[0]

    return jax.jit(jax.value_and_grad(loss))(params)


@functools.lru_cache
def forward(name, **sizes):
    """The compiled whole pass of a family: (params, batch) -> scores."""
    model = tiny.member(name, **sizes)
    return jax.jit(lambda p, b: model.apply({'params': p}, b, method='forward')[0])


def reach(model, params, batch, tokens_of):
    """|d output at t / d vector of the token at s|, [T, S], for rows of distinct tokens.

    The output is the stack's, before a head that may read the table of tokens too.
    """

    def outputs(table):
        changed = params | {'tokens': {'table': table}}

        def hidden(module):
            if isinstance(model, EncoderDecoder):
                source = Context.of(batch['inputs'], batch['positions'], batch['segment_ids'])
                memory, _ = module.encode(batch['inputs'], source)
                ctx = Context.of(
                    batch['decoder_inputs'],
                    batch['decoder_positions'],
                    batch['decoder_segment_ids'],
                    memory_BSD=memory,
                    memory_segments_BS=batch['segment_ids'],
                )
                return module.hidden(batch['decoder_inputs'], ctx)[0]
            ctx = Context.of(batch['inputs'], batch['positions'], batch['segment_ids'])
            return module.hidden(batch['inputs'], ctx)[0]

        x_BTD = model.apply({'params': changed}, method=hidden)
        weight_D = jnp.cos(jnp.arange(x_BTD.shape[-1]))  # a plain sum of normed vectors is constant
        return (x_BTD * weight_D[None, None]).sum((0, 2))

    def jacobian(table):
        pull = jax.vjp(outputs, table)[1]
        return jax.lax.map(lambda one_T: pull(one_T)[0], jnp.eye(T))

    jacobian_TVE = jax.jit(jacobian)(params['tokens']['table'])
    return np.abs(np.asarray(jacobian_TVE)).sum(-1)[:, np.asarray(tokens_of[0])]


def distinct(batch, name, first):
    """The first row, its tokens all different."""
    tokens = first + np.arange(T, dtype=np.int32)[None]
    return {k: v[:1] for k, v in batch.items()} | {name: jnp.asarray(tokens)}


@each(tiny.TEXT)
def test_who_sees_whom_by_gradients(name):
    """Causality, both directions, and packing: nothing crosses documents, all else arrives."""
    model, params = tiny.made(name)
    batch = distinct(tiny.one(tiny.batch_for(model, seed=3)), 'inputs', 0)
    same = np.equal.outer(*[np.asarray(batch['segment_ids'][0])] * 2)
    if isinstance(model, EncoderDecoder):
        batch = distinct(batch, 'decoder_inputs', T)
        from_source = reach(model, params, batch, batch['inputs'])
        assert (from_source[~same] == 0).all()
        assert (from_source[same] > 0).all()
        seen = reach(model, params, batch, batch['decoder_inputs'])
        may = same & np.tril(np.ones((T, T), bool))
    else:
        seen = reach(model, params, batch, batch['inputs'])
        causal = model.config.stack.causal
        may = same & np.tril(np.ones((T, T), bool)) if causal else same
    assert (seen[~may] == 0).all()
    assert (seen[np.eye(T, dtype=bool)] > 0).all()
    assert (seen[may] > 0).all()


@each([n for n in tiny.TEXT if n != 'classifier'])
def test_packed_equals_documents_one_by_one(name):
    model, params = tiny.made(name)
    batch = tiny.one(tiny.batch_for(model, seed=1))
    whole = np.asarray(forward(name)(params, batch))
    alone, places = [], []
    for b, row in enumerate(np.asarray(batch['segment_ids'])):
        for segment in sorted(set(row)):
            at = np.flatnonzero(row == segment)
            new = {}
            for key, x in batch.items():
                new[key] = np.zeros(T, x.dtype)
                new[key][: len(at)] = np.asarray(x)[b, at]
                if key.endswith('segment_ids'):
                    new[key] = (new[key] > 0).astype(np.int32)
            alone.append(new)
            places.append((b, at))
    B = len(whole)  # as many documents as there were rows: the same program
    assert len(alone) > B
    rows = {key: jnp.stack([row[key] for row in alone[:B]]) for key in batch}
    separate = np.asarray(forward(name)(params, rows))
    for i, (b, at) in enumerate(places[:B]):
        np.testing.assert_allclose(separate[i, : len(at)], whole[b, at], atol=5e-5)


@each(tiny.WRITERS)
def test_cached_equals_full(name):
    model, params = tiny.made(name)
    batch = tiny.one(tiny.batch_for(model))
    B = len(batch['inputs'])
    places = jnp.broadcast_to(jnp.arange(T), (B, T))
    plain = {'positions': places, 'segment_ids': jnp.ones((B, T), jnp.int32)}
    memory, both = {}, isinstance(model, EncoderDecoder)
    batch |= plain | ({f'decoder_{k}': x for k, x in plain.items()} if both else {})
    if both:
        inputs, caches = batch['decoder_inputs'], model.init_cache(B, T, T)
        source = Context.of(batch['inputs'])
        encode = lambda p, x: model.apply({'params': p}, x, source, method='encode')[0]  # noqa: E731
        memory = {'memory_BSD': jax.jit(encode)(params, batch['inputs'])}
        memory['memory_segments_BS'] = plain['segment_ids']
    else:
        inputs, caches = batch['inputs'], model.init_cache(B, T)
    full = forward(name)(params, batch)
    read = jax.jit(lambda p, piece, ctx, caches: model.apply({'params': p}, piece, ctx, caches))
    at = 0
    for size in (7, 1, 1, 7):
        piece = inputs[:, at : at + size]
        ctx = Context.of(piece, places[:, at : at + size], **memory)
        scores, new, _ = read(params, piece, ctx, caches)
        assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, caches)
        caches, memory = new, {}  # the caches keep what they need of the memory
        np.testing.assert_allclose(scores, full[:, at : at + size], atol=5e-5)
        at += size
    assert at == T


@pytest.mark.slow
@each(tiny.FAMILIES, quick=('gpt', 'bert', 't5', 'vit', 'mixtral', 'mamba'))
def test_rematerialised_unrolled_and_bfloat16(name):
    plain, params = tiny.made(name)
    batch = tiny.one(tiny.batch_for(plain))
    want, want_grads = loss_and_grads(plain, params, batch)
    for path, g in zip(names(want_grads), jax.tree.leaves(want_grads)):
        assert jnp.isfinite(g).all(), path
        # A key's bias shifts all scores of a query alike.
        assert path.endswith('key/bias') or (g != 0).any(), f'{path} has no gradient'
    other = tiny.member(name, remat='full', unroll=2)
    got, got_grads = loss_and_grads(other, params, batch)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    close(got_grads, want_grads, atol=5e-4, rtol=1e-4)
    half = forward(name, dtype='bfloat16')(params, batch)
    exact = forward(name)(params, batch)
    assert half.dtype == jnp.float32
    gap = jnp.abs(half - exact)
    # A rounded token may go to another expert: nearly all scores agree, not all.
    worst = jnp.quantile(gap, 0.9) if tiny.FAMILIES[name][0].experts else gap.max()
    assert 0 < worst < 0.1 * jnp.abs(exact).max() + 0.1


@pytest.mark.long
@each([name for name in tiny.FAMILIES if name not in test_parallel.FAMILIES])
def test_sharded_equals_single(name):
    """One update by plain gradients on eight devices moves the parameters as on one.

    `test_parallel.py` has the other families.
    """
    experiment, tx = tiny.experiment(), optax.sgd(1.0)
    model, params = tiny.made(name, dropout=0.2)
    batch = tiny.batch_for(model)

    def run(axes, devices):
        mesh = sharding.make_mesh(MeshConfig(**axes), experts=4, devices=devices)
        zero = jnp.zeros((), jnp.int32)
        state = step.TrainState(zero, params, tx.init(params), jnp.zeros(2, jnp.uint32), zero)
        shardings = sharding.state_shardings(state, tx, mesh)
        state = jax.device_put(jax.device_get(state), shardings)  # a copy: the update takes it
        update = step.jit_train_step(step.train_step_fn(model, tx, experiment), shardings, mesh)
        state, metrics = update(state, sharding.put_batch(batch, mesh))
        return jax.device_get((state.params, metrics))

    alone, numbers = run({}, jax.devices()[:1])
    half = 'expert' if 'experts/dropped' in numbers else 'fsdp'
    spread, others = run({'data': 2, half: 2, 'tensor': 2}, jax.devices())
    np.testing.assert_allclose(others['loss'], numbers['loss'], rtol=1e-5)
    close(spread, alone, atol=5e-5)
    moved = jax.tree.map(lambda a, b: not np.allclose(a, b), alone, jax.device_get(params))
    assert np.mean(jax.tree.leaves(moved)) > 0.8


def test_shared_layers_have_one_set_of_parameters_and_gradients():
    model, params = tiny.made('albert')
    kernel = params['stack']['shared']['block_0']['mlp']['up']['kernel']
    assert kernel.shape == (16, 24)
    separate = tiny.member('albert', shared=False)
    copies = jax.tree.map(lambda x: jnp.stack([x, x]), params['stack']['shared'])
    apart = params | {'stack': {'repeat': copies}}
    batch = tiny.one(tiny.batch_for(model))
    loss, grads = loss_and_grads(model, params, batch)
    loss_apart, grads_apart = loss_and_grads(separate, apart, batch)
    np.testing.assert_allclose(loss, loss_apart, rtol=1e-6)
    jax.tree.map(
        lambda one, two: np.testing.assert_allclose(one, two.sum(0), atol=1e-4),
        grads['stack']['shared'],
        grads_apart['stack']['repeat'],
    )
