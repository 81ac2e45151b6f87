"""Properties of decoders by their choices; `test_family.py` has what holds for every family."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tiny
from transformer import losses, registry, summary
from transformer import model as models
from transformer.config import EncoderDecoderConfig, TransformerConfig, VisionConfig
from transformer.context import Context
from transformer.errors import ConfigError
from transformer.mlps import MLP
from transformer.models import DecoderOptions, VisionOptions, assemble
from transformer.models.assemble import Sizes
from transformer.models.options import MLPS, NORMS, POSITIONS
from transformer.positions import LearnedConfig, SinusoidalConfig
from transformer.residuals import RESIDUALS


@functools.lru_cache
def made(**options):
    model = tiny.model(**options)
    return model, tiny.filled(model)


@functools.lru_cache
def reader(**options):
    """The compiled whole pass: (inputs_BT, positions_BT) -> scores_BTV."""
    model, _ = made(**options)
    _, params = made(**{k: v for k, v in options.items() if k != 'dtype'})
    apply = jax.jit(lambda p, x, at: model.apply({'params': p}, x, Context.of(x, at))[0])
    return functools.partial(apply, params)


def places(inputs_BT):
    return jnp.broadcast_to(jnp.arange(inputs_BT.shape[1]), inputs_BT.shape)


def loss_of(model):
    """A function (params, batch) -> loss."""

    def loss(params, batch):
        scores, _ = model.apply({'params': params}, batch, method='forward')
        return losses.cross_entropy(scores, batch['targets'], batch['weights'])[0]

    return loss


def loss_and_grads(model):
    return jax.value_and_grad(loss_of(model))


def test_cached_equals_full_with_odd_heads():
    """One key/value head, heads that do not make up the width, a window in every layer."""
    options = {'positions': 'none', 'kv_heads': 1, 'window': 3, 'head_width': 6, 'mlp': 'relu2'}
    model, params = made(**options)
    inputs = tiny.one(tiny.batch())['inputs']
    B, T = inputs.shape
    full = reader(**options)(inputs, places(inputs))
    caches, at = model.init_cache(B, T), 0
    read = jax.jit(lambda piece, ctx, caches: model.apply({'params': params}, piece, ctx, caches))
    for size in (7, 1, 1, 7):
        piece = inputs[:, at : at + size]
        ctx = Context.of(piece, places(inputs)[:, at : at + size])
        scores, caches, _ = read(piece, ctx, caches)
        np.testing.assert_allclose(scores, full[:, at : at + size], atol=5e-5)
        at += size
    assert at == T


@pytest.mark.parametrize(
    ('remat', 'unroll'), [('dots', 3), ('minimal', 1), ('full', 1), ('offload', 1)]
)
def test_rematerialised_and_unrolled_equal_plain(remat, unroll):
    plain, params = made()
    batch = tiny.one(tiny.batch())
    want, want_grads = plain_loss_and_grads()
    other = tiny.model(remat=remat, unroll=unroll)
    got, got_grads = jax.jit(loss_and_grads(other))(params, batch)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=5e-4, rtol=1e-4), got_grads, want_grads
    )


@functools.lru_cache
def plain_loss_and_grads():
    model, params = made()
    return jax.jit(loss_and_grads(model))(params, tiny.one(tiny.batch()))


def test_rematerialising_keeps_less():
    """Counts the numbers that the backward pass is handed; nothing is compiled."""
    batch = tiny.one(tiny.batch(B=64))

    def kept(remat):
        model = tiny.model(remat=remat)

        def backward(params):
            return jax.vjp(lambda p: loss_of(model)(p, batch), params)[1]

        return sum(x.size for x in jax.tree.leaves(jax.eval_shape(backward, tiny.shapes(model))))

    assert kept('full') < 0.3 * kept('none')
    assert kept('full') < kept('minimal') < kept('dots') < 0.8 * kept('none')


@pytest.mark.slow
def test_rematerialising_takes_less_memory():
    batch = tiny.one(tiny.batch(B=64))

    def temporaries(remat):
        model = tiny.model(remat=remat)
        lowered = jax.jit(loss_and_grads(model)).lower(tiny.shapes(model), batch)
        # The tests' own settings reuse no memory, whatever is computed again.
        optimised = {'xla_backend_optimization_level': 1}
        optimised['xla_llvm_disable_expensive_passes'] = False
        return lowered.compile(optimised).memory_analysis().temp_size_in_bytes

    assert temporaries('full') < 0.7 * temporaries('none')


@pytest.mark.parametrize(
    ('field', 'table'),
    [('mlp', MLPS), ('norm', NORMS), ('positions', POSITIONS), ('residual', RESIDUALS)],
)
def test_every_choice_counts(field, table):
    """Each choice of a table gives another function; none is silently ignored."""
    programs = {}
    for choice in (*table, next(iter(table))):
        hidden = 0 if choice == 'none' and field == 'mlp' else tiny.OPTIONS.hidden
        model = tiny.model(bias=True, hidden=hidden, **{field: choice})
        forward = functools.partial(model.apply, method='forward')
        batch = tiny.one(tiny.batch(B=2))
        traced = jax.make_jaxpr(forward)({'params': tiny.shapes(model)}, batch)
        programs.setdefault(str(traced), set()).add(choice)
    assert sorted(c for choices in programs.values() for c in choices) == sorted(table)
    assert all(len(choices) == 1 for choices in programs.values())
    assert len(programs) == len(table)  # the first choice, traced again, is the same program


def test_choices_reach_the_config():
    for name in POSITIONS:
        config = tiny.model(positions=name).config
        kinds = {'learned': LearnedConfig, 'sinusoidal': SinusoidalConfig}
        assert isinstance(config.embed.positions, kinds.get(name, type(None)))
        assert (config.stack.pattern[0].mixer.rotary is not None) == (name == 'rope')
        assert (config.stack.relative is not None) == (name in ('alibi', 't5'))
    for name, norm in NORMS.items():
        config = tiny.model(norm=name).config
        assert config.stack.norm == config.stack.pattern[0].norm == norm
    for name, (_, gated) in MLPS.items():
        block = tiny.shapes(tiny.model(mlp=name, hidden=0))['stack']['repeat']['block_0']
        assert ('mlp' in block) == (name != 'none')
        assert ('gate' in block.get('mlp', {})) == gated


def test_every_mlp_is_finite_and_its_own():
    configs = {
        name: assemble.mlp(dataclasses.replace(tiny.OPTIONS, mlp=name), 0)
        for name in MLPS
        if name != 'none'
    }
    ctx = Context.of(jnp.zeros((1, 8)))

    @jax.jit
    def outputs(x_BTD):
        found = {}
        for name, config in configs.items():
            mlp = MLP(config, tiny.OPTIONS.width)
            abstract = jax.eval_shape(lambda m=mlp: m.init(jax.random.key(0), x_BTD, ctx))
            rng = np.random.default_rng(0)
            draw = lambda x, rng=rng: 0.2 * rng.standard_normal(x.shape, x.dtype)  # noqa: E731
            variables = jax.tree.map(draw, abstract)
            found[name], _ = mlp.apply(variables, x_BTD, ctx)
        return found

    found = outputs(10 * jnp.cos(jnp.arange(8.0 * tiny.OPTIONS.width)).reshape(1, 8, -1))
    assert all(jnp.isfinite(y).all() and (y != 0).any() for y in found.values())
    ys = [np.asarray(y) for y in found.values()]
    assert all((a != b).any() for i, a in enumerate(ys) for b in ys[:i])


def test_rotary_depends_on_distance_alone():
    inputs = tiny.one(tiny.batch())['inputs']
    near = places(inputs)
    plain = reader()(inputs, near)
    np.testing.assert_allclose(reader()(inputs, near + 5), plain, atol=2e-4)
    assert jnp.abs(reader()(inputs, 2 * near) - plain).max() > 1e-2


def test_bfloat16_compute_is_near_float32():
    inputs = tiny.one(tiny.batch())['inputs']
    exact = reader()(inputs, places(inputs))
    scores = reader(dtype='bfloat16')(inputs, places(inputs))
    assert scores.dtype == jnp.float32
    assert 1e-5 < jnp.abs(scores - exact).max() < 0.05 * jnp.abs(exact).max()


def test_gpt2_small_has_its_published_size():
    """124,439,808 parameters, counted on the reference implementation."""
    options = DecoderOptions(
        width=768, depth=12, heads=12, positions='learned', norm='layernorm', bias=True
    )
    assert size_of(options, Sizes(vocab=50257, context=1024)) == 124_439_808


def test_llama_7b_has_its_published_size():
    """6,738,415,616 parameters, counted on the reference implementation."""
    options = DecoderOptions(width=4096, depth=32, heads=32, hidden=11008, mlp='swiglu', tied=False)
    assert size_of(options, Sizes(32000, 4096, dtype='bfloat16')) == 6_738_415_616


def size_of(options, sizes):
    return summary.parameter_count(tiny.shapes(models.make(options.build(sizes))))


def test_the_config_picks_the_model():
    kinds = {
        TransformerConfig: models.Transformer,
        EncoderDecoderConfig: models.EncoderDecoder,
        VisionConfig: models.Vision,
    }
    assert kinds == models.MODELS
    for name in tiny.FAMILIES:
        model = tiny.member(name)
        assert type(model) is kinds[type(model.config)]


@pytest.mark.parametrize(
    ('options', 'field', 'accepted'),
    [
        ({'width': 30}, 'model.width', 'multiple of config.model.heads=4'),
        ({'kv_heads': 3}, 'model.kv_heads', r'\[1, 2, 4\]'),
        ({'depth': 0}, 'model.depth', 'above 0'),
        ({'mlp': 'sine'}, 'model.mlp', 'swiglu'),
        ({'norm': 'batch'}, 'model.norm', 'rmsnorm'),
        ({'positions': 'gps'}, 'model.positions', 'rope'),
        ({'residual': 'none'}, 'model.residual', 'sandwich'),
        ({'rope_scaling': 'log'}, 'model.rope_scaling', 'yarn'),
        ({'attention': 'flash'}, 'model.attention', 'auto, reference'),
        ({'dropout': 1.0}, 'model.dropout', 'below 1'),
        ({'head_width': 7}, 'model.head_width', 'even'),
        ({'attention': 'xla', 'dropout': 0.1}, 'model.attention', 'reference'),
        ({'mixers': ('attention', 'sums')}, 'model.mixers', 'mamba'),
        ({'mixers': ()}, 'model.mixers', 'at least one'),
        ({'mixers': ('attention', 'global')}, 'model.depth', 'multiple of 2'),
        ({'mixers': ('mamba',)}, 'model.positions', 'none'),
        ({'mixers': ('mamba',), 'positions': 'none'}, 'model.kv_heads', '0, unless .*attention'),
        ({'mixers': ('global',), 'window': 3}, 'model.window', "0, unless .*'attention'"),
        ({'experts': 2, 'top_k': 3}, 'model.top_k', 'at most experts=2'),
        ({'experts': 2, 'mlp': 'none'}, 'model.mlp', 'experts need one'),
        ({'experts': 2, 'expert_every': 2}, 'model.depth', 'multiple of 2'),
    ],
)
def test_bad_choices_name_the_field(options, field, accepted):
    with pytest.raises(ConfigError, match=accepted) as raised:
        dataclasses.replace(tiny.OPTIONS, **options).build(Sizes(tiny.VOCAB, tiny.CONTEXT))
    assert raised.value.field == field
    assert f'config.{field}=' in str(raised.value)


def test_images_that_patches_do_not_cover_are_refused():
    with pytest.raises(ConfigError, match='multiple of config.model.patch=4: 8') as raised:
        VisionOptions(width=16, depth=1, heads=2, image=9, patch=4)
    assert raised.value.field == 'model.image'


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
