"""The type of a config picks the module that it configures."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn

_MODULES: dict[type, type[nn.Module]] = {}


def register(config_type: type) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Class decorator: modules for `config_type` are made from the decorated class.

    Raises:
      TypeError: `config_type` is not a frozen dataclass, or already has a module.
    """
    if not dataclasses.is_dataclass(config_type) or not config_type.__dataclass_params__.frozen:
        raise TypeError(f'{config_type.__name__} must be a frozen dataclass')
    if config_type in _MODULES:
        raise TypeError(f'{config_type.__name__} already picks {_MODULES[config_type].__name__}')

    def add(module_type: type[nn.Module]) -> type[nn.Module]:
        _MODULES[config_type] = module_type
        return module_type

    return add


def build(config: object, **fields) -> nn.Module:
    """The module that `config` describes.

    Raises:
      TypeError: no module is registered for the type of `config`.
    """
    if type(config) not in _MODULES:
        known = ', '.join(sorted(t.__name__ for t in _MODULES))
        raise TypeError(f'no module is registered for {type(config).__name__}; known: {known}')
    return _MODULES[type(config)](config=config, **fields)


def registered() -> dict[type, type[nn.Module]]:
    """Every config type and its module."""
    return dict(_MODULES)
