"""What mkdocs does besides: links to files of the repository, and the pages of the API.

A link out of `docs/` leads to the repository where `repo_url` says what that is; else its text
stays. Pictures of `results/` become part of the site. Each package has one page, made of the
docstrings of its modules.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ('transformer', 'data')
LINK = re.compile(r'(!?)\[([^\]]+)\]\((\.\./[^)\s]+)\)')


def on_files(files: Files, config) -> Files:
    """Adds `api/PACKAGE.md` for every package, and the pictures of `results/`."""
    packages = sorted(
        init.parent for name in PACKAGES for init in (ROOT / name).rglob('__init__.py')
    )
    names = ['.'.join(package.relative_to(ROOT).parts) for package in packages]
    for package, name in zip(packages, names):
        modules = sorted(path.stem for path in package.glob('[a-z]*.py'))
        blocks = ''.join(f'\n::: {one}\n' for one in [name, *(f'{name}.{m}' for m in modules)])
        files.append(File.generated(config, f'api/{name}.md', content=f'# {name}\n{blocks}'))
    listed = ''.join(f'- [{name}]({name}.md)\n' for name in names)
    page = f'# Modules\n\nOf each package, from its docstrings.\n\n{listed}'
    files.append(File.generated(config, 'api/index.md', content=page))
    config.nav.append({'Modules': ['api/index.md', *({name: f'api/{name}.md'} for name in names)]})
    for picture in sorted((ROOT / 'results').glob('*.png')):
        made = File.generated(config, f'results/{picture.name}', abs_src_path=str(picture))
        files.append(made)
    return files


def on_page_markdown(markdown: str, page, config, files) -> str:
    """Links out of `docs/`."""

    def outside(match: re.Match) -> str:
        picture, text, target = match.groups()
        folder = posixpath.dirname(page.file.src_uri)
        path, _, anchor = target.partition('#')
        path = posixpath.normpath(posixpath.join('docs', folder, path))
        if not (ROOT / path).exists():
            raise PluginError(f'{page.file.src_uri}: [{text}]({target}): there is no {path}')
        if picture:
            return f'![{text}]({posixpath.relpath(path, folder or ".")})'
        if not config.repo_url:
            return text
        where = f'{config.repo_url.rstrip("/")}/blob/main/{path}'
        return f'[{text}]({where}{"#" * bool(anchor)}{anchor})'

    return LINK.sub(outside, markdown)
