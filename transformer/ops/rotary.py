"""Rotary position embedding, https://arxiv.org/abs/2104.09864, and its stretchings to longer texts.

B batch, N heads, T length, H head width, W turned width (W <= H), h = W / 2 pairs. Frequencies are
numpy: they are constants of the compiled program.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Frequencies = tuple[np.ndarray, float]  # inverse frequency of each pair, factor on the turned pairs


@dataclasses.dataclass(frozen=True)
class Linear:
    """Positions are divided by `factor`, https://arxiv.org/abs/2306.15595."""

    factor: float

    def frequencies(self, theta: float, W: int) -> Frequencies:
        return _plain(theta, W) / self.factor, 1.0


@dataclasses.dataclass(frozen=True)
class NTK:
    """theta * factor^(W / (W - 2)): the slowest pair slows by `factor`, the fastest not at all.

    "NTK-aware" scaling, described in https://arxiv.org/abs/2309.00071, section 3.1.
    """

    factor: float

    def frequencies(self, theta: float, W: int) -> Frequencies:
        """Raises a ValueError where W is 2: a single pair cannot be both."""
        if W <= 2:
            raise ValueError(f'NTK-aware scaling turns a width above 2, not {W}')
        return _plain(theta * self.factor ** (W / (W - 2)), W), 1.0


@dataclasses.dataclass(frozen=True)
class Yarn:
    """YaRN, https://arxiv.org/abs/2309.00071.

    Pairs that turn more than `beta_fast` times within the original context stay as they are, those
    that turn less than `beta_slow` times slow by `factor`, those between change over linearly. The
    turned pairs grow by 0.1 ln(factor) + 1.

    Attributes:
      original_context: length that the model was trained on before.
    """

    factor: float
    original_context: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0

    def frequencies(self, theta: float, W: int) -> Frequencies:
        def pair(turns):  # that turns so often within the original context
            return W * math.log(self.original_context / (turns * 2 * math.pi)) / 2 / math.log(theta)

        first = max(math.floor(pair(self.beta_fast)), 0)
        last = min(math.ceil(pair(self.beta_slow)), W - 1)
        width = last - first or 0.001  # a step, where both are one pair
        slow_h = np.clip((np.arange(W // 2) - first) / width, 0, 1)
        plain_h = _plain(theta, W)
        grown = 0.1 * math.log(self.factor) + 1 if self.factor > 1 else 1.0
        return plain_h * (1 - slow_h) + plain_h / self.factor * slow_h, grown


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

    def frequencies(self, theta: float, W: int) -> Frequencies:
        plain_h = _plain(theta, W)
        turns_h = self.original_context * plain_h / (2 * math.pi)
        low, high = self.low_freq_factor, self.high_freq_factor
        kept_h = np.clip((turns_h - low) / (high - low), 0, 1)
        return plain_h * kept_h + plain_h / self.factor * (1 - kept_h), 1.0


Scaling = Linear | NTK | Yarn | Llama3


def _plain(theta: float, W: int) -> np.ndarray:
    return theta ** (-np.arange(0, W, 2) / W)


def frequencies(config: Any, H: int) -> Frequencies:
    """(inverse_frequency_h in float32, attention_factor) for heads of width H.

    Args:
      config: a `positions.RotaryConfig`.

    Raises:
      ValueError: a width to turn that is odd or wider than the head.
    """
    W = H if config.width is None else config.width
    if not 0 < W <= H or W % 2:
        raise ValueError(f'rotary width {W} cannot be turned; accepted: even, from 2 to {H}')
    if config.scaling is None:
        inverse_h, factor = _plain(config.theta, W), 1.0
    else:
        inverse_h, factor = config.scaling.frequencies(config.theta, W)
    return inverse_h.astype(np.float32), factor


def rotate(
    x_BNTH: jax.Array, positions_BT: jax.Array, frequencies: float | Frequencies
) -> jax.Array:
    """Turns each pair (h, h + W/2) of a head by position * inverse_frequency_h; float32 inside.

    What lies beyond the first W of H stays as it is.

    Args:
      frequencies: what the function of that name gives; a number theta means theta^(-2h/H).
    """
    if not isinstance(frequencies, tuple):
        frequencies = _plain(frequencies, x_BNTH.shape[-1]).astype(np.float32), 1.0
    inverse_h, factor = frequencies
    half = len(inverse_h)
    angle_B1Th = positions_BT[:, None, :, None].astype(jnp.float32) * inverse_h[None, None, None]
    cos, sin = jnp.cos(angle_B1Th) * factor, jnp.sin(angle_B1Th) * factor
    low, high = x_BNTH[..., :half], x_BNTH[..., half : 2 * half]
    turned = [low * cos - high * sin, high * cos + low * sin]
    turned = [x.astype(x_BNTH.dtype) for x in turned]
    return jnp.concatenate([*turned, x_BNTH[..., 2 * half :]], axis=-1)
