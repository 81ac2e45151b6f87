"""Laws fitted to losses, with intervals from the bootstrap: NumPy alone, the same at each call."""

import math
from collections.abc import Callable, Sequence

import numpy as np

DRAWS, SHARE = 1000, 0.95
FAR = math.log(10)  # outside the sizes that are fitted


def power(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """A and b of y = A x^b, by least squares on logarithms.

    Raises:
      ValueError: fewer than two different x.
    """
    _distinct(x, 2)
    b, log_a = np.polyfit(np.log(x), np.log(y), 1)
    return math.exp(log_a), float(b)


def straightness(x: Sequence[float], y: Sequence[float]) -> float:
    """R^2 of `power`: the share of the variance of log y that it explains."""
    a, b = power(x, y)
    log_y = np.log(y)
    rest = log_y - (math.log(a) + b * np.log(x))
    return float(1 - rest.var() / log_y.var())


def offset_power(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """E, A and alpha of y = E + A x^-alpha with E, A >= 0, by least squares.

    For a given alpha it is a straight line in x^-alpha; alpha is sought on finer and finer grids
    between 0.01 and 3.

    Raises:
      ValueError: fewer than four different x.
    """
    _distinct(x, 4)
    x, y = np.asarray(x, float), np.asarray(y, float)
    scale = math.exp(np.log(x).mean())  # keeps powers near 1
    low, high = math.log(0.01), math.log(3.0)
    for _ in range(6):
        alphas = np.exp(np.linspace(low, high, 41))
        t = (x / scale)[None] ** -alphas[:, None]
        e, a = _lines(t, y)
        errors = ((e[:, None] + a[:, None] * t - y[None]) ** 2).sum(1)
        best = int(errors.argmin())
        low, high = (math.log(alphas[min(max(best + d, 0), 40)]) for d in (-1, 1))
    return float(e[best]), float(a[best] * scale ** alphas[best]), float(alphas[best])


def _lines(t: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E and A of y = E + A t, neither below 0, for each row of t."""
    middle = t - t.mean(1, keepdims=True)
    a = np.maximum((middle * (y - y.mean())[None]).sum(1) / (middle**2).sum(1), 0)
    e = y.mean() - a * t.mean(1)
    through_zero = (t * y[None]).sum(1) / (t**2).sum(1)
    return np.where(e < 0, 0, e), np.where(e < 0, through_zero, a)


def lowest(x: Sequence[float], y: Sequence[float]) -> float:
    """Where a parabola in log x has its minimum, https://arxiv.org/abs/2203.15556, section 3.2.

    Raises:
      ValueError: fewer than three different x, or a parabola that has none near them.
    """
    _distinct(x, 3)
    log_x = np.log(x)
    c, b, _ = np.polyfit(log_x - log_x.mean(), y, 2)
    if c <= 0:
        raise ValueError('the parabola has no minimum; accepted: losses that fall and rise again')
    place = log_x.mean() - b / (2 * c)
    if not log_x.min() - FAR <= place <= log_x.max() + FAR:
        raise ValueError('the minimum is ten times outside the sizes; accepted: sizes around it')
    return math.exp(place)


def interval(
    fit: Callable[[np.ndarray], float],
    points: Sequence[Sequence[Sequence[float]]],
    draws: int = DRAWS,
    share: float = SHARE,
) -> tuple[float, float]:
    """Between which a fitted number lies in that share of resamplings: the bootstrap.

    Efron 1979, https://doi.org/10.1214/aos/1176344552. Each time as many points as there are are
    drawn with replacement, and of each as many of its measurements; where these cannot be fitted,
    others are drawn.

    Args:
      fit: (rows of measurements) -> a number; raises ValueError where they are too few.
      points: measurements of each point, such as the seeds of a size.

    Raises:
      ValueError: too few draws can be fitted.
    """
    rng, found = np.random.default_rng(0), []
    arrays = [np.asarray(point, float) for point in points]
    for _ in range(20 * draws):
        chosen = [arrays[i] for i in rng.integers(len(arrays), size=len(arrays))]
        rows = [rows[rng.integers(len(rows), size=len(rows))] for rows in chosen]
        try:
            found.append(fit(np.concatenate(rows)))
        except ValueError:
            continue
        if len(found) == draws:
            tail = (1 - share) / 2
            return float(np.quantile(found, tail)), float(np.quantile(found, 1 - tail))
    raise ValueError(f'only {len(found)} of {20 * draws} resamplings can be fitted')


def _distinct(x: Sequence[float], least: int) -> None:
    found = len(set(np.asarray(x, float).tolist()))
    if found < least:
        raise ValueError(f'{found} different sizes; accepted: at least {least}')
