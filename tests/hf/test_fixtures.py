"""The same comparison from kept results: neither torch nor transformers is needed."""

from pathlib import Path

import pytest
import safetensors.numpy

from tests.hf import ours
from tests.hf.cases import all_cases

FIXTURES = Path(__file__).with_name('fixtures')
CASES = {name: case for name, case in all_cases().items() if case.fixture}


@pytest.mark.parametrize('name', CASES)
def test_equals_the_kept_outputs(name, tmp_path):
    directory = FIXTURES / name
    kept = safetensors.numpy.load_file(directory / 'kept' / 'outputs.safetensors')
    given = {k.removeprefix('in.'): x for k, x in kept.items() if k.startswith('in.')}
    expected = {k.removeprefix('out.'): x for k, x in kept.items() if k.startswith('out.')}
    ours.check(CASES[name], directory, given, expected, tmp_path / 'again')


def test_fixtures_are_small_and_all_there():
    folders = {f'{p.parent.parent.name}/{p.parent.name}' for p in FIXTURES.glob('*/*/kept')}
    assert folders == set(CASES)
    for name in CASES:
        size = sum(p.stat().st_size for p in (FIXTURES / name).rglob('*') if p.is_file())
        assert size < 100_000, f'{name} has {size} bytes'
