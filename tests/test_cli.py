"""The command line: types, nearest names, and what is refused."""

import subprocess
import sys
import time

import ml_collections
import pytest

from transformer import cli
from transformer.errors import ConfigError, UserError
from transformer.experiment import Experiment, default_config
from transformer.models import FAMILIES
from transformer.models.assemble import Sizes
from transformer.objectives import OBJECTIVES


def overridden(**fields):
    config = default_config()
    cli.override(config, fields)
    return config


def test_values_take_the_type_of_the_field():
    words = ['--config.steps=1_000', '--config.learning_rate', '1e-4', '--config.data.path=a=b']
    words += ['--config.skip_nonfinite=true', '--config.sample.prompts=("a", "b")']
    _, overrides = cli.parse(cli.parser(''), words)
    config = default_config()
    cli.override(config, overrides)
    assert (config.steps, config.learning_rate, config.data.path) == (1000, 1e-4, 'a=b')
    assert config.skip_nonfinite is True
    assert config.sample.prompts == ('a', 'b')


@pytest.mark.parametrize(
    ('field', 'value', 'message'),
    [
        ('learning_rat', '1', 'did you mean config.learning_rate'),
        ('model.widht', '1', 'did you mean config.model.width'),
        ('width', '1', 'did you mean config.model.width'),
        ('qqqqqqqq', '1', 'known: .*batch_size'),
        ('model.width.x', '1', 'no such field'),
        ('model', '1', r'group of fields: .*config.model.width'),
        ('steps', 'many', "'many': wrong type; accepted: a whole number"),
        ('steps', '1.5', 'whole number'),
        ('learning_rate', 'fast', 'accepted: a number'),
        ('skip_nonfinite', 'maybe', 'true or false'),
        ('sample.prompts', 'x', 'tuple'),
    ],
)
def test_bad_overrides_name_field_value_and_accepted(field, value, message):
    with pytest.raises(UserError, match=message) as raised:
        overridden(**{field: value})
    assert f'config.{field}' in str(raised.value)
    assert value in str(raised.value)


@pytest.mark.parametrize(
    ('field', 'value', 'accepted'),
    [
        ('steps', 0, 'above 0'),
        ('seed', -1, 'from 0'),
        ('accumulation', 3, 'divisor of config.batch_size=16'),
        ('learning_rate', float('nan'), 'at least 0'),
        ('dtype', 'float8', 'bfloat16'),
        ('remat', 'most', 'dots'),
        ('optimizer.b1', 1.5, '0 to 1'),
        ('checkpoint.keep_latest', 0, 'at least 1'),
        ('data.tokenizer', 'words', 'bpe'),
        ('data.validation_fraction', 1.0, 'between 0 and 1'),
        ('model.family', 'rnn', 'decoder, encoder, encoder_decoder, vision'),
        ('objective.kind', 'poetry', 'next_token, prefix, fill_in_middle, masked'),
        ('objective.kind', 'seq2seq', "config.model.family='decoder' one of next_token, prefix"),
        ('objective.smoothing', 1.0, 'below 1'),
        ('target_context', -1, 'from 0'),
    ],
)
def test_values_that_cannot_be_used(field, value, accepted):
    config = default_config()
    with config.unlocked():
        *groups, last = field.split('.')
        node = config
        for group in groups:
            node = node[group]
        node[last] = value
    with pytest.raises(ConfigError, match=accepted) as raised:
        experiment = Experiment.from_config(config)
        experiment.model.build(Sizes(9, 8, remat=experiment.remat))
    assert raised.value.field == field


@pytest.mark.parametrize('kind', OBJECTIVES)
def test_every_field_reaches_the_frozen_form(kind):
    family = OBJECTIVES[kind].SHAPE
    config = default_config(family, kind)
    experiment = Experiment.from_config(config)
    assert type(experiment.model) is FAMILIES[family]
    assert type(experiment.objective) is OBJECTIVES[kind]
    for name, value in config.items():
        inside = getattr(experiment, name)
        if isinstance(value, ml_collections.ConfigDict):
            assert all(getattr(inside, k) == v for k, v in value.to_dict().items())
        else:
            assert inside == value


def test_config_files(tmp_path):
    assert cli.load_config('configs/shakespeare_char.py:cpu').model.width == 128
    with pytest.raises(UserError, match=r"unknown size 'gpu'; known: cpu"):
        cli.load_config('configs/shakespeare_char.py:gpu')
    with pytest.raises(UserError, match='takes no argument'):
        cli.load_config('configs/quickstart.py:cpu')
    with pytest.raises(UserError, match='there are .*quickstart'):
        cli.load_config('configs/quickstrat.py')
    (tmp_path / 'empty.py').write_text('')
    with pytest.raises(UserError, match=r'no get_config'):
        cli.load_config(str(tmp_path / 'empty.py'))


def test_flags_are_not_guessed():
    parser = cli.parser('')
    parser.add_argument('--workdir')
    with pytest.raises(UserError, match='--work'):
        cli.parse(parser, ['--work=x'])
    with pytest.raises(UserError, match='lacks its value'):
        cli.parse(parser, ['--config.steps'])


def ends(script):
    """The exit code and the error stream of a script whose output is read for one line."""
    with subprocess.Popen(
        [sys.executable, '-c', f'from transformer import cli\n{script}'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        return process.wait(60), process.stderr.read()


def test_output_that_nobody_reads_any_more():
    assert ends('cli.run(lambda: [print(n) for n in range(100_000)])') == (141, '')
    # Of another pipe it is an error like all others.
    code, said = ends(
        'def main(): print(1, flush=True); raise BrokenPipeError("of a worker")\n'
        'import sys; o = sys.stdout; sys.stdout = sys.stderr\ncli.run(main)'
    )
    assert code == 1 and 'of a worker' in said


@pytest.mark.parametrize('script', ['train.py', 'eval.py', 'generate.py'])
def test_help_does_not_wait_for_heavy_imports(script):
    code = f'import sys, runpy; sys.argv = ["{script}", "--help"]\n'
    code += f'try: runpy.run_path("{script}", run_name="__main__")\n'
    code += 'except SystemExit as e: assert e.code in (0, None)\n'
    code += 'assert not {"flax", "optax", "grain", "tensorflow_datasets"} & set(sys.modules)\n'
    environment = {'GLIBC_TUNABLES': '', 'PATH': '/usr/bin:/bin'}
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '--workdir' in done.stdout
    assert time.monotonic() - begin < 30  # only against a hang: speed is not tested
