"""Properties of whole models."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from transformer import losses, registry, summary
from transformer.context import Context
from transformer.errors import ConfigError
from transformer.models.decoder import MLPS, NORMS, POSITIONS, DecoderOptions
from transformer.positions import LearnedConfig
from transformer.step import context_of

VARIANTS = [
    {},
    {'positions': 'learned', 'norm': 'layernorm', 'mlp': 'gelu', 'bias': True, 'tied': False},
    {'positions': 'none', 'kv_heads': 1, 'window': 3, 'head_width': 6, 'mlp': 'relu2'},
]


def made(**options):
    model = tiny.model(**options)
    return model, tiny.noisy(tiny.init(model))


def loss_and_grads(model, params, batch):
    def loss(params):
        logits, _, _ = model.apply({'params': params}, batch['inputs'], context_of(batch))
        return losses.next_token(logits, batch['targets'], batch['weights'])

    return jax.jit(jax.value_and_grad(loss))(params)


def one(batch):
    return {name: x[0] for name, x in batch.items()}


@pytest.mark.parametrize('options', VARIANTS)
def test_causal_and_packed_by_gradients(options):
    """The output at t depends on the tokens up to t of its own document, and on no others."""
    model, params = made(**options)
    T = tiny.CONTEXT
    row = {k: v[:1] for k, v in one(tiny.batch(seed=3)).items()}
    ctx = context_of(row)

    def from_embedding(x_BTD):
        def hidden(module):
            y, _, _ = module.stack(x_BTD, ctx)
            return module.logits(module.norm(y))

        return model.apply({'params': params}, method=hidden)

    x_BTD = params['tokens'][row['inputs']]
    jacobian = jax.jacrev(lambda x: jnp.square(from_embedding(x)).sum((0, 2)))(x_BTD)
    reach_TS = jnp.abs(jacobian).sum((1, 3))
    segments = row['segment_ids'][0]
    same = segments[:, None] == segments[None]
    may = same & np.tril(np.ones((T, T), bool))
    assert len(set(segments)) > 1
    assert (reach_TS[~may] == 0).all()
    assert (reach_TS[np.eye(T, dtype=bool)] > 0).all()
    if not options.get('window'):
        assert (reach_TS[may] > 0).all()


@pytest.mark.parametrize('options', VARIANTS)
def test_packed_equals_documents_one_by_one(options):
    model, params = made(**options)
    batch = one(tiny.batch(seed=1))
    logits, _, _ = model.apply({'params': params}, batch['inputs'], context_of(batch))
    read = jax.jit(lambda inputs: model.apply({'params': params}, inputs, Context.of(inputs))[0])
    for b, segments in enumerate(batch['segment_ids']):
        for segment in set(segments):
            at = np.flatnonzero(segments == segment)
            alone = np.zeros((1, tiny.CONTEXT), np.int32)  # what follows it is not seen
            alone[0, : len(at)] = batch['inputs'][b, at]
            np.testing.assert_allclose(logits[b, at], read(alone)[0, : len(at)], atol=1e-5)


@pytest.mark.parametrize('options', VARIANTS)
def test_cached_equals_full(options):
    model, params = made(**options)
    inputs = one(tiny.batch())['inputs']
    B, T = inputs.shape
    full, _, _ = model.apply({'params': params}, inputs, Context.of(inputs))
    caches, at = model.init_cache(B, T), 0
    read = jax.jit(lambda piece, ctx, caches: model.apply({'params': params}, piece, ctx, caches))
    for size in (5, 1, 1, 4, 1, 1, 3):
        piece = inputs[:, at : at + size]
        positions = jnp.broadcast_to(jnp.arange(at, at + size), piece.shape)
        ctx = Context.of(piece, positions)
        logits, caches, _ = read(piece, ctx, caches)
        np.testing.assert_allclose(logits, full[:, at : at + size], atol=1e-5)
        at += size
    assert at == T


@pytest.mark.parametrize('remat', ['dots', 'full'])
@pytest.mark.parametrize('unroll', [1, 3])
def test_rematerialised_and_unrolled_equal_plain(remat, unroll):
    plain, params = made()
    other = tiny.model(remat=remat, unroll=unroll)
    batch = one(tiny.batch())
    want, want_grads = loss_and_grads(plain, params, batch)
    got, got_grads = loss_and_grads(other, params, batch)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got_grads, want_grads)


def test_rematerialising_keeps_less():
    batch = one(tiny.batch(B=64))

    def temporaries(remat):
        model, params = made(remat=remat)
        f = lambda p: loss_and_grads(model, p, batch)  # noqa: E731
        return jax.jit(f).lower(params).compile().memory_analysis().temp_size_in_bytes

    assert temporaries('full') < 0.7 * temporaries('none')


@pytest.mark.parametrize(
    ('mlp', 'norm', 'positions'),
    [(mlp, 'rmsnorm', 'rope') for mlp in MLPS]
    + [('gelu', norm, 'none') for norm in NORMS]
    + [('relu', 'layernorm', positions) for positions in POSITIONS],
)
def test_every_choice_counts(mlp, norm, positions):
    """Each choice of a table gives another function; none is silently ignored."""
    model, params = made(mlp=mlp, norm=norm, positions=positions, bias=True)
    inputs = one(tiny.batch())['inputs']
    logits, _, _ = jax.jit(model.apply)({'params': params}, inputs, Context.of(inputs))
    assert jnp.isfinite(logits).all()
    config = model.config
    assert (config.positions is not None) == (positions == 'learned')
    assert (config.pattern[0].mixer.rotary is not None) == (positions == 'rope')
    assert (type(config.norm), config.pattern[0].norm) == (type(NORMS[norm]), NORMS[norm])
    assert ('gate' in params['stack']['repeat']['block_0']['mlp']) == MLPS[mlp][1]


def test_rotary_depends_on_distance_alone():
    model, params = made()
    inputs = one(tiny.batch())['inputs']
    B, T = inputs.shape
    near, far = (jnp.broadcast_to(jnp.arange(T) + shift, (B, T)) for shift in (0, 5))
    one_, other = (
        model.apply({'params': params}, inputs, Context.of(inputs, p))[0] for p in (near, far)
    )
    np.testing.assert_allclose(one_, other, atol=1e-4)
    stretched = model.apply({'params': params}, inputs, Context.of(inputs, 2 * near))[0]
    assert jnp.abs(stretched - one_).max() > 1e-2


def test_bfloat16_compute_is_near_float32():
    model, params = made()
    inputs = one(tiny.batch())['inputs']
    exact, _, _ = model.apply({'params': params}, inputs, Context.of(inputs))
    half = tiny.model(dtype='bfloat16')
    logits, _, _ = half.apply({'params': params}, inputs, Context.of(inputs))
    assert logits.dtype == jnp.float32
    assert 1e-5 < jnp.abs(logits - exact).max() < 0.05 * jnp.abs(exact).max()


def test_gpt2_small_has_its_published_size():
    """124,439,808 parameters, counted on the reference implementation."""
    options = DecoderOptions(
        width=768, depth=12, heads=12, positions='learned', norm='layernorm', bias=True
    )
    count = size_of(options, vocab=50257, context=1024)
    assert count == 124_439_808


def test_llama_7b_has_its_published_size():
    """6,738,415,616 parameters, counted on the reference implementation."""
    options = DecoderOptions(width=4096, depth=32, heads=32, hidden=11008, mlp='swiglu', tied=False)
    assert size_of(options, vocab=32000, context=4096) == 6_738_415_616


def size_of(options, vocab, context):
    from transformer.model import Decoder

    model = Decoder(options.build(vocab, context, dtype='bfloat16', remat='none', unroll=1))
    inputs = jnp.zeros((1, 8), jnp.int32)
    shapes = jax.eval_shape(
        lambda key: model.init(key, inputs, Context.of(inputs))['params'], jax.random.key(0)
    )
    return summary.parameter_count(shapes)


@pytest.mark.parametrize(
    ('options', 'field', 'accepted'),
    [
        ({'width': 30}, 'model.width', 'multiple of config.model.heads=4'),
        ({'kv_heads': 3}, 'model.kv_heads', r'\[1, 2, 4\]'),
        ({'depth': 0}, 'model.depth', 'above 0'),
        ({'mlp': 'sine'}, 'model.mlp', 'swiglu'),
        ({'norm': 'batch'}, 'model.norm', 'rmsnorm'),
        ({'positions': 'gps'}, 'model.positions', 'rope'),
        ({'attention': 'flash'}, 'model.attention', 'reference'),
        ({'dropout': 1.0}, 'model.dropout', 'below 1'),
        ({'head_width': 7}, 'model.head_width', 'even'),
        ({'attention': 'xla', 'dropout': 0.1}, 'model.dropout', 'reference'),
    ],
)
def test_bad_choices_name_the_field(options, field, accepted):
    with pytest.raises(ConfigError, match=accepted) as raised:
        dataclasses.replace(tiny.OPTIONS, **options)
    assert raised.value.field == field
    assert f'config.{field}=' in str(raised.value)


def test_registry_refuses_strangers():
    @dataclasses.dataclass(frozen=True)
    class Stranger:
        pass

    with pytest.raises(TypeError, match='Stranger.*AttentionConfig'):
        registry.build(Stranger(), width=8)
    with pytest.raises(TypeError, match='frozen'):
        registry.register(dict)
    with pytest.raises(TypeError, match='already'):
        registry.register(LearnedConfig)
