"""The pages say what is there: links lead somewhere, names exist, generated pages are current."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from transformer import fields
from transformer.models import table
from transformer.models.options import StackOptions

ROOT = Path(__file__).resolve().parent.parent
PAGES = ['README.md', 'CONTRIBUTING.md', *(f'docs/{p.name}' for p in (ROOT / 'docs').glob('*.md'))]
NOTEBOOK = 'notebooks/colab.ipynb'
LINK = re.compile(r'\]\(([^)\s]+)\)')
FENCE = re.compile(r'^```.*?^```$', re.MULTILINE | re.DOTALL)
FAMILY = ('README.md', 'docs/family.md')


def text_of(page: str) -> str:
    text = (ROOT / page).read_text(encoding='utf-8')
    if not page.endswith('.ipynb'):
        return text
    cells = [c for c in json.loads(text)['cells'] if c['cell_type'] == 'markdown']
    return '\n\n'.join(''.join(cell['source']) for cell in cells)


def anchors(page: str) -> set[str]:
    """Those of the headings, as GitHub and mkdocs make them."""
    found = re.findall(r'^#+ (.*)$', FENCE.sub('', text_of(page)), re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', title.lower()).strip().replace(' ', '-') for title in found}


def dead_links(page: str) -> list[str]:
    dead = []
    for target in LINK.findall(FENCE.sub('', text_of(page))):
        if '://' in target or target.startswith('mailto:'):
            continue
        name, _, anchor = target.partition('#')
        path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        inside = path.is_relative_to(ROOT) and path.exists()
        if not inside or (anchor and anchor not in anchors(str(path.relative_to(ROOT)))):
            dead.append(target)
    return dead


@pytest.mark.parametrize('page', [*PAGES, NOTEBOOK])
def test_relative_links_lead_somewhere(page):
    assert dead_links(page) == []


def test_a_dead_link_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), 'ROOT', tmp_path)
    (tmp_path / 'b.md').write_text('# What it is, really\n')
    (tmp_path / 'a.md').write_text('[x](b.md#what-it-is-really) [y](b.md#no) [z](c.md) [w](../d)')
    assert dead_links('a.md') == ['b.md#no', 'c.md', '../d']


@pytest.mark.parametrize('page', [*PAGES, NOTEBOOK])
def test_files_and_modules_that_are_named_exist(page):
    text = text_of(page)
    named = set(
        re.findall(r'\b(?:configs|tests|transformer|data|scripts)/[\w/]+\.(?:py|sh)\b', text)
    )
    named -= set(re.findall(r'title="([^"]+)"', text))
    named = {name for name in named if '/NAME.' not in name}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    modules = set(re.findall(r'python -m ([a-z_]+(?:\.[a-z_]+)*)', text)) - {'pytest', 'pip'}
    assert [name for name in sorted(modules) if importlib.util.find_spec(name) is None] == []


def test_the_page_of_fields_is_current():
    page = (ROOT / 'docs/config.md').read_text(encoding='utf-8')
    assert page == fields.page(), 'python -m transformer.fields > docs/config.md'


def test_a_field_without_a_meaning_is_no_page(monkeypatch):
    monkeypatch.setattr(
        StackOptions, '__doc__', StackOptions.__doc__.replace('    qk_norm:', '    q:')
    )
    with pytest.raises(ValueError, match="StackOptions has the field 'qk_norm'"):
        fields.page()


def test_the_table_of_the_family_is_the_same_in_both_places():
    rows = [re.findall(r'^\|.*arxiv\.org/abs.*\|$', text_of(page), re.MULTILINE) for page in FAMILY]
    named = set(re.findall(r'`(\w+)\.py`', '\n'.join(rows[0])))
    assert rows[0] == rows[1] and len(rows[0]) >= 15
    assert named == set(table.TABLES)


def test_pictures_are_small():
    pictures = sorted((ROOT / 'docs/images').glob('*'))
    assert pictures
    for picture in pictures:
        assert picture.read_bytes()[:4] == b'\x89PNG' and picture.stat().st_size < 100_000, picture


def test_every_page_is_in_the_menu():
    menu = re.findall(r': (\w+\.md)$', (ROOT / 'mkdocs.yml').read_text(), re.MULTILINE)
    assert sorted(menu) == sorted(path.name for path in (ROOT / 'docs').glob('*.md'))
