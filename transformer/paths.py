"""Parameters by path: one matcher for layout, weight decay, freezing and learning rates."""

import re
from collections.abc import Sequence
from typing import Any

import jax


def names(tree: Any) -> list[str]:
    """The path of each leaf, such as 'stack/repeat/block_0/mlp/up/kernel', in leaf order."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return [jax.tree_util.keystr(path, simple=True, separator='/') for path, _ in leaves]


def leaves(tree: Any) -> dict[str, Any]:
    """Each leaf by its path."""
    return dict(zip(names(tree), jax.tree.leaves(tree)))


def match(rules: Sequence[tuple[str, Any]], tree: Any, *, all_used: bool = True) -> Any:
    """For each leaf the value of the first rule whose pattern matches its whole path.

    Args:
      rules: (regular expression, value) pairs.
      all_used: whether a rule that matches nothing is an error.

    Raises:
      ValueError: a leaf that no rule matches, or a rule that matches no leaf.
    """
    paths = names(tree)
    used, values = set(), []
    for path in paths:
        for pattern, value in rules:
            if re.fullmatch(pattern, path):
                used.add(pattern)
                values.append(value)
                break
        else:
            known = ', '.join(pattern for pattern, _ in rules)
            raise ValueError(f'no rule matches parameter {path!r}; rules: {known}')
    idle = [pattern for pattern, _ in rules if pattern not in used]
    if idle and all_used:
        raise ValueError(f'rule {idle[0]!r} matches no parameter; there are {", ".join(paths)}')
    # The values may be pytrees themselves (tuples), so they are attached by structure.
    return jax.tree.unflatten(jax.tree.structure(tree), values)
