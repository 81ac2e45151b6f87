"""notebooks/colab.ipynb runs from top to bottom, and is kept without what it printed."""

import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = ROOT / 'notebooks/colab.ipynb'
COPIED = ('transformer', 'data', 'configs', 'notebooks')
STEPS = 30


def cells() -> list[dict]:
    return json.loads(NOTEBOOK.read_text(encoding='utf-8'))['cells']


def test_outputs_are_not_kept():
    code = [cell for cell in cells() if cell['cell_type'] == 'code']
    assert len(code) >= 8
    for cell in code:
        assert not cell['outputs'] and cell['execution_count'] is None, cell['source']


@pytest.mark.long
def test_it_runs_from_top_to_bottom(tmp_path, monkeypatch):
    nbclient = pytest.importorskip('nbclient', reason="pip install -e '.[test]'")
    nbformat = pytest.importorskip('nbformat', reason="pip install -e '.[test]'")
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns('__pycache__'))
    for script in ROOT.glob('*.py'):
        shutil.copyfile(script, tmp_path / script.name)
    monkeypatch.setenv('STEPS', str(STEPS))
    notebook = nbformat.read(tmp_path / 'notebooks/colab.ipynb', as_version=4)
    where = {'metadata': {'path': str(tmp_path / 'notebooks')}}
    nbclient.NotebookClient(notebook, timeout=600, resources=where).execute()

    pictures, said = 0, ''
    for cell in notebook.cells:
        for output in cell.get('outputs', ()):
            said += output.get('text', '') + output.get('data', {}).get('text/plain', '')
            pictures += 'image/png' in output.get('data', {})
    assert pictures == 3  # the last curve, attention, the lens
    lines = (tmp_path / 'runs/colab/metrics.jsonl').read_text().splitlines()
    losses = {
        split: [float(r['loss']) for r in map(json.loads, lines) if r['split'] == split]
        for split in ('train', 'validation')
    }
    assert losses['train'][-1] < losses['train'][0] - 1
    assert losses['validation'][1] < losses['validation'][0]
    config = json.loads((tmp_path / 'runs/llama_hf/config.json').read_text())
    assert config['model_type'] == 'llama'
    for words in ('bits_per_byte', 'def ', 'index.html', 'LlamaForCausalLM', 'fits'):
        assert words in said
