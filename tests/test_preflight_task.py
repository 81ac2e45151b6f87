"""What preflight knows of devices and assumes of data."""

import importlib.util

import pytest

from tests import records
from tests.compiler import needs_compiler
from tests.test_configs import FILES
from transformer import cli
from transformer.errors import UserError
from transformer.experiment import Experiment, default_config
from transformer.objectives import OBJECTIVES
from transformer.preflight import devices, kinds, program, task

pytestmark = pytest.mark.xdist_group('preflight')


# Topologies


def test_topologies_are_read():
    slices = kinds.topology('v5e:16x16*2')
    assert (slices.shape, slices.slices, slices.chips, slices.compiles) == ((16, 16), 2, 512, True)
    gpus = kinds.topology('h100x8')
    assert (gpus.chips, gpus.compiles) == (8, False)
    assert kinds.topology('tpu7x:2x2x1').kind.peak == 2307e12 / 2  # a device is half a chip


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('v9:2x2', 'v9:2x2: unknown; known kinds.*v5e.*tpu7x.*h100x8'),
        ('v5e', 'chips along 2 axes'),
        ('v5p:4x4', 'chips along 3 axes.*2x2x1'),
        ('v5e:0x2', 'at least one along'),
        ('v5e:2x2*0', 'at least one'),
        ('h100x0', 'accepted: h100x8'),
        ('h100:2x2', 'accepted: h100x8'),
        ('', 'unknown'),
    ],
)
def test_unknown_topologies_are_refused(name, said):
    with pytest.raises(UserError, match=said):
        kinds.topology(name)


def test_without_the_compiler_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=r'pip install -e "\.\[tpu\]"'):
        devices.tpus(kinds.topology('v5e:2x4'))


@needs_compiler
def test_slices_that_there_are_not_are_refused():
    with pytest.raises(UserError, match='v5e:3x3: .*no such slice.*accepted: such as 1x1'):
        devices.tpus(kinds.topology('v5e:3x3'))
    assert len(devices.tpus(kinds.topology('v5e:2x2*2'))) == 8
    assert len(devices.tpus(kinds.topology('v5e:1x1'))) == 1


# What the data would be


def experiment_of(objective, **fields):
    config = default_config(OBJECTIVES[objective].SHAPE, objective)
    config.update({'context': 64, 'data': {'tokenizer': 'bytes', 'vocab': 0}})
    if objective == 'image_classification':
        config.data.tokenizer = 'bpe'
        config.model.update({'image': 4, 'patch': 2, 'channels': 3})
    config.update(fields)
    return Experiment.from_config(config)


@pytest.mark.parametrize('objective', OBJECTIVES)
def test_a_made_up_row_is_as_a_real_one(objective):
    experiment = experiment_of(objective)
    real, _ = records.made(experiment.objective)
    found = task.task_of(experiment)
    shapes = {name: (x.shape, x.dtype) for name, x in real.train.rows.at(0).items()}
    assert {name: (x.shape, x.dtype) for name, x in found.row.items()} == shapes
    lead = {x.shape[:2] for x in found.batch(6, 2).values()}
    assert lead == {(2, 3)}


def test_a_mixture_says_its_sources():
    experiment = Experiment.from_config(cli.load_config('configs/mixture.py'))
    found = task.task_of(experiment)
    assert found.sources == ('code', 'prose') and found.row['source'].shape == ()


def test_what_is_assumed_is_said():
    said = task.task_of(experiment_of('classification'))
    assert said.classes == task.CLASSES and '--classes=' in said.assumed[0]
    unknown = task.task_of(experiment_of('next_token', data={'tokenizer': 'characters'}))
    assert unknown.vocab == task.VOCAB and '--vocab=' in unknown.assumed[0]
    told = task.task_of(experiment_of('next_token', data={'tokenizer': 'characters'}), vocab=65)
    assert told.vocab == 65 and not told.assumed


@pytest.mark.parametrize('path', [pytest.param(p, id=name) for name, p in FILES.items()])
def test_every_config_has_a_task_and_a_model(path):
    config = cli.load_config(f'configs/{path.name}')
    assumed = task.adopt(config, {})
    assert bool(assumed) == (path.stem in ('finetune_lm', 'finetune_classify'))
    config.mesh.data, config.mesh.fsdp = 1, 1
    experiment = Experiment.from_config(config)
    one = kinds.topology('h100x1')
    case = program.case(experiment, one, task.task_of(experiment), devices.stand_ins(one), False)
    assert case.model.config is not None and case.task.batch(4, 2)['weights'].shape[:2] == (2, 2)


def test_a_checkpoint_that_the_command_line_names_must_be_there():
    config = cli.load_config('configs/finetune_lm.py')
    with pytest.raises(UserError, match='no-such-place'):
        task.adopt(config, {'init': './no-such-place'})
