"""The config in a work directory, and what of it a run that goes on may change."""

import json

import pytest

from transformer import cli, workdir
from transformer.errors import UserError

CONFIG = 'configs/text_to_text.py'


@pytest.fixture
def older(tmp_path):
    """A run with a checkpoint, made when some fields were not there yet."""
    workdir.save_config(tmp_path, cli.load_config(CONFIG))
    (tmp_path / 'checkpoints' / '3').mkdir(parents=True)
    kept = json.loads((tmp_path / workdir.CONFIG).read_text())
    del kept['model']['init_residual'], kept['accumulation']
    del kept['data']['mixture']['spans']['epochs']
    (tmp_path / workdir.CONFIG).write_text(json.dumps(kept))
    return tmp_path


def test_a_run_of_an_older_version_goes_on(older):
    assert workdir.save_config(older, cli.load_config(CONFIG)) == []
    kept = workdir.read_config(older)
    assert (kept.model.init_residual, kept.data.mixture.spans.epochs) == (0.0, 0.0)


@pytest.mark.parametrize('field', ['model.init_residual', 'data.mixture.spans.epochs'])
def test_but_not_with_another_value_than_the_default(older, field):
    config = cli.load_config(CONFIG)
    cli.override(config, {field: '1.0'})
    with pytest.raises(UserError, match=rf'config.{field}=1.0, but .* was made with 0.0'):
        workdir.save_config(older, config)


def test_an_imported_model_has_no_defaults(tmp_path):
    config = cli.load_config('configs/finetune_lm.py')
    config.model = {'family': 'imported', 'hf': {'model_type': 'gpt2'}, 'attention': 'auto'}
    workdir.save_config(tmp_path, config)
    (tmp_path / 'checkpoints' / '3').mkdir(parents=True)
    assert workdir.save_config(tmp_path, config) == []
    config.model.hf = {'model_type': 'llama'}
    with pytest.raises(UserError, match="config.model.hf.model_type='llama'"):
        workdir.save_config(tmp_path, config)


def test_what_makes_a_run_what_it_is_stays(tmp_path):
    config = cli.load_config(CONFIG)
    assert workdir.save_config(tmp_path, config) == []
    config.model.width = 64  # nothing is trained yet
    assert workdir.save_config(tmp_path, config) == []
    (tmp_path / 'checkpoints' / '3').mkdir(parents=True)
    config.steps, config.data.workers = 7, 2
    changes = workdir.save_config(tmp_path, config)
    assert changes == ['config.data.workers: 0 -> 2', 'config.steps: 1800 -> 7']
    config.model.width = 128
    with pytest.raises(UserError, match='config.model.width=128, but .* accepted: 64, or a new'):
        workdir.save_config(tmp_path, config)
    assert workdir.read_config(tmp_path).model.width == 64
