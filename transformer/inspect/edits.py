"""Runs of a model with something else in one place, many of them as one program.

An edit is three numbers: which site, which head and which place; -1 means all. B batch, N heads,
T places, D width, H head width, E edits, A edits that run at once.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformer.inspect import taps
from transformer.inspect.batches import Batch
from transformer.inspect.taps import STACKS, Site
from transformer.moe import MoEConfig

ALL = -1
NONE = (-2, ALL, ALL)  # the model as it is
MOST = 32  # edits that run at once
TOKENS = 2048  # that run at once
NUMBERS = 1 << 26  # of the largest array of those that run at once


def editable(shapes: dict[Site, Any]) -> dict[Site, Any]:
    """The sites that edits are numbered by, in order."""
    return {site: x for site, x in sorted(shapes.items()) if not site.part.endswith('_weights')}


@functools.partial(jax.jit, static_argnames='model')
def found(model: Any, params: Any, batch: Batch) -> tuple[jax.Array, dict[Site, jax.Array]]:
    """`score` of the model as it is, and what it leaves at every site that can be edited."""
    scores, seen = taps.capture(*taps.apart(model, params), batch, lambda site: True)
    return score(scores, batch), editable(seen)


@functools.partial(jax.jit, static_argnames='model')
def answers(model: Any, params: Any, batch: Batch) -> jax.Array:
    """The likeliest token or class, int32 [B, T] or [B]."""
    return model.apply({'params': params}, batch, method='forward')[0].argmax(-1)


def means(found: dict[Site, jax.Array], batch: Batch) -> dict[Site, jax.Array]:
    """At each site the mean over all places of the batch that are not padding."""
    made = {}
    for site, x in found.items():
        name = 'decoder_segment_ids' if site.stack == 'decoder' else 'segment_ids'
        real = batch[name] > 0 if name in batch else jnp.ones((x.shape[0], x.shape[-2]), bool)
        real = real[:, None, :, None] if x.ndim == 4 else real[:, :, None]
        axes = (0, x.ndim - 2)
        mean = jnp.where(real, x, 0).sum(axes, keepdims=True) / real.sum(axes, keepdims=True)
        made[site] = jnp.broadcast_to(mean.astype(x.dtype), x.shape)
    return made


def score(scores: jax.Array, batch: Batch) -> jax.Array:
    """sum(weight * log p(target)) / sum(weight), nats."""
    log_p = jax.nn.log_softmax(scores.astype(jnp.float32))
    of_targets = jnp.take_along_axis(log_p, batch['targets'][..., None], -1)[..., 0]
    return (of_targets * batch['weights']).sum() / batch['weights'].sum()


def scores(
    model: Any, params: Any, batch: Batch, values: dict[Site, jax.Array], edits_E3: np.ndarray
) -> np.ndarray:
    """`score` after each edit, float32 [E].

    Args:
      values: what edits put in, for the sites in the order of their numbers.
    """
    at_once = _at_once(model, values, len(edits_E3))
    padded = np.concatenate([edits_E3, np.tile(np.int32(NONE), (-len(edits_E3) % at_once, 1))])
    made = [_scores(model, params, batch, values, e_A3) for e_A3 in padded.reshape(-1, at_once, 3)]
    return np.concatenate(made)[: len(edits_E3)]


def _at_once(model: Any, values: dict[Site, jax.Array], count: int) -> int:
    """How many edits are one call: a power of two, so that few programs are compiled."""
    stacks = (getattr(model.config, name, None) for name in STACKS)
    if any(isinstance(b.mlp, MoEConfig) for stack in stacks if stack for b in stack.pattern):
        return 1  # tokens of all rows share the experts, and products by groups have no `vmap`
    shapes = [x.shape for x in values.values()]
    tokens = max(shape[0] * shape[-2] for shape in shapes)
    pairs = max((x[0] * x[1] * x[2] ** 2 for x in shapes if len(x) == 4), default=1)
    largest = max(pairs, tokens * getattr(model.config.head, 'vocab', 1))
    most = max(1, min(count, MOST, TOKENS // tokens, NUMBERS // largest))
    return 1 << (most.bit_length() - 1)


@functools.partial(jax.jit, static_argnames='model')
def _scores(model, params, batch: Batch, values: dict, edits_A3: jax.Array) -> jax.Array:
    model, params = taps.apart(model, params)
    numbers = {site: number for number, site in enumerate(values)}

    def one(edit_3):
        def visit(site, x):
            if site not in numbers:
                return x
            return jnp.where(_here(edit_3, numbers[site], x), values[site], x)

        return score(taps.run(model, params, batch, visit), batch)

    return one(edits_A3[0])[None] if len(edits_A3) == 1 else jax.vmap(one)(edits_A3)


def _here(edit_3: jax.Array, number: int, x: jax.Array) -> jax.Array:
    """Where an edit puts something else, as a mask for x."""
    site, head, place = edit_3
    on = (site == number) | (site == ALL)
    place_T = (place == ALL) | (place == jnp.arange(x.shape[-2]))
    if x.ndim < 4:
        return (on & place_T)[None, :, None]
    head_N = (head == ALL) | (head == jnp.arange(x.shape[1]))
    return (on & head_N[:, None] & place_T[None])[None, :, :, None]
