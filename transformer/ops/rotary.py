"""Rotary position embedding, https://arxiv.org/abs/2104.09864, and its stretchings to longer texts.

B batch, N heads, T length, H head width, W turned width (W <= H), h = W / 2 pairs.

A scaling is `scaling.frequencies(theta, W, longest)`, with `longest` the length of the call: one
more than its largest position, or None where no call is near. Most do not look at it: they give
numpy, constants of the compiled program. `Dynamic` and `LongRope` do; None means to them that the
original context suffices. All rows of a call share `longest`, and keys in a cache stay as the call
turned them that put them there.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Inverse frequency of each pair, factor on the turned pairs.
Frequencies = tuple[np.ndarray | jax.Array, float]
Longest = int | jax.Array | None


@dataclasses.dataclass(frozen=True)
class Linear:
    """Positions are divided by `factor`, https://arxiv.org/abs/2306.15595."""

    factor: float

    def frequencies(self, theta: float, W: int, longest: Longest = None) -> Frequencies:
        return _plain(theta, W) / self.factor, 1.0


@dataclasses.dataclass(frozen=True)
class NTK:
    """theta * factor^(W / (W - 2)): the slowest pair slows by `factor`, the fastest not at all.

    "NTK-aware" scaling, described in https://arxiv.org/abs/2309.00071, section 3.1.
    """

    factor: float

    def frequencies(self, theta: float, W: int, longest: Longest = None) -> Frequencies:
        """Raises a ValueError where W is 2: a single pair cannot be both."""
        return _plain(theta * self.factor ** _ntk_power(W), W), 1.0


@dataclasses.dataclass(frozen=True)
class Dynamic:
    """NTK whose factor grows with the call: factor * longest / original_context - (factor - 1).

    Described in https://arxiv.org/abs/2309.00071, section 3.3. Calls that fit into the original
    context are turned as if there were no scaling.
    """

    factor: float
    original_context: int

    def frequencies(self, theta: float, W: int, longest: Longest = None) -> Frequencies:
        """Raises a ValueError where W is 2, as `NTK` does."""
        power = _ntk_power(W)
        if longest is None:
            return _plain(theta, W), 1.0
        longest = jnp.maximum(longest, self.original_context).astype(jnp.float32)
        grown = self.factor * (longest / self.original_context) - (self.factor - 1)
        # (theta grown^power)^(-2i/W), of which theta's part is exact.
        return _plain(theta, W) * grown ** (-power * np.arange(0, W, 2) / W), 1.0


