"""The experiments: a file each, with a `PAPER`; found by listing this folder."""

import difflib
import importlib
from pathlib import Path

from results.paper import Paper
from transformer.errors import UserError

PAPERS = tuple(sorted(path.stem for path in Path(__file__).parent.glob('[a-z]*.py')))


def load(name: str) -> Paper:
    """The experiment of that name.

    Raises:
      UserError: there is none; the known ones, and the nearest, are named.
    """
    if name not in PAPERS:
        near = difflib.get_close_matches(name, PAPERS, n=1)
        hint = f'did you mean {near[0]}? ' if near else ''
        raise UserError(f'{name}: no such experiment; {hint}known: {", ".join(PAPERS)}')
    return importlib.import_module(f'results.papers.{name}').PAPER
