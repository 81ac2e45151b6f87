"""The type of a config picks the module that it configures."""

import dataclasses
from collections.abc import Callable

import flax.linen as nn

_MODULES: dict[type, type[nn.Module]] = {}
_NAMES: dict[str, type] = {}


def register(
    config_type: type, name: str | None = None
) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Class decorator: modules for `config_type` are made from the decorated class.

    Args:
      name: what a user calls it in `config.model.mixers`; such a config type has a class method
        `of(options)` that makes one from the options of a family.

    Raises:
      TypeError: `config_type` is not a frozen dataclass, or it or the name is taken.
    """
    if not dataclasses.is_dataclass(config_type) or not config_type.__dataclass_params__.frozen:
        raise TypeError(f'{config_type.__name__} must be a frozen dataclass')
    if config_type in _MODULES:
        raise TypeError(f'{config_type.__name__} already picks {_MODULES[config_type].__name__}')
    if name in _NAMES:
        raise TypeError(f'the name {name!r} already means {_NAMES[name].__name__}')

    def add(module_type: type[nn.Module]) -> type[nn.Module]:
        _MODULES[config_type] = module_type
        if name is not None:
            _NAMES[name] = config_type
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


def names() -> dict[str, type]:
    """Config types by the name that a user gives."""
    return dict(_NAMES)
