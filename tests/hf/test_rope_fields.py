"""How config.json says rotary positions, in its old and its new words; and what is refused."""

import pytest

from transformer.errors import UserError
from transformer.hf.settings import Settings
from transformer.models.checkpoints._rope import NEEDS, rotary
from transformer.ops.rotary import Dynamic, Linear, Llama3, LongRope, Proportional, Yarn
from transformer.positions import RotaryConfig

LLAMA3 = {'factor': 8.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0}
LONG = {'short_factor': [1.0, 2.0], 'long_factor': [3.0, 4.0]}
ORIGINAL = {'original_max_position_embeddings': 16}


def read(values, **more) -> RotaryConfig:
    return rotary(Settings({'max_position_embeddings': 64} | values), 4, **more)


@pytest.mark.parametrize(
    ('kind', 'values', 'expected'),
    [
        ('default', {}, None),
        ('linear', {'factor': 2.0}, Linear(2.0)),
        ('dynamic', {'factor': 2}, Dynamic(2, 64)),
        ('llama3', LLAMA3, Llama3(8.0, 1.0, 4.0, 64)),
        ('llama3', LLAMA3 | ORIGINAL, Llama3(8.0, 1.0, 4.0, 16)),
        ('yarn', {'factor': 4.0}, Yarn(4.0, 64)),
        ('yarn', {'factor': None} | ORIGINAL, Yarn(4.0, 16)),
        ('yarn', {'factor': 3.0, 'beta_fast': 0} | ORIGINAL, Yarn(3.0, 16)),
        (
            'yarn',
            {
                'factor': 3.0,
                'beta_slow': 2,
                'mscale': 1.5,
                'mscale_all_dim': 0.5,
                'truncate': False,
            },
            Yarn(3.0, 64, 32.0, 2, 1.5, 0.5, False),
        ),
        ('longrope', LONG, LongRope((1.0, 2.0), (3.0, 4.0), 64, 1.0)),
        ('longrope', LONG | ORIGINAL, LongRope((1.0, 2.0), (3.0, 4.0), 16, 4.0)),
        (
            'longrope',
            LONG | {'factor': 9.0, 'attention_factor': 1.2},
            LongRope((1.0, 2.0), (3.0, 4.0), 64, 9.0, 1.2),
        ),
        ('proportional', {'partial_rotary_factor': 0.5}, Proportional(0.5)),
    ],
)
def test_old_and_new_words_mean_the_same(kind, values, expected):
    new = {'rope_type': kind, 'rope_theta': 99.0} | values
    old = {'rope_theta': 99.0, 'rope_scaling': {'type': kind} | values}
    both = {'rope_theta': 99.0, 'rope_scaling': {'type': kind, 'rope_type': kind} | values}
    for found in (read({'rope_parameters': new}), read(old), read(both)):
        assert found == RotaryConfig(99.0, expected)


def test_the_length_outside_counts():
    outside = {'original_max_position_embeddings': 8}
    given = {'rope_scaling': {'type': 'su'} | LONG | ORIGINAL} | outside
    assert read(given).scaling == LongRope((1.0, 2.0), (3.0, 4.0), 8, 8.0)


def test_what_the_file_does_not_say():
    assert read({}, theta=7.0) == RotaryConfig(7.0)
    assert read({'rope_scaling': None, 'rope_parameters': None}) == RotaryConfig(1e4)
    assert read({'rope_parameters': {'factor': 3.0}}) == RotaryConfig(1e4)  # of no kind: not read
    values = {'rope_scaling': {'type': 'dynamic', 'factor': 2.0}}
    assert rotary(Settings(values), 4, length=9).scaling == Dynamic(2.0, 9)


@pytest.mark.parametrize(
    'values', [{'partial_rotary_factor': 0.5}, {'rope_parameters': {'partial_rotary_factor': 0.5}}]
)
def test_part_of_each_head(values):
    assert read(values) == RotaryConfig(1e4, width=2)
    assert read(values, share=0.25) == RotaryConfig(1e4, width=2)
    assert read({}, share=0.5) == RotaryConfig(1e4, width=2)
    with pytest.raises(UserError, match=r'partial_rotary_factor=0\.5.*accepted: 1'):
        read(values, share=None)


@pytest.mark.parametrize('kind', [kind for kind, needs in NEEDS.items() if needs])
def test_missing_fields_are_named(kind):
    with pytest.raises(UserError) as error:
        read({'rope_scaling': {'type': kind}})
    for name in NEEDS[kind]:
        assert f'rope_scaling.{name}' in str(error.value)


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'rope_type': 'mrope'}, ["rope_parameters.rope_type='mrope'", 'llama3']),
        ({'factor': 2.0, 'mrope_section': [1, 1]}, ['rope_parameters.mrope_section', 'absence']),
        ({'rope_type': 'linear', 'factor': 0}, ['rope_parameters.factor=0', 'above 0']),
        ({'rope_type': 'linear', 'factor': '2'}, ["rope_parameters.factor='2'", 'above 0']),
        ({'rope_type': 'linear', 'factor': None}, ['rope_parameters.factor=None', 'above 0']),
        ({'rope_theta': -1.0}, ['rope_parameters.rope_theta=-1.0', 'above 0']),
        (
            {'rope_type': 'longrope', 'short_factor': [1.0], 'long_factor': [1.0, 2.0]},
            ['rope_parameters.short_factor=[1.0]', '2 numbers'],
        ),
    ],
)
def test_what_cannot_be_used_is_named(values, words):
    with pytest.raises(UserError) as error:
        read({'rope_parameters': values})
    for word in words:
        assert word in str(error.value)


def test_a_field_outside_is_named_without_the_object():
    with pytest.raises(UserError, match=r'config.json: rope_theta=0 cannot'):
        read({'rope_theta': 0})
