"""Classes: their names, and the number of each record's class among them."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from data.sources.records import text
from data.sources.tables import Bad
from transformer.errors import UserError


def label(
    record: dict[str, Any], field: str, known: tuple[str, ...] = (), errors: str = 'strict'
) -> str:
    """The name of a record's class.

    Args:
      errors: as of `records.text`.
      known: names of all classes by number, where the data set says.

    Raises:
      Bad: there is none.
    """
    return name_of(record.get(field), field, known, errors)


def name_of(value: Any, field: str, known: tuple[str, ...] = (), errors: str = 'strict') -> str:
    """As `label`, of its value."""
    value = text(value, field, errors)
    if known and not isinstance(value, str):
        if value is not None and 0 <= int(value) < len(known):
            return known[int(value)]
        raise Bad('no class', f'{field}={value!r} is none of the {len(known)} classes')
    if value is None or isinstance(value, (dict, list, float, np.floating)) or not str(value):
        raise Bad('no class', f'{field}={value!r} is no class; accepted: a name or a number')
    return str(value)


def names_of(labels: Iterable[str]) -> tuple[str, ...]:
    """All classes: numbers in their order, anything else by name."""
    labels = set(labels)
    numbers = all(label.isdecimal() for label in labels)
    # '1' and '01' are the same number: the order must not be a set's.
    return tuple(sorted(labels, key=(lambda x: (int(x), x)) if numbers else None))


def two(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Refuses what has fewer than two classes; `name` is what the message calls it."""
    if len(names) < 2:
        raise UserError(f'{name} has {len(names)} classes {sorted(names)}; 2 are needed')
    return names


def indices(
    labels: Iterable[str], names: tuple[str, ...], where: Callable[[int], str]
) -> np.ndarray:
    """Numbers of classes, int64 [N].

    Args:
      where: from an index to where that record is.

    Raises:
      UserError: a class that is not among `names`, those of the training split.
    """
    index, found = {name: n for n, name in enumerate(names)}, []
    for n, label in enumerate(labels):
        if label not in index:
            raise UserError(
                f'{where(n)}: label {label!r} is not a class of the training split: '
                f'{", ".join(names)}'
            )
        found.append(index[label])
    return np.array(found, np.int64)
