"""docs/papers.md from the results."""

import dataclasses
import json
import sys
import types

import pytest

from results import page, papers, record, run, table
from results.paper import Number
from tests import made_results
from transformer.errors import UserError

FULL = dataclasses.replace(made_results.PAPER, sizes=dict(made_results.PAPER.sizes, full=[]))


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A folder with one result, of the one experiment that there is."""
    monkeypatch.setattr(papers, 'PAPERS', ('made',))
    module = types.SimpleNamespace(PAPER=FULL)
    monkeypatch.setitem(sys.modules, 'results.papers.made', module)
    results = tmp_path / 'results'
    results.mkdir()
    record.write(made_results.result(), results / 'made.json')
    run.measure(made_results.PAPER, '', results)
    return results, tmp_path / 'papers.md'


def test_the_page_has_every_number_and_what_is_not_run(room, capsys):
    assert table.rebuild(*room, check=False) == 0
    text = room[1].read_text()
    rows = [line for line in text.splitlines() if line.startswith(('| [', '|  |'))]
    cells = [cell.strip() for cell in rows[0].strip('|').replace('\\|', '!').split('|')]
    assert cells == [
        '[Made up](../results/papers/made.py)',
        'loss ! nats',
        '[1.0](https://arxiv.org/abs/1706.03762)',
        '1.25 (1.25 to 1.25, 2 seeds)',
        'yes',
        '`python -m results.run made`',
        '2 min',
        'a processor, 2 cores',
    ]
    assert '| steps |  | 400 |  |' in rows[1]
    assert 'Made up, full' in rows[2] and 'not run yet' in rows[2] and '--size=full' in rows[2]
    assert '![Made up](../results/made.png)' in text and '`abc123`, today; jax 1.' in text
    assert table.rebuild(*room, check=True) == 0
    assert len({line.replace('\\|', '').count('|') for line in rows}) == 1


def test_a_number_of_another_source_links_there():
    def shown(source):
        number = Number('x', [1.0], '2 (told)', source=source)
        found = dataclasses.replace(made_results.result(), numbers=[number])
        return page.render([page.Entry(made_results.PAPER, '', found)])

    assert '| [2 (told)](https://arxiv.org/abs/1706.03762) |' in shown(None)
    assert '| [2 (told)](https://example.org) |' in shown('https://example.org')
    assert '| 2 (told) |' in shown('')


def test_what_is_not_reproduced_says_so(room):
    record.write(made_results.result(loss=1.6), room[0] / 'made.json')
    assert table.rebuild(*room, check=False) == 0
    assert '| 1.6 (1.6 to 1.6, 2 seeds) | **no** |' in room[1].read_text()


def test_a_page_that_differs_fails_the_check(room, capsys):
    table.rebuild(*room, check=False)
    room[1].write_text(room[1].read_text().replace('1.25 (', '1.24 ('))
    assert table.rebuild(*room, check=True) == 1
    said = capsys.readouterr().out
    assert 'papers.md is not what the results give' in said and '1.24 (' in said
    room[1].unlink()
    assert table.rebuild(*room, check=True) == 1


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda r: dataclasses.replace(r, runs=r.runs[:3], made=r.made[:3]), 'no run of two with'),
        (lambda r: dataclasses.replace(r, made=[{**m, 'commit': 'unknown'} for m in r.made]),
         'the run of one, seed 0, lacks its commit'),
    ],
)  # fmt: skip
def test_a_number_without_its_run_fails_the_check(room, capsys, change, message):
    changed = change(made_results.result())
    numbers = list(made_results.measure(changed.runs))
    record.write(dataclasses.replace(changed, numbers=numbers), room[0] / 'made.json')
    assert table.rebuild(*room, check=False) == 1
    assert table.rebuild(*room, check=True) == 1
    assert message in capsys.readouterr().out


def test_an_arm_that_is_not_what_was_trained_fails_the_check(room, capsys, monkeypatch):
    one, two = FULL.sizes['']
    changed = dataclasses.replace(two, changes={'context': 64, 'model.width': 8})
    later = dataclasses.replace(FULL, sizes={'': [one, changed], 'full': []})
    monkeypatch.setattr(sys.modules['results.papers.made'], 'PAPER', later)
    assert table.rebuild(*room, check=False) == 1
    said = capsys.readouterr().out
    for seed in (0, 1):
        assert f'two, seed {seed}, was trained with config.context=32; configs/qu' in said
        assert f'two, seed {seed}, was trained with config.model.width=' in said
    assert 'quickstart.py now has 64' in said and 'made.json: one, seed' not in said


def test_a_result_without_its_picture_fails_the_check(room, capsys):
    (room[0] / 'made.png').unlink()
    assert table.rebuild(*room, check=True) == 1
    assert 'made.json: no picture' in capsys.readouterr().out


def test_a_result_of_no_experiment(room):
    (room[0] / 'other.json').write_text('{}')
    with pytest.raises(UserError, match='other.json is the result of no experiment; known: made'):
        table.rebuild(*room, check=True)


def test_an_edited_result_is_no_page(room):
    content = json.loads((room[0] / 'made.json').read_text())
    content['runs'][0]['seconds'] = 1.0
    (room[0] / 'made.json').write_text(json.dumps(content))
    with pytest.raises(UserError, match='edited by hand'):
        table.rebuild(*room, check=False)


def test_ours_is_what_the_results_give(capsys):
    assert table.rebuild(table.RESULTS, table.PAGE, check=True) == 0, capsys.readouterr().out
