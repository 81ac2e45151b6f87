"""The published models: their sizes, to the parameter."""

import collections
import json
import subprocess
import sys
from pathlib import Path

import pytest

from transformer.models import __main__ as command
from transformer.models import table

MODELS = {(m.name, m.size): m for m in table.all_models()}
EXACT = {
    'bert': {
        'base': 109_482_240,
        'large': 335_141_888,
        'tiny': 4_385_920,
        'mini': 11_170_560,
        'small': 28_763_648,
        'medium': 41_373_184,
    },
    'roberta': {'base': 124_697_433, 'large': 355_412_057},
    'albert': {
        'base': 11_683_584,
        'large': 17_683_968,
        'xlarge': 58_724_864,
        'xxlarge': 222_595_584,
    },
    'distilbert': {'base': 66_362_880},
    'gpt1': {'base': 116_534_784},
    'gpt2': {
        'small': 124_439_808,
        'medium': 354_823_168,
        'large': 774_030_080,
        'xl': 1_557_611_200,
    },
    't5': {
        'small': 60_506_624,
        'base': 222_903_552,
        'large': 737_668_096,
        '3b': 2_851_598_336,
        '11b': 11_307_321_344,
    },
    't5-1.1': {'small': 76_961_152, 'base': 247_577_856},
    'mt5': {'small': 300_176_768},
    'switch': {'base-8': 619_339_008},
    'bart': {'base': 139_420_416, 'large': 406_291_456},
    'llama': {
        '7b': 6_738_415_616,
        '13b': 13_015_864_320,
        '33b': 32_528_943_616,
        '65b': 65_285_660_672,
    },
    'llama3': {'8b': 8_030_261_248, '3.2-1b': 1_235_814_400},
    'mistral': {'7b': 7_241_732_096},
    'mixtral': {'8x7b': 46_702_792_704},
    'vit': {'b16': 86_567_656, 'b32': 88_224_232, 'l16': 304_326_632, 'h14': 632_045_800},
    'deit': {'ti16': 5_717_416, 's16': 22_050_664, 'b16': 86_567_656},
    'mamba': {'130m': 129_135_360, '370m': 371_516_416},
}
# (parameters, how far off is right): the paper rounds, and its vocabulary is 'about 37,000'.
ROUNDED = {'base': (63.1e6, 0.1e6), 'big': (214e6, 1e6)}


@pytest.mark.parametrize(
    ('name', 'size', 'parameters'),
    [(name, size, count) for name, sizes in EXACT.items() for size, count in sizes.items()],
)
def test_parameters(name, size, parameters):
    assert MODELS[name, size].parameters() == parameters


@pytest.mark.parametrize('size', ROUNDED)
def test_the_original_transformer(size):
    parameters, off = ROUNDED[size]
    assert abs(MODELS['transformer', size].parameters() - parameters) < off


def test_names_with_sizes_are_unique_and_every_row_has_its_paper():
    names = collections.Counter((m.name, m.size) for m in table.all_models())
    assert max(names.values()) == 1
    assert {name for name, _ in names} >= {*EXACT, 'transformer', 'gpt3', 'llama2'}
    assert all(m.paper.startswith('https://') for m in MODELS.values())


def test_the_list_as_json(monkeypatch, capsys):
    chosen = [MODELS['bert', 'tiny'], MODELS['deit', 'ti16']]
    monkeypatch.setattr(table, 'all_models', lambda: chosen)
    monkeypatch.setattr(sys, 'argv', ['models', '--json'])
    assert command.main() == 0
    assert json.loads(capsys.readouterr().out) == [
        {'name': 'bert', 'size': 'tiny', 'parameters': 4_385_920},
        {'name': 'deit', 'size': 'ti16', 'parameters': 5_717_416},
    ]


@pytest.mark.long
@pytest.mark.slow
def test_the_whole_list():
    root = Path(__file__).parents[1]
    told = subprocess.run(
        [sys.executable, '-m', 'transformer.models', '--json'],
        cwd=root,
        capture_output=True,
        check=True,
    )
    records = json.loads(told.stdout)
    assert [(r['name'], r['size']) for r in records] == list(MODELS)
    counts = {(r['name'], r['size']): r['parameters'] for r in records}
    assert all(counts[name, size] == n for name in EXACT for size, n in EXACT[name].items())
