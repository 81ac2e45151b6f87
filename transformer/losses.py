"""Losses, in nats. C classes; for language models these are the tokens."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax


def cross_entropy(
    scores_C: jax.Array, targets: jax.Array, weights: jax.Array, smoothing: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """-log softmax(scores)[target], weighted and summed: what is minimised, and what is reported.

    With label smoothing, https://arxiv.org/abs/1512.00567, the first is the cross-entropy to the
    target mixed with `smoothing` of the uniform distribution; the second is never smoothed.

    Args:
      scores_C: float32 [B, ..., C].
      targets: int32 [B, ...].
      weights: float32 [B, ...].

    Returns:
      A float32 scalar, and float32 [B], the sum of each row.
    """
    nats = optax.softmax_cross_entropy_with_integer_labels(scores_C, targets) * weights
    nats_B = nats.sum(tuple(range(1, nats.ndim)))
    if not smoothing:
        return nats_B.sum(), nats_B
    uniform = jax.nn.logsumexp(scores_C, -1) - scores_C.mean(-1)
    return (1 - smoothing) * nats_B.sum() + smoothing * (uniform * weights).sum(), nats_B


def by_source(
    nats: jax.Array, weights: jax.Array, source: jax.Array, names: Sequence[str]
) -> dict[str, jax.Array]:
    """`nats/NAME` and `tokens/NAME` of each source: sums, as a source may have no row here.

    Args:
      nats: of each row, as `cross_entropy` returns them; float32 [B] or [A, B].
      weights: float32, with or without further axes.
      source: int32, as `nats`: places in `names`.
    """
    tokens = weights.sum(tuple(range(nats.ndim, weights.ndim)))
    found = {}
    for k, name in enumerate(names):
        here = source == k
        # Not by multiplication: one source's NaN is none of the others'.
        found[f'nats/{name}'] = jnp.where(here, nats, 0).sum()
        found[f'tokens/{name}'] = jnp.where(here, tokens, 0).sum()
    return found


def reports(aux: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
    """What the MLPs of all layers report: their losses' sum, and statistics over layers.

    `dropped` is summed over the layers, the largest of `load_max` and the smallest of `load_min`
    is taken, the rest is averaged.
    """
    told = [
        report
        for report in jax.tree.leaves(aux, is_leaf=lambda x: isinstance(x, dict))
        if isinstance(report, dict) and report
    ]
    loss = sum((report['loss'].sum() for report in told), jnp.zeros(()))
    if not told:
        return loss, {}
    how = {'dropped': jnp.sum, 'load_max': jnp.max, 'load_min': jnp.min}
    layers = {
        name: jnp.concatenate([jnp.ravel(report['stats'][name]) for report in told])
        for name in told[0]['stats']
    }
    return loss, {name: how.get(name, jnp.mean)(x) for name, x in layers.items()}


def reports_of_each(aux: Any, microbatches: int) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`reports` of each microbatch, [A], where those are the last axis of what the MLPs report."""
    if not jax.tree.leaves(aux):
        return jnp.zeros(microbatches), {}
    return jax.vmap(reports, in_axes=-1)(aux)
