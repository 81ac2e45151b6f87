"""Attention, and everything that can stand in its place. One file each; importing registers it.

A mixer is `mixer(x_BTD, ctx, cache=None) -> (y_BTD, cache)` with `init_cache(batch, length)`. The
full pass and the step-by-step pass agree for every one of them: `tests/test_mixers.py`.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f'{__name__}.{_module.name}')