@dataclasses.dataclass(frozen=True)
class Yarn:
    """YaRN, https://arxiv.org/abs/2309.00071.

    Pairs that turn more than `beta_fast` times within the original context stay as they are, those
    that turn less than `beta_slow` times slow by `factor`, those between change over linearly. The
    turned pairs grow by g(1), g(m) = 0.1 m ln(factor) + 1, or by g(mscale) / g(mscale_all_dim)
    where both are set, https://arxiv.org/abs/2405.04434.

    Attributes:
      original_context: length that the model was trained on before.
      truncate: whether the change-over starts and ends at whole pairs.
      attention_factor: what the turned pairs grow by instead, or None.
    """

    factor: float
    original_context: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True
    attention_factor: float | None = None

    def frequencies(self, theta: float, W: int, longest: Longest = None) -> Frequencies:
        def pair(turns):  # that turns so often within the original context
            return W * math.log(self.original_context / (turns * 2 * math.pi)) / 2 / math.log(theta)

        down, up = (math.floor, math.ceil) if self.truncate else (float, float)
        first = max(down(pair(self.beta_fast)), 0)
        last = min(up(pair(self.beta_slow)), W - 1)
        width = last - first or 0.001  # a step, where both are one pair
        slow_h = np.clip((np.arange(W // 2) - first) / width, 0, 1)
        plain_h = _plain(theta, W)
        return plain_h * (1 - slow_h) + plain_h / self.factor * slow_h, self._growth()

    def _growth(self) -> float:
        if self.attention_factor is not None:
            return self.attention_factor
        growth = lambda m: 0.1 * m * math.log(self.factor) + 1 if self.factor > 1 else 1.0  # noqa: E731
        if self.mscale and self.mscale_all_dim:
            return growth(self.mscale) / growth(self.mscale_all_dim)
        return growth(1)


@dataclasses.dataclass(frozen=True)
class LongRope:
    """Every pair slows by a factor of its own, https://arxiv.org/abs/2402.13753.

    One set of them for calls within the original context, one for longer ones. The turned pairs
    grow by sqrt(1 + ln(factor) / ln(original_context)).

    Attributes:
      short_factor: W / 2 numbers.
      long_factor: W / 2 numbers.
      factor: of the new context to the original one.
      attention_factor: what the turned pairs grow by instead, or None.
    """

    short_factor: tuple[float, ...]
    long_factor: tuple[float, ...]
    original_context: int
    factor: float = 1.0
    attention_factor: float | None = None

    def frequencies(self, theta: float, W: int, longest: Longest = None) -> Frequencies:
        """Raises a ValueError where there is not one factor for each pair."""
        for name in ('short_factor', 'long_factor'):
            count = len(getattr(self, name))
            if count != W // 2:
                raise ValueError(
                    f'{name} has {count} numbers; accepted: {W // 2}, one for each pair of the '
                    f'rotary width {W}'
                )
        growth = self.attention_factor
        if growth is None:
            log = math.log(max(self.factor, 1.0))
            growth = math.sqrt(1 + log / math.log(self.original_context))
        plain_h = _plain(theta, W)
        short_h, long_h = plain_h / self.short_factor, plain_h / self.long_factor
        if longest is None:
            return short_h, growth
        return jnp.where(longest > self.original_context, long_h, short_h), growth


@dataclasses.dataclass(frozen=True)
class Llama3:
    """Llama 3.1's, https://arxiv.org/abs/2407.21783: by wavelength in parts of the old context.

    Longer than context / low: slowed by `factor`. Shorter than context / high: kept. Between: a
    linear change-over in context / wavelength.
    """

    factor: float = 8.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_context: int = 8192

    def frequencies(self, theta: float, W: int, longest: Longest = None) -> Frequencies:
        plain_h = _plain(theta, W)
        turns_h = self.original_context * plain_h / (2 * math.pi)
        low, high = self.low_freq_factor, self.high_freq_factor
        kept_h = np.clip((turns_h - low) / (high - low), 0, 1)
        return plain_h * kept_h + plain_h / self.factor * (1 - kept_h), 1.0


@dataclasses.dataclass(frozen=True)
class Proportional:
    """Only the fastest `part` of all pairs turns, slowed by `factor`; the others stand still.

    Unlike a smaller rotary width, this leaves the pairs where they are, (h, h + W/2), and the
    frequencies spread over all of W. Gemma 4 has it in its global layers.
    """

    part: float
    factor: float = 1.0

    def frequencies(self, theta: float, W: int, longest: Longest = None) -> Frequencies:
        turns_h = np.arange(W // 2) < int(self.part * W // 2)
        return _plain(theta, W) / self.factor * turns_h, 1.0


Scaling = Linear | NTK | Dynamic | Yarn | LongRope | Llama3 | Proportional


def _plain(theta: float, W: int) -> np.ndarray:
    """theta^(-2i/W), rounded to float32 at each step.

    Published models were trained with these roundings; at place 4,000 they are 1e-4 of an angle.
    """
    power_h = (np.arange(0, W, 2, dtype=np.float32) / np.float32(W)).astype(np.float64)
    return (1 / (theta**power_h).astype(np.float32)).astype(np.float64)


def _ntk_power(W: int) -> float:
    if W <= 2:
        raise ValueError(f'NTK-aware scaling turns a width above 2, not {W}')
    return W / (W - 2)


def frequencies(config: Any, H: int, positions_BT: jax.Array | None = None) -> Frequencies:
    """(inverse_frequency_h in float32, attention_factor) for heads of width H.

    Args:
      config: a `positions.RotaryConfig`.
      positions_BT: places of the call's tokens; None means that they fit the original context.

    Raises:
      ValueError: a width to turn that is odd or wider than the head.
    """
    W = H if config.width is None else config.width
    if not 0 < W <= H or W % 2:
        raise ValueError(f'rotary width {W} cannot be turned; accepted: even, from 2 to {H}')
    if config.scaling is None:
        inverse_h, factor = _plain(config.theta, W), 1.0
    else:
        longest = None if positions_BT is None else positions_BT.max() + 1
        inverse_h, factor = config.scaling.frequencies(config.theta, W, longest)
    return inverse_h.astype(np.float32), factor


def rotate(
    x_BNTH: jax.Array,
    positions_BT: jax.Array,
    frequencies: float | Frequencies,
    interleaved: bool = False,
) -> jax.Array:
    """Turns each pair (h, h + W/2) of a head by position * inverse_frequency_h; float32 inside.

    What lies beyond the first W of H stays as it is.

    Args:
      frequencies: what the function of that name gives; a number theta means theta^(-2h/H).
      interleaved: whether the pairs are (2h, 2h + 1), as in the paper, instead.
    """
    if not isinstance(frequencies, tuple):
        frequencies = _plain(frequencies, x_BNTH.shape[-1]).astype(np.float32), 1.0
    inverse_h, factor = frequencies
    half = len(inverse_h)
    angle_B1Th = positions_BT[:, None, :, None].astype(jnp.float32) * inverse_h[None, None, None]
    cos, sin = jnp.cos(angle_B1Th) * factor, jnp.sin(angle_B1Th) * factor
    W = 2 * half
    if interleaved:
        low, high = x_BNTH[..., 0:W:2], x_BNTH[..., 1:W:2]
    else:
        low, high = x_BNTH[..., :half], x_BNTH[..., half:W]
    turned = [low * cos - high * sin, high * cos + low * sin]
    turned = [x.astype(x_BNTH.dtype) for x in turned]
    if interleaved:
        turned = [jnp.stack(turned, axis=-1).reshape(*x_BNTH.shape[:-1], W)]
    return jnp.concatenate([*turned, x_BNTH[..., W:]], axis=-1)
