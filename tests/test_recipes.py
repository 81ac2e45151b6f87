"""The recipes of docs/extend.md, carried out in a copy of the repository.

Files are written, lines are changed and commands are run as the page has them; only the sizes of
the trainings are smaller.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / 'docs/extend.md'
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
COPIED = ('transformer', 'data', 'configs', 'tests', 'train.py', 'pyproject.toml')
SMALL = {
    'steps': 2,
    'batch_size': 2,
    'context': 32,
    'log_every': 1,
    'model.width': 16,
    'model.depth': 2,
    'model.heads': 2,
    'data.prepared': 'memory',
    'data.tokenizer': 'bytes',
    'data.vocab': 0,
    'sample.prompts': (),
    'log.tensorboard': False,
}
# Runs commands one after the other in one process, each as it would be by itself.
IN_TURN = """
import json, runpy, sys
for words in json.loads(sys.argv[1]):
    print('$', *words, flush=True)
    if words[0] == 'pytest':
        import pytest
        if code := pytest.main(['-n', '0', '-p', 'no:cacheprovider', *words[1:]]):
            sys.exit(int(code))
        continue
    sys.argv = words[2:] if words[1] == '-m' else words[1:]
    run = runpy.run_module if words[1] == '-m' else runpy.run_path
    try:
        run(sys.argv[0], run_name='__main__')
    except SystemExit as end:
        if end.code:
            raise
"""


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """(language, title, text) of every fenced block."""
    return BLOCK.findall(page.read_text(encoding='utf-8'))


def changed(text: str, diff: str) -> str:
    """The text after a diff of which each hunk fits exactly one place."""
    for hunk in diff.split('@@\n'):
        lines = hunk.splitlines()
        old = ''.join(f'{line[1:]}\n' for line in lines if line[0] in ' -')
        new = ''.join(f'{line[1:]}\n' for line in lines if line[0] in ' +')
        assert text.count(old) == 1, f'{text.count(old)} places have\n{old}'
        text = text.replace(old, new)
    return text


def copy_of_the_tree(to: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            leave = shutil.ignore_patterns('__pycache__', 'hf' if name == 'tests' else '')
            shutil.copytree(ROOT / name, to / name, ignore=leave)
        else:
            shutil.copyfile(ROOT / name, to / name)


def smaller(command: str) -> list[str]:
    """The command as words; a training with small sizes, unless it says its own."""
    words = shlex.split(command)
    at = next((i + 1 for i, word in enumerate(words) if word.startswith('--config=')), None)
    if at is None:
        return words
    own = [] if '--config.data.dataset' in command else ['--config.data.path=text.txt']
    small = [f'--config.{name}={value}' for name, value in SMALL.items()]
    return words[:at] + small + own + words[at:]


def start(commands: list[list[str]], where: Path, **environment: str) -> subprocess.Popen:
    own = {'GLIBC_TUNABLES': '', 'JAX_PLATFORMS': 'cpu', 'TFDS_DATA_DIR': str(where / 'tfds')}
    return subprocess.Popen(
        [sys.executable, '-c', IN_TURN, json.dumps(commands)],
        cwd=where, env=os.environ | own | environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


@pytest.mark.long
def test_recipes_do_what_the_page_says(tmp_path):
    copy_of_the_tree(tmp_path)
    (tmp_path / 'text.txt').write_text('All work and no play makes Jack a dull boy.\n' * 99)
    commands = []
    for kind, title, text in blocks(PAGE):
        path = tmp_path / title
        if kind == 'python':
            assert not path.exists(), title
            path.write_text(text)
        elif kind == 'diff':
            path.write_text(changed(path.read_text(), text))
        else:
            commands += map(smaller, text.replace('\\\n', ' ').splitlines())
    tests = [words for words in commands if words[0] == 'pytest']
    others = [words for words in commands if words[0] != 'pytest']
    assert len(tests) == len(others) == 5
    running = [start(tests, tmp_path), start(others, tmp_path)]
    for process in running:
        said, _ = process.communicate()
        assert process.returncode == 0, said
    for name, field, value in (
        ('average', 'mixers', ['average', 'attention']),
        ('kerple', 'positions', 'kerple'),
        ('word_dropout', 'kind', 'word_dropout'),
        ('sums', 'dataset', 'sums'),
    ):
        run = tmp_path / 'runs' / name
        config = json.loads((run / 'config.json').read_text())
        groups = (config['model'], config['objective'], config['data'])
        assert next(group[field] for group in groups if field in group) == value
        last = json.loads((run / 'metrics.jsonl').read_text().splitlines()[-1])
        assert (last['split'], last['step']) == ('validation', 2)


def test_a_change_that_does_not_fit_is_no_recipe():
    text = 'a = 1\nb = 2\n'
    assert changed(text, ' a = 1\n+c = 3\n@@\n-b = 2\n+b = 4\n') == 'a = 1\nc = 3\nb = 4\n'
    for diff in (' c = 1\n+d = 2\n', '-a = 2\n+a = 3\n'):
        with pytest.raises(AssertionError, match='0 places'):
            changed(text, diff)


def test_the_readme_shows_recipes_as_they_are():
    known = blocks(PAGE)
    shown = [block for block in blocks(ROOT / 'README.md') if block[1]]
    assert shown
    assert [block for block in shown if block not in known] == []
