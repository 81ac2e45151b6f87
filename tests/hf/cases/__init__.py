"""Checkpoints to compare with the original: one file a family, each with `CASES`."""

import dataclasses
import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Case:
    """A small model of the original's library with random parameters.

    Attributes:
      name: 'family/what', unique; also the folder of its fixture.
      model: class of `transformers`.
      config: arguments of its config class.
      option: what is particular about it, for the table of differences; '' for a plain head.
      fixture: whether it is kept with the tests, so that they need neither torch nor transformers.
      files: 'float32', 'float16' or 'bfloat16': type of the saved tensors.
      shards: least number of files of weights.
      tolerance: greatest difference as a share of the largest number.
      length: tokens of the inputs.
      cached: whether decoding token by token gives what the whole pass gives, as it does unless
        positions are turned by the length of the call.
    """

    name: str
    model: str
    config: Mapping[str, Any]
    option: str = ''
    fixture: bool = False
    files: str = 'float32'
    shards: int = 1
    tolerance: float = 1e-5
    length: int = 17
    cached: bool = True

    @property
    def family(self) -> str:
        return self.name.split('/')[0]


def all_cases() -> dict[str, Case]:
    """Every case by its name."""
    found: dict[str, Case] = {}
    for module in pkgutil.iter_modules(__path__):
        for case in importlib.import_module(f'{__name__}.{module.name}').CASES:
            assert case.name not in found, f'two cases are called {case.name}'
            found[case.name] = case
    return found
