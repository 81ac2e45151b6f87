"""How the next token is chosen from its scores. B rows, V vocabulary."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from transformer.errors import UserError


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
      temperature: divides the scores; 0 takes the likeliest token.
      top_k: only so many of the likeliest tokens; 0 means all.
      top_p: only the likeliest tokens that together reach this probability,
        https://arxiv.org/abs/1904.09751.
      min_p: only tokens of at least this share of the likeliest one's probability,
        https://arxiv.org/abs/2407.01082; 0 means all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self):
        if not 0 <= self.temperature < float('inf'):
            raise UserError(f'temperature {self.temperature} cannot be used; accepted: at least 0')
        if self.top_k < 0:
            raise UserError(f'top_k {self.top_k} cannot be used; accepted: at least 0 (0 = all)')
        if not 0 < self.top_p <= 1:
            raise UserError(f'top_p {self.top_p} cannot be used; accepted: above 0, at most 1')
        if not 0 <= self.min_p <= 1:
            raise UserError(f'min_p {self.min_p} cannot be used; accepted: from 0 to 1')


def sample(logits_BV: jax.Array, keys_B: jax.Array, how: Sampling) -> jax.Array:
    """One token a row, int32 [B]."""
    if how.temperature == 0:
        return logits_BV.argmax(-1).astype(jnp.int32)
    scores_BV = filtered(logits_BV, how)
    return jax.vmap(jax.random.categorical)(keys_B, scores_BV).astype(jnp.int32)


def filtered(logits_BV: jax.Array, how: Sampling) -> jax.Array:
    """Scores at a temperature above 0; -infinity for tokens that cannot be drawn."""
    scores_BV = logits_BV / how.temperature
    if how.top_k and how.top_k < scores_BV.shape[-1]:
        kth_B1 = jax.lax.top_k(scores_BV, how.top_k)[0][:, -1:]
        scores_BV = jnp.where(scores_BV < kth_B1, -jnp.inf, scores_BV)
    if how.top_p < 1:
        sorted_BV = jnp.flip(jnp.sort(scores_BV, -1), -1)
        probability_BV = jax.nn.softmax(sorted_BV, -1)
        # A token stays if those before it do not yet reach top_p; the first always does.
        stays_BV = jnp.cumsum(probability_BV, -1) - probability_BV < how.top_p
        least_B1 = jnp.where(stays_BV, sorted_BV, jnp.inf).min(-1, keepdims=True)
        scores_BV = jnp.where(scores_BV < least_B1, -jnp.inf, scores_BV)
    if how.min_p > 0:
        # p < min_p p_max, in logarithms.
        least_B1 = scores_BV.max(-1, keepdims=True) + math.log(how.min_p)
        scores_BV = jnp.where(scores_BV < least_B1, -jnp.inf, scores_BV)
    return scores_BV
