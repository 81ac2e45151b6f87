"""Losses, in nats. C classes; for language models these are the tokens."""

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
      scores_C: float32 [..., C].
      targets: int32 [...].
      weights: float32 [...].

    Returns:
      Two float32 scalars.
    """
    nats = optax.softmax_cross_entropy_with_integer_labels(scores_C, targets)
    total = (nats * weights).sum()
    if not smoothing:
        return total, total
    uniform = jax.nn.logsumexp(scores_C, -1) - scores_C.mean(-1)
    return (1 - smoothing) * total + smoothing * (uniform * weights).sum(), total


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
