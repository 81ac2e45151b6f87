"""The logit lens: what the model would say after each layer, nostalgebraist 2020,
https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens.

L layers, B batch, T places, D width, V tokens (or classes), K of the likeliest.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformer.errors import UserError
from transformer.inspect import taps
from transformer.inspect.batches import as_batch


@dataclasses.dataclass(frozen=True)
class Lens:
    """What would be said after no layer at all (0) up to all of them (L).

    A model that gives classes of whole sequences has no axis T.

    Attributes:
      tokens_LBTK: int32, the K likeliest, [L + 1, B, T, K].
      chances_LBTK: their probabilities.
      entropy_LBT: nats.
      divergence_LBT: KL(last layer's distribution || this one's), nats.
    """

    tokens_LBTK: np.ndarray
    chances_LBTK: np.ndarray
    entropy_LBT: np.ndarray
    divergence_LBT: np.ndarray


def logit_lens(model: Any, params: Any, tokens: Any, top: int = 5) -> Lens:
    """softmax(head(norm(x_l))), x_l the residual stream after layer l: the head reads it early.

    The last norm, the head and what lies between belong to it; of an encoder-decoder it is the
    decoder's stack.

    Args:
      tokens: ids [T] or [B, T], or a batch as `model.forward` reads it.
      top: K.

    Raises:
      UserError: a model without a head that scores; tokens that the model cannot read.
    """
    check_head(model)
    found = _lens(model, params, as_batch(model, tokens), top)
    return Lens(*(np.asarray(x) for x in found))


def lens_logits(model: Any, params: Any, tokens: Any) -> jax.Array:
    """The scores themselves, float32 [L + 1, B, T, V]: large where V is; arguments as of the lens.

    The last ones are the model's own.
    """
    check_head(model)
    return _logits(model, params, as_batch(model, tokens))


def check_head(model: Any) -> None:
    """Raises a `UserError` where the model scores neither tokens nor classes."""
    head = model.config.head
    if head is None or not (hasattr(head, 'vocab') or getattr(head, 'classes', 0)):
        raise UserError(
            'the model has no head that scores tokens or classes; accepted: one that has'
        )


@functools.partial(jax.jit, static_argnames='model')
def _logits(model: Any, params: Any, batch: Any) -> jax.Array:
    return jax.lax.map(*_through(model, params, batch))


@functools.partial(jax.jit, static_argnames=('model', 'top'))
def _lens(model: Any, params: Any, batch: Any, top: int) -> tuple[jax.Array, ...]:
    read, x_LBTD = _through(model, params, batch)
    last_BTV = jax.nn.log_softmax(read(x_LBTD[-1]))

    def summed_up(x_BTD):
        log_BTV = jax.nn.log_softmax(read(x_BTD))
        chances_BTK, tokens_BTK = jax.lax.top_k(jnp.exp(log_BTV), min(top, log_BTV.shape[-1]))
        entropy_BT = -(jnp.exp(log_BTV) * log_BTV).sum(-1)
        divergence_BT = (jnp.exp(last_BTV) * (last_BTV - log_BTV)).sum(-1)
        return tokens_BTK, chances_BTK, entropy_BT, divergence_BT

    return jax.lax.map(summed_up, x_LBTD)  # one layer's scores at a time


def _through(model: Any, params: Any, batch: Any) -> tuple[Any, jax.Array]:
    """What makes scores of a residual stream x_BTD, and that after every layer, x_LBTD.

    The scores are the model's where its last block hands on x instead; the compiler leaves out the
    blocks, whose work nobody reads.
    """
    model, params = taps.apart(model, params)
    name = 'decoder' if hasattr(model.config, 'decoder') else 'stack'
    layers = getattr(model.config, name).layers
    wanted = lambda site: site.stack == name and site.part == 'residual'  # noqa: E731
    _, found = taps.capture(model, params, batch, wanted)
    last = taps.Site(name, layers - 1, 'residual')

    def read(x_BTD):
        return taps.run(model, params, batch, lambda site, y: x_BTD if site == last else y)

    return read, jnp.stack([found[last._replace(layer=i)] for i in range(-1, layers)])
