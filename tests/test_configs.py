"""Every file of `configs/` describes an experiment that can be made."""

import importlib.util
import inspect
from pathlib import Path

import jax
import pytest

from transformer import restore, summary
from transformer.experiment import Experiment
from transformer.models.table import all_models  # noqa: F401  (all families are known)

FILES = sorted(Path(__file__).parents[1].glob('configs/*.py'))
FILES = {path.stem: path for path in FILES if path.stem != '__init__'}


def module_of(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arguments(module) -> list[str]:
    """What may follow the colon: the keys of the module's one table that has ''."""
    if not inspect.signature(module.get_config).parameters:
        return []
    tables = [x for x in vars(module).values() if isinstance(x, dict) and '' in x]
    return list(dict.fromkeys(key for table in tables for key in table))


def cases():
    for name, path in FILES.items():
        for argument in arguments(module_of(path)) or [None]:
            yield pytest.param(path, argument, id=f'{name}:{argument}' if argument else name)


def test_there_are_some():
    assert {'quickstart', 'shakespeare_char', 'multi30k', 'vit_digits'} <= set(FILES)


@pytest.mark.parametrize(('path', 'argument'), list(cases()))
def test_a_config_makes_a_model(path, argument):
    module = module_of(path)
    config = module.get_config() if argument is None else module.get_config(argument)
    experiment = Experiment.from_config(config)
    images = experiment.objective.RECORDS == 'images'
    vocab = 0 if images else experiment.data.vocab or 300
    model = restore.build_model(experiment, vocab, 3, experiment.context)
    shapes = jax.eval_shape(
        lambda key: model.init(key, model.example(), method='forward')['params'], jax.random.key(0)
    )
    assert summary.parameter_count(shapes) > 0
    assert f'--config=configs/{path.name}' in module.__doc__


@pytest.mark.parametrize('path', [pytest.param(p, id=name) for name, p in FILES.items()])
def test_an_unknown_size_is_refused(path):
    module = module_of(path)
    if not arguments(module):
        pytest.skip('it has one size')
    with pytest.raises(ValueError, match="'no such size'; known: "):
        module.get_config('no such size')
