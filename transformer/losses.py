"""Losses, in nats. B batch, T length, V vocabulary."""

import jax
import optax


def next_token(logits_BTV: jax.Array, targets_BT: jax.Array, weights_BT: jax.Array) -> jax.Array:
    """Sum over the weighted tokens of -log softmax(logits)[target]; a float32 scalar."""
    nats_BT = optax.softmax_cross_entropy_with_integer_labels(logits_BTV, targets_BT)
    return (nats_BT * weights_BT).sum()
