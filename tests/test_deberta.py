"""A stack with disentangled attention is the DeBERTa of `transformers`, weight by weight."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.test_disentangled import CONFIG, PADDED, D, H, N, X, context, filled
from transformer import optim, paths, registry, sharding
from transformer.config import (
    BlockConfig,
    EmbedConfig,
    StackConfig,
    TokensConfig,
    TransformerConfig,
)
from transformer.experiment import MeshConfig
from transformer.mixers.disentangled import ConvolutionConfig, DistancesConfig
from transformer.mlps import MLPConfig
from transformer.model import Transformer
from transformer.norms import LayerNormConfig
from transformer.ops.disentangled import rows
from transformer.positions import LearnedConfig

VOCAB, CONTEXT, HIDDEN = 30, 16, 20
NORM = LayerNormConfig(1e-7)
# What a config of `transformers` says.
MODELS = {
    'v3': {
        'pos_att_type': 'p2c|c2p',
        'position_buckets': 6,
        'max_relative_positions': 10,
        'share_att_key': True,
        'norm_rel_ebd': 'layer_norm',
        'position_biased_input': False,
    },
    'v2': {
        'pos_att_type': ['c2p', 'p2c'],
        'position_buckets': 5,
        'max_relative_positions': -1,
        'conv_kernel_size': 3,
        'conv_groups': 2,
        'conv_act': 'gelu',
        'type_vocab_size': 2,
    },
    'c2p': {'pos_att_type': ['c2p'], 'max_relative_positions': 5},
    'p2c': {'pos_att_type': ['p2c'], 'position_buckets': 4, 'max_relative_positions': 8},
}


def theirs(name):
    """A model of `transformers` with random weights, none of them at zero or one."""
    torch = pytest.importorskip('torch')
    transformers = pytest.importorskip('transformers')
    torch.set_num_threads(1)
    config = transformers.DebertaV2Config(
        vocab_size=VOCAB,
        hidden_size=D,
        num_hidden_layers=2,
        num_attention_heads=N,
        intermediate_size=HIDDEN,
        max_position_embeddings=CONTEXT,
        relative_attention=True,
        **MODELS[name],
    )
    model = transformers.DebertaV2Model(config).eval()
    rng = np.random.default_rng(0)
    for path, weight in model.named_parameters():
        x = 0.4 * rng.standard_normal(weight.shape, np.float32)
        weight.data = torch.tensor(x + ('LayerNorm.weight' in path))
    return model


def ours(name):
    """The same model."""
    o = {'position_buckets': 0, 'share_att_key': False, 'type_vocab_size': 0} | MODELS[name]
    limit = o['max_relative_positions']
    norm = NORM if 'norm_rel_ebd' in o else None
    attention = dataclasses.replace(
        CONFIG,
        content_to_position='c2p' in o['pos_att_type'],
        position_to_content='p2c' in o['pos_att_type'],
        shared=o['share_att_key'],
    )
    block = BlockConfig(attention, MLPConfig(HIDDEN, 'gelu', bias=True), NORM, residual='post')
    pattern, repeats = (block,), 2
    if 'conv_kernel_size' in o:
        join = ConvolutionConfig(NORM, o['conv_kernel_size'], o['conv_groups'], o['conv_act'])
        pattern, repeats = (dataclasses.replace(block, join=join), block), 1
    stack = StackConfig(
        D,
        pattern,
        repeats,
        causal=False,
        relative=DistancesConfig(
            D, limit if limit > 0 else CONTEXT, o['position_buckets'], norm=norm
        ),
    )
    biased = o.get('position_biased_input', True)
    positions = LearnedConfig(CONTEXT) if biased else None
    embed = EmbedConfig(D, positions, o['type_vocab_size'], NORM)
    return Transformer(TransformerConfig(TokensConfig(VOCAB, D), embed, stack, None, CONTEXT))


def tensors(model):
    return {path: x.numpy() for path, x in model.state_dict().items()}


def projection(x, path):
    kernel = x[f'{path}.weight'].T.reshape(D, N, H)
    return {'kernel': kernel, 'bias': x[f'{path}.bias'].reshape(N, H)}


def norm_params(x, path):
    return {'scale': x[f'{path}.weight'], 'bias': x[f'{path}.bias']}


def attention_params(x, path):
    names = {
        'query': 'query_proj',
        'key': 'key_proj',
        'value': 'value_proj',
        'position_key': 'pos_key_proj',
        'position_query': 'pos_query_proj',
    }
    there = {k: v for k, v in names.items() if f'{path}.self.{v}.weight' in x}
    out = x[f'{path}.output.dense.weight'].T.reshape(N, H, D)
    return {
        **{k: projection(x, f'{path}.self.{v}') for k, v in there.items()},
        'out': {'kernel': out, 'bias': x[f'{path}.output.dense.bias']},
    }


def layer_params(x, i):
    path = f'encoder.layer.{i}'
    dense = lambda name: {  # noqa: E731
        'kernel': x[f'{path}.{name}.dense.weight'].T,
        'bias': x[f'{path}.{name}.dense.bias'],
    }
    layer = {
        'mixer': attention_params(x, f'{path}.attention'),
        'mixer_norm': norm_params(x, f'{path}.attention.output.LayerNorm'),
        'mlp': {'up': dense('intermediate'), 'down': dense('output')},
        'mlp_norm': norm_params(x, f'{path}.output.LayerNorm'),
    }
    if i == 0 and 'encoder.conv.conv.weight' in x:
        kernel_OIW = x['encoder.conv.conv.weight']
        groups = D // kernel_OIW.shape[1]
        kernel = kernel_OIW.reshape(groups, -1, *kernel_OIW.shape[1:]).transpose(3, 0, 2, 1)
        layer['join'] = {
            'kernel': kernel,
            'bias': x['encoder.conv.conv.bias'],
            'norm': norm_params(x, 'encoder.conv.LayerNorm'),
        }
    return layer


def params_of(model):
    """Their weights where ours are."""
    x = tensors(model)
    embed = {'norm': norm_params(x, 'embeddings.LayerNorm')}
    if 'embeddings.position_embeddings.weight' in x:
        embed['positions'] = {'table': x['embeddings.position_embeddings.weight']}
    if 'embeddings.token_type_embeddings.weight' in x:
        embed['types'] = x['embeddings.token_type_embeddings.weight']
    layers = [layer_params(x, i) for i in range(2)]
    if 'join' in layers[0]:
        repeat = {f'block_{i}': jax.tree.map(lambda y: y[None], p) for i, p in enumerate(layers)}
    else:
        repeat = {'block_0': jax.tree.map(lambda *y: np.stack(y), *layers)}
    relative = {'table': x['encoder.rel_embeddings.weight']}
    if 'encoder.LayerNorm.weight' in x:
        relative['norm'] = norm_params(x, 'encoder.LayerNorm')
    return {
        'tokens': {'table': x['embeddings.word_embeddings.weight']},
        'embed': embed,
        'stack': {'relative': relative, 'repeat': repeat},
    }


def batch(length):
    """Three rows: a whole one, one that is padded at its end and one that is at both."""
    rng = np.random.default_rng(3)
    mask = np.ones((3, length), np.int32)
    mask[1, -length // 3 :] = 0
    mask[2, [0, -1]] = 0
    return {
        'inputs': rng.integers(0, VOCAB, (3, length), dtype=np.int32),
        'positions': np.broadcast_to(np.arange(length, dtype=np.int32), (3, length)),
        'segment_ids': mask,
        'types': rng.integers(0, 2, (3, length), dtype=np.int32),
    }


@pytest.mark.parametrize('length', [5, 15, 16])
@pytest.mark.parametrize('name', MODELS)
def test_a_model_is_that_of_transformers(name, length):
    torch = pytest.importorskip('torch')
    model, module, rows = theirs(name), ours(name), batch(length)
    if not module.config.embed.types:
        del rows['types']
    params = params_of(model)
    expected = jax.eval_shape(
        lambda: module.init(jax.random.key(0), module.example(), method='forward')['params']
    )
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, expected)
    got = jax.jit(lambda p, b: module.apply({'params': p}, b, method='forward')[0])(params, rows)
    with torch.no_grad():
        want = model(
            input_ids=torch.tensor(rows['inputs']),
            attention_mask=torch.tensor(rows['segment_ids']),
            token_type_ids=torch.tensor(rows['types']) if 'types' in rows else None,
        ).last_hidden_state.numpy()
    real = rows['segment_ids'] > 0
    np.testing.assert_allclose(np.asarray(got)[real], want[real], atol=1e-5)


@pytest.mark.parametrize('name', MODELS)
def test_an_attention_layer_is_that_of_transformers(name):
    torch = pytest.importorskip('torch')
    model, module = theirs(name), ours(name)
    with torch.no_grad():
        encoder = model.encoder
        x, mask = torch.tensor(X), torch.tensor(PADDED)
        want, _ = encoder.layer[0].attention.self(
            x,
            encoder.get_attention_mask(mask),
            relative_pos=encoder.get_rel_pos(x),
            rel_embeddings=encoder.get_rel_embedding(),
        )
        want = encoder.layer[0].attention.output.dense(want).numpy()
    params = params_of(model)
    table = registry.build(module.config.stack.relative)
    bias = table.apply({'params': params['stack']['relative']})
    layer = registry.build(module.config.stack.pattern[0].mixer, width=D)
    first = jax.tree.map(lambda p: p[0], params['stack']['repeat']['block_0']['mixer'])
    got, _ = layer.apply({'params': first}, X, context(PADDED, bias))
    real = PADDED > 0
    np.testing.assert_allclose(np.asarray(got)[real], want[real], atol=1e-5)


@pytest.mark.parametrize('count, limit', [(256, 512), (32, 128), (6, 10), (5, 9), (-1, 100)])
def test_rows_are_those_of_transformers(count, limit):
    torch = pytest.importorskip('torch')
    pytest.importorskip('transformers')
    from transformers.models.deberta_v2.modeling_deberta_v2 import build_relative_position

    length, span = 2 * limit + 3, count if count > 0 else limit
    x = torch.zeros(1, length, 1)
    want = build_relative_position(x, x, count, limit)[0]
    want = torch.clamp(want + span, 0, 2 * span - 1).numpy()
    np.testing.assert_array_equal(rows(2 * span, limit, count < 0, length, length), want)


@pytest.mark.parametrize('name', MODELS)
def test_every_parameter_learns_and_has_a_place_on_the_mesh(name):
    module, rows = ours(name), batch(15)
    shapes = jax.eval_shape(
        lambda: module.init(jax.random.key(0), module.example(), method='forward')['params']
    )
    params = filled(shapes)

    @jax.jit
    def gradient(params):
        def loss(params):
            scores, _ = module.apply({'params': params}, rows, method='forward')
            return jnp.sin(3 * scores).sum()

        return jax.grad(loss)(params)

    for path, g in jax.tree_util.tree_leaves_with_path(gradient(params)):
        assert np.isfinite(g).all() and np.any(g), jax.tree_util.keystr(path)
    mesh = sharding.make_mesh(MeshConfig(data=4, fsdp=2, tensor=1))
    sharding.param_specs(shapes, mesh)  # raises where there is no rule, or one of another rank
    decayed = paths.match(optim.DECAY, shapes, all_used=False)
    path_of = dict(zip(paths.names(shapes), jax.tree.leaves(decayed)))
    assert path_of['stack/relative/table'] and not path_of['stack/repeat/block_0/mixer/key/bias']
