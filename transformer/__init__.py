"""The Transformer family in JAX and Flax. `transformer.hf` loads and saves checkpoints.

Importing the package imports nothing else, so that the scripts' `--help` answers at once.
"""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name == 'hf':
        return importlib.import_module('transformer.hf')
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
