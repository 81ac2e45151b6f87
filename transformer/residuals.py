"""How a branch, its norms and the residual stream meet. x [B, T, D].

Each way is a function (x, branches) -> (x, extras). A branch is (before, f, after): a norm, a
function from [B, T, D] to ([B, T, D], extra), a second norm or None. `f` ends with its dropout.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax

Branch = tuple[Callable, Callable, Callable | None]


def pre(x_BTD: jax.Array, branches: Sequence[Branch]) -> tuple[jax.Array, list[Any]]:
    """x + f(norm(x)), one branch after the other, https://arxiv.org/abs/2002.04745."""
    extras = []
    for before, f, _ in branches:
        y_BTD, extra = f(before(x_BTD))
        x_BTD += y_BTD
        extras.append(extra)
    return x_BTD, extras


def post(x_BTD: jax.Array, branches: Sequence[Branch]) -> tuple[jax.Array, list[Any]]:
    """norm(x + f(x)), one branch after the other, https://arxiv.org/abs/1706.03762."""
    extras = []
    for norm, f, _ in branches:
        y_BTD, extra = f(x_BTD)
        x_BTD = norm(x_BTD + y_BTD)
        extras.append(extra)
    return x_BTD, extras


def sandwich(x_BTD: jax.Array, branches: Sequence[Branch]) -> tuple[jax.Array, list[Any]]:
    """x + norm'(f(norm(x))), one branch after the other, https://arxiv.org/abs/2105.13290."""
    extras = []
    for before, f, after in branches:
        y_BTD, extra = f(before(x_BTD))
        x_BTD += after(y_BTD)
        extras.append(extra)
    return x_BTD, extras


def parallel(x_BTD: jax.Array, branches: Sequence[Branch]) -> tuple[jax.Array, list[Any]]:
    """x + f(norm(x)) + g(norm(x)): all read the same, https://arxiv.org/abs/2204.02311."""
    normed_BTD = branches[0][0](x_BTD)
    extras = []
    for _, f, _ in branches:
        y_BTD, extra = f(normed_BTD)
        x_BTD += y_BTD
        extras.append(extra)
    return x_BTD, extras


def parallel_norms(x_BTD: jax.Array, branches: Sequence[Branch]) -> tuple[jax.Array, list[Any]]:
    """x + f(norm(x)) + g(norm'(x)): each branch has its own norm, arxiv.org/abs/2204.06745."""
    made = [f(before(x_BTD)) for before, f, _ in branches]
    for y_BTD, _ in made:
        x_BTD += y_BTD
    return x_BTD, [extra for _, extra in made]


RESIDUALS = {
    'pre': pre,
    'post': post,
    'sandwich': sandwich,
    'parallel': parallel,
    'parallel_norms': parallel_norms,
}
