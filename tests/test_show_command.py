"""`python -m data.show`, and what it refuses."""

import json
import subprocess
import sys
import types

import pytest

from data.show import __main__ as script
from tests.shown import hostile
from transformer.errors import UserError


@pytest.fixture
def words(tmp_path):
    text = tmp_path / 'text.txt'
    text.write_text('To be, or not to be: that is the question.\n' * 40)
    config = [
        f'--config.data.path={text}',
        '--config.data.tokenizer=bytes',
        '--config.data.vocab=0',
    ]
    return ['--config=configs/quickstart.py', '--config.context=32', *config]


def run(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, 'argv', ['show', *words])
    assert script.main() == 0
    return capsys.readouterr().out


def test_the_command(monkeypatch, capsys, words, tmp_path):
    out = run(monkeypatch, capsys, *words, '--n=2')
    assert out.count('── example') == 2 and '⟦' in out
    made = json.loads(run(monkeypatch, capsys, *words, '--json', '--n=3', '--step=4'))
    assert [example['index'] for example in made['examples']] == [48, 49, 50]
    assert (made['split'], made['step'], len(made['examples'])) == ('train', 4, 3)
    other = json.loads(run(monkeypatch, capsys, *words, '--json', '--n=3', '--step=4', '--seed=5'))
    assert other['examples'] != made['examples']
    file = tmp_path / 'look.html'
    assert str(file) in run(monkeypatch, capsys, *words, '--split=validation', f'--html={file}')
    assert file.read_text().startswith('<!doctype html>')
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith('.')] == []


def test_the_command_by_its_name(words):
    done = subprocess.run(
        [sys.executable, '-m', 'data.show', *words, '--n=1'],
        capture_output=True, timeout=300, env=None,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '── example 0' in done.stdout.decode()
    assert b'\x1b' not in done.stdout


@pytest.mark.parametrize(
    ('bad', 'message'),
    [
        (['--n=0'], '--n=0: accepted: a whole number above 0'),
        (['--n=-3'], '--n=-3: accepted'),
        (['--n=many'], 'invalid int value'),
        (['--split=dev'], '--split=dev: accepted: train, validation, test'),
        (['--split=test'], 'no such split; accepted: train, validation; config.data.test_split'),
        (['--step=0'], '--step=0: accepted: a whole number above 0'),
        (['--split=validation', '--step=2'], '--split=validation is not trained on'),
        (['--json', '--html=x.html'], 'one of them'),
        (['--html=/nowhere/x.html'], '--html=/nowhere/x.html cannot be written'),
        (['--html=tests'], '--html=tests cannot be written'),
        (['--seed=-1'], 'config.seed=-1'),
        (['--config.contxt=3'], 'did you mean config.context'),
    ],
)
def test_what_is_refused(monkeypatch, words, bad, message):
    monkeypatch.setattr(sys, 'argv', ['show', *words, *bad])
    with pytest.raises(UserError) as raised:
        script.main()
    assert message in str(raised.value)


def test_a_config_is_needed(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['show'])
    with pytest.raises(UserError, match='--config is required'):
        script.main()


def test_a_page_that_cannot_be_written_after_all(monkeypatch, tmp_path):
    seen = hostile()

    def full(path, text):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('transformer.workdir.write_atomically', full)
    flags = types.SimpleNamespace(json=False, html=tmp_path / 'a.html')
    with pytest.raises(UserError, match='a.html cannot be written: No space left'):
        script.show(seen, flags)
