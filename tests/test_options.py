"""Every choice changes the model, and every choice that cannot be is refused by name."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.layouts import Concatenated
from data.objectives.next_token import NextTokenRows
from data.streams import TokenStream
from data.tokenizers import Bytes
from tests import tiny
from transformer import registry
from transformer.context import Context
from transformer.errors import ConfigError
from transformer.experiment import Experiment, default_config
from transformer.mixers.attention import AttentionConfig
from transformer.mixers.cross import CrossAttentionConfig
from transformer.models import FAMILIES
from transformer.models.assemble import Sizes
from transformer.objectives import OBJECTIVES
from transformer.ops.attention import LACKS
from transformer.positions import LearnedConfig, RotaryConfig

NATIVE = [family for family in FAMILIES if family != 'imported']  # that one: tests/hf
BASES = {
    family: {'width': 16, 'depth': 2, 'heads': 4, 'hidden': 24}
    | ({'image': 8, 'patch': 4} if family == 'vision' else {})
    for family in NATIVE
}
HEADS = {'decoder': 'tokens', 'encoder': 'class', 'encoder_decoder': 'tokens', 'vision': 'class'}


def options(family='decoder', **changes):
    return FAMILIES[family](**BASES[family] | changes)


def build(made, **sizes):
    fields = {'vocab': 40, 'context': 16, 'head': HEADS[made.family], 'classes': 3}
    return made.build(Sizes(**fields | sizes))


# field: (what must be set for it to matter, another value)
ROPE = {'positions': 'rope'}
EXPERTS = {'experts': 4}
CHANGES = {
    'width': ({}, 32),
    'depth': ({}, 4),
    'heads': ({}, 2),
    'kv_heads': ({}, 2),
    'head_width': ({}, 8),
    'hidden': ({}, 20),
    'mixers': ({}, ('global',)),
    'mlp': ({}, 'swiglu'),
    'norm': ({}, 'layernorm_no_bias'),
    'norm_eps': ({}, 0.1),
    'residual': ({}, 'post'),
    'positions': ({}, 'none'),
    'rope_theta': (ROPE, 1e6),
    'rope_scaling': (ROPE, 'ntk'),
    'rope_factor': (ROPE | {'rope_scaling': 'linear'}, 2.0),
    'rope_context': (ROPE | {'rope_scaling': 'yarn'}, 64),
    'window': ({}, 3),
    'attention_scale': ({}, 1.0),
    'attention_softcap': ({}, 5.0),
    'qk_norm': ({}, True),
    'shared': ({}, True),
    'dropout': ({}, 0.1),
    'drop_path': ({}, 0.1),
    'init_std': ({}, 0.1),
    'init_residual': ({}, 1.0),
    'attention': ({}, 'xla'),
    'experts': ({}, 4),
    'top_k': (EXPERTS, 2),
    'expert_capacity': (EXPERTS, 1.5),
    'expert_groups': (EXPERTS | {'expert_capacity': 1.0}, 2),
    'expert_every': (EXPERTS, 2),
    'expert_normalize': (EXPERTS, True),
    'expert_balance': (EXPERTS, 0.5),
    'expert_z': (EXPERTS, 0.5),
    'expert_jitter': (EXPERTS, 0.5),
    'mamba_state': ({'mixers': ('mamba', 'attention')}, 8),
    'mamba_conv': ({'mixers': ('mamba', 'attention')}, 3),
    'mamba_expand': ({'mixers': ('mamba', 'attention')}, 3),
    'softcap': ({}, 5.0),
    'types': ({}, 2),
    'token_width': ({}, 8),
    'position_offset': ({'positions': 'learned'}, 2),
    'pool': ({}, 'mean'),
    'pooler': ({}, 'relu'),
    'decoder_depth': ({}, 4),
    'stack_dropout': ({'dropout': 0.1}, True),
    'image': ({}, 16),
    'patch': ({}, 2),
    'channels': ({}, 1),
    'extra': ({}, 2),
}
ROTARY = {'rope_theta', 'rope_scaling', 'rope_factor', 'rope_context'}
MAMBA = {'mamba_state', 'mamba_conv', 'mamba_expand'}
# Shared fields of what a family can never have: images have no rotary positions, and a state that
# runs over a text in one direction is no encoder.
ELSEWHERE = {
    'decoder': set(),
    'encoder': MAMBA,
    'encoder_decoder': MAMBA,
    'vision': MAMBA | ROTARY,
}


@pytest.mark.parametrize('family', NATIVE)
def test_no_option_is_ignored(family):
    for field in dataclasses.fields(FAMILIES[family]):
        if field.name == 'family' or field.name in ELSEWHERE[family]:
            continue
        # What is not in the table is a switch.
        base, value = CHANGES.get(field.name, ({}, not getattr(options(family), field.name)))
        before = options(family, **base)
        after = dataclasses.replace(before, **{field.name: value})
        assert getattr(before, field.name) != value, field.name
        sizes = {'head': 'class'} if field.name == 'pool' else {}  # what classes are read from
        assert build(before, **sizes) != build(after, **sizes), field.name


@pytest.mark.parametrize('family', NATIVE)
def test_an_option_that_needs_another_is_refused_without_it(family):
    for name in (*ROTARY, *MAMBA, *(n for n, (base, _) in CHANGES.items() if base == EXPERTS)):
        base = {} if family == 'vision' else {'positions': 'none'}
        with pytest.raises(ConfigError, match='unless config.model has') as raised:
            options(family, **base | {name: CHANGES[name][1]})
        assert raised.value.field == f'model.{name}'


@pytest.mark.parametrize('family', NATIVE)
def test_no_size_is_ignored(family):
    made, changes = options(family, dropout=0.0), {'dtype': 'bfloat16', 'remat': 'full'}
    changes |= {'unroll': 2, 'platform': 'tpu'}
    if family in ('encoder', 'vision'):
        changes |= {'classes': 7, 'head': 'pooled'}
    if family != 'vision':
        changes |= {'vocab': 50, 'context': 32}
    if family == 'encoder_decoder':
        changes |= {'target_context': 8}
    made = dataclasses.replace(made, positions='learned')
    for name, value in changes.items():
        assert build(made) != build(made, **{name: value}), name
    if family == 'decoder':
        for name in ('prefix', 'decode'):
            assert build(made, platform='tpu') != build(made, platform='tpu', **{name: True}), name


@pytest.mark.parametrize(
    ('family', 'changes', 'field', 'accepted'),
    [
        ('decoder', {'experts': 2, 'top_k': 3}, 'top_k', 'at most experts=2'),
        ('decoder', {'experts': 2, 'mlp': 'none'}, 'mlp', 'experts need one'),
        ('vision', {'image': 10}, 'image', r'multiple of config.model.patch=4: (8|12)'),
        ('vision', {'extra': 0}, 'extra', "pool='mean'"),
        ('vision', {'positions': 'rope'}, 'positions', 'one of learned, grid, none'),
        ('vision', {'pool': 'max'}, 'pool', 'one of first, mean'),
        ('encoder', {'pooler': 'sine'}, 'pooler', "'tanh'"),
        ('encoder_decoder', {'positions': 'alibi'}, 'positions', 'one of rope, learned'),
        (
            'encoder_decoder',
            {'decoder_depth': 3, **EXPERTS, 'expert_every': 2},
            'decoder_depth',
            '2',
        ),
        ('encoder', {'mixers': ('mamba',)}, 'mixers', 'attention, global in an encoder'),
        ('vision', {'mixers': ('retnet',)}, 'mixers', 'attention, global in an encoder'),
        ('encoder_decoder', {'mixers': ('linear',)}, 'mixers', 'attention, global'),
        ('decoder', {'mixers': ('global',), 'window': 3}, 'window', "has 'attention' among"),
        ('decoder', {'mixers': ('mamba',)}, 'positions', "'none'.*have no attention"),
        (
            'decoder',
            {'mixers': ('mamba',), 'positions': 'none', 'qk_norm': True},
            'qk_norm',
            'has attention among its mixers',
        ),
        ('decoder', {'mixers': ('attention', 'global', 'mamba')}, 'depth', 'a multiple of 3'),
        ('decoder', {'mixers': ('hyena',)}, 'mixers', 'attention.*mamba'),
        ('decoder', {'mixers': ()}, 'mixers', 'at least one'),
        ('decoder', {'positions': 'gps'}, 'positions', 'one of rope'),
        ('decoder', {'width': 18}, 'width', 'multiple of config.model.heads=4'),
        ('decoder', {'kv_heads': 3}, 'kv_heads', r'\[1, 2, 4\]'),
        ('decoder', {'drop_path': 1.0}, 'drop_path', 'below 1'),
        ('decoder', {'softcap': -1.0}, 'softcap', 'at least 0'),
        ('decoder', {'norm_eps': float('nan')}, 'norm_eps', 'at least 0'),
    ],
)
def test_what_cannot_be_is_refused_by_name(family, changes, field, accepted):
    with pytest.raises(ConfigError, match=accepted) as raised:
        options(family, **changes)
    assert raised.value.field == f'model.{field}'
    assert str(raised.value).startswith(f'config.model.{field}=')


def test_an_unknown_remat_is_refused():
    with pytest.raises(ConfigError, match=r'config\.remat.*none, dots, minimal, full, offload'):
        Sizes(40, 16, remat='some')


@pytest.mark.parametrize('family', NATIVE)
def test_each_family_has_its_own_objectives(family):
    model = options(family)
    for kind, objective in OBJECTIVES.items():
        classes = ('classification', 'token_classification')  # a decoder can tell them too
        if family == objective.SHAPE or (family == 'decoder' and kind in classes):
            assert Experiment(model=model, objective=objective()).objective.kind == kind
            continue
        with pytest.raises(ConfigError, match=f"config.model.family='{family}'") as raised:
            Experiment(model=model, objective=objective())
        assert raised.value.field == 'objective.kind'


@pytest.mark.parametrize(
    ('group', 'name'), [('model', 'family'), ('objective', 'kind'), ('model', 'shape')]
)
def test_unknown_families_objectives_and_fields_are_refused(group, name):
    config = default_config()
    with config.unlocked():
        config[group][name] = 'other'
    with pytest.raises(ConfigError, match='accepted: (one of|no such field)') as raised:
        Experiment.from_config(config)
    assert raised.value.field == f'{group}.{name}'


ASKED = {
    'dropout': ({'dropout': 0.1}, {}),
    'bias': ({'positions': 'alibi'}, {}),
    'softcap': ({'attention_softcap': 5.0}, {}),
    'prefix': ({}, {'prefix': True}),
}


@pytest.mark.parametrize('backend', LACKS)
@pytest.mark.parametrize('asked', ASKED)
def test_a_named_backend_has_what_is_asked_or_is_refused(backend, asked):
    changes, sizes = ASKED[asked]
    made = options(attention=backend, **changes)
    if asked not in LACKS[backend]:
        assert build(made, **sizes).stack.pattern[0].mixer.backend == backend
        return
    with pytest.raises(ConfigError, match="accepted: 'auto', 'reference'") as raised:
        build(made, **sizes)
    assert raised.value.field == 'model.attention'
    assert repr(backend) not in raised.value.accepted
    auto = build(dataclasses.replace(made, attention='auto'), platform='tpu', **sizes)
    assert asked not in LACKS[auto.stack.pattern[0].mixer.backend]


def test_backends_of_encoders_and_of_t5():
    with pytest.raises(ConfigError, match="accepted: 'auto', 'reference', 'blocked', 'xla'"):
        build(options('encoder_decoder', attention='splash', positions='t5'))
    made = options('encoder', attention='splash', positions='rope')  # it knows no prefixes
    assert build(made, prefix=True).stack.pattern[0].mixer.backend == 'splash'


@pytest.mark.parametrize('backend', LACKS)
def test_what_trained_with_any_backend_can_write(backend):
    """One that is for training only is replaced where caches are needed."""
    made = options(attention=backend)
    assert build(made).stack.pattern[0].mixer.backend == backend
    writes = build(made, decode=True).stack.pattern[0].mixer.backend
    assert 'decode' not in LACKS[writes]
    assert (writes == backend) == ('decode' not in LACKS[backend])


def test_attention_in_both_directions_has_no_cache():
    mixer = registry.build(AttentionConfig(2, 2, 4, window=3), width=8)
    x_BTD = jnp.zeros((1, 2, 8))
    ctx = Context.of(x_BTD, causal=False)
    with pytest.raises(ValueError, match=r'window 3.*accepted: causal=True'):
        jax.eval_shape(
            lambda: mixer.init_with_output(jax.random.key(0), x_BTD, ctx, mixer.init_cache(1, 2))
        )


@pytest.mark.parametrize('field', [{'rotary': RotaryConfig()}, {'window': 4}])
def test_what_has_no_meaning_between_two_sequences(field):
    with pytest.raises(ValueError, match=f'cross attention: {next(iter(field))}=.*accepted: None'):
        CrossAttentionConfig(**field)


def test_a_learned_table_has_a_row_for_every_place_of_the_data():
    """The table is as long as the context, and so are rows: no place is beyond it."""
    made = build(options('encoder_decoder', positions='learned'), context=12, target_context=7)
    assert isinstance(made.encoder_embed.positions, LearnedConfig)
    assert (made.encoder_embed.positions.length, made.decoder_embed.positions.length) == (12, 7)
    for family in ('decoder', 'encoder'):
        places = build(options(family, positions='learned'), context=12).embed.positions
        assert places.length == 12
    texts = TokenStream.of(Bytes(), ['a text of more than twelve bytes', 'b' * 40])
    rows = NextTokenRows(texts, Concatenated(texts, 12, shifted=True), 12)
    drawn = [rows.at(i) for i in range(len(rows))] + [rows.draw(0, e, 0) for e in range(5)]
    assert max(row['positions'].max() for row in drawn) == 11
    images = build(options('vision')).patches
    assert images.positions.length == images.length


def test_a_place_beyond_a_learned_table_is_not_a_number():
    """Loud, should it ever come to that: not another place's vector."""
    model, params = tiny.made('gpt')
    row = jnp.zeros((1, tiny.CONTEXT), jnp.int32)
    at = jnp.arange(tiny.CONTEXT)[None]
    read = jax.jit(lambda at: model.apply({'params': params}, row, Context.of(row, at))[0])
    assert np.isfinite(read(at)).all()
    assert np.isnan(read(at + 1)[:, -1]).all()
