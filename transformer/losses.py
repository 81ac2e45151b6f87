"""Losses, in nats. C classes; for language models these are the tokens.

Scores of tokens are often the largest array of a training step. Where they are large, the loss
makes them chunk by chunk (`ops.cross_entropy`), from what the model's `unscored` returns.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from transformer.ops.cross_entropy import device_share, linear_cross_entropy, linear_report

SMALL = 2**26  # bytes of a device: scores that take no more are made at once
LARGE = 2**30  # ... those of a chunk, at most
PARTS = 16  # chunks, where that makes them neither too large nor too small
FEWEST = 256  # tokens of a chunk: each adds to the whole gradient of the table


@dataclasses.dataclass(frozen=True)
class Way:
    """How a batch becomes losses.

    Attributes:
      method: of the model: (batch, rows_B, train) -> (found, reports).
      loss: (found, targets, weights, smoothing) -> what is minimised, and each row's nats.
      report: (found, targets, weights) -> each row's nats, and the weight of what is right there.
    """

    method: str
    loss: Callable
    report: Callable


def way(head: Any, shape: tuple[int, ...], chunk: int = 0) -> Way:
    """How to score a batch on the mesh in force.

    Args:
      head: config of the model's head; those that score tokens have `vocab`.
      shape: of the targets, [B, T] for tokens.
      chunk: tokens that a device scores at a time, `config.loss_chunk`. 0 chooses: all, where their
        scores take at most `SMALL`; otherwise a `PARTS`th, but at least `FEWEST` and no more than
        take `LARGE`.
    """
    vocab = getattr(head, 'vocab', 0)
    if not vocab:
        return WHOLE
    tokens, part = device_share(*shape, vocab)
    if not chunk and 4 * part * tokens > SMALL:
        chunk = max(1, min(max(tokens // PARTS, FEWEST), LARGE // (4 * part)))
    return _by_chunks(chunk) if 0 < chunk < tokens else WHOLE


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


def report(
    scores_C: jax.Array, targets: jax.Array, weights: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Each row's nats, and the weight of what has the highest score at its target; float32 [B].

    Args: as of `cross_entropy`.
    """
    _, nats_B = cross_entropy(scores_C, targets, weights)
    right = weights * (scores_C.argmax(-1) == targets)
    return nats_B, right.sum(tuple(range(1, right.ndim)))


WHOLE = Way('forward', cross_entropy, report)


def _by_chunks(chunk: int) -> Way:
    fix = functools.partial(functools.partial, chunk=chunk)
    return Way('unscored', fix(linear_cross_entropy), fix(linear_report))


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


def parts(weights_BT: jax.Array, count: int) -> list[jax.Array]:
    """The weights of each of `count` equal parts of the rows, 0 elsewhere; float32 [B, T] each.

    Raises:
      ValueError: more parts than places.
    """
    T = weights_BT.shape[-1]
    if count > T:
        raise ValueError(f'{count} parts of rows of {T} tokens; accepted: at most {T}')
    part_T = jnp.arange(T) * count // T
    return [jnp.where((part_T == k)[None], weights_BT, 0) for k in range(count)]


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
