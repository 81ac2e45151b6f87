"""Looks inside a model: what it attends to, what it would say early, what depends on what.

    from transformer import inspect

    subject = inspect.of_run('runs/quickstart')
    case = subject.read('def main(')
    maps = inspect.attention(subject.model, subject.params, case.batch)

`attention`, `logit_lens`, `ablate`, `patch` and `head_patterns` take a model, its parameters, and
tokens or a batch; what they give holds NumPy arrays. `python -m transformer.inspect` makes a page
of them. Importing the package imports nothing else, so that its `--help` answers at once.
"""

import importlib
from typing import Any

_FILES = {
    'subject': ('Case', 'Subject', 'of_checkpoint', 'of_run'),
    'maps': ('AttentionMap', 'attention'),
    'lens': ('Lens', 'lens_logits', 'logit_lens'),
    'effects': ('Effects', 'ablate', 'patch'),
    'patterns': ('Patterns', 'head_patterns'),
}
_FILE_OF = {name: file for file, names in _FILES.items() for name in names}
__all__ = list(_FILE_OF)


def __getattr__(name: str) -> Any:
    if name in _FILE_OF:
        return getattr(importlib.import_module(f'{__name__}.{_FILE_OF[name]}'), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
