"""What the functions of this package read: a batch, or tokens alone. B batch, T places."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from transformer.config import EncoderDecoderConfig, TransformerConfig
from transformer.errors import UserError

Batch = dict[str, Any]


def as_batch(model: Any, given: Any) -> Batch:
    """A batch as `model.forward` reads it.

    Args:
      given: such a batch, which is checked; or for a model of one stack token ids [T] or [B, T].
        Of a decoder's tokens the next ones become `targets`.

    Raises:
      UserError: no tokens, more than the context, or unknown ones; tokens alone for a model that
        reads more than them.
    """
    c = model.config
    if not isinstance(given, Mapping):
        if not isinstance(c, TransformerConfig):
            accepted = 'a batch as its `forward` reads it: a dict of arrays'
            raise UserError(f'tokens alone are not what a {type(model).__name__} reads; {accepted}')
        given = of_tokens(c, given)
    batch = {name: jnp.asarray(x) for name, x in given.items()}
    if isinstance(c, TransformerConfig | EncoderDecoderConfig):
        check_tokens('the text', batch['inputs'], c.context, c.tokens.vocab)
    if isinstance(c, EncoderDecoderConfig):
        check_tokens('the target', batch['decoder_inputs'], c.target_context, c.tokens.vocab)
    return batch


def of_tokens(config: TransformerConfig, tokens: Any) -> Batch:
    """Rows of one document each; a decoder is to say what comes next."""
    tokens_BT = np.atleast_2d(np.asarray(tokens, np.int32))
    batch = row(tokens_BT)
    if config.stack.causal and hasattr(config.head, 'vocab') and tokens_BT.shape[1] > 1:
        weights_BT = np.ones(tokens_BT.shape, np.float32)
        weights_BT[:, -1] = 0
        batch |= {'targets': np.roll(tokens_BT, -1, axis=1), 'weights': weights_BT}
    return batch


def row(tokens_BT: np.ndarray, name: str = '') -> Batch:
    """`inputs`, `positions` and `segment_ids` of rows of one document each."""
    places_BT = np.broadcast_to(np.arange(tokens_BT.shape[1], dtype=np.int32), tokens_BT.shape)
    made = {'inputs': tokens_BT, 'positions': places_BT, 'segment_ids': np.ones_like(tokens_BT)}
    return {f'{name}{key}': x for key, x in made.items()}


def check_tokens(what: str, tokens_BT: Any, context: int, vocab: int) -> None:
    """Raises a `UserError` for tokens that a model cannot read."""
    count = tokens_BT.shape[-1]
    if not 0 < count <= context:
        accepted = f'1 to the context of the model, {context}'
        raise UserError(f'{what} has {count} tokens; accepted: {accepted}')
    bad = np.asarray(tokens_BT)
    bad = bad[(bad < 0) | (bad >= vocab)]
    if bad.size:
        raise UserError(f'{what} holds token {bad[0]}; accepted: 0 to {vocab - 1}')


def chosen(what: str, wanted: int | None, count: int) -> Sequence[int]:
    """One number, or all of them.

    Args:
      what: 'layer' or 'head'.

    Raises:
      UserError: there is no such one; the message says how many there are.
    """
    if wanted is None:
        return range(count)
    if not 0 <= wanted < count:
        raise UserError(f'{what} {wanted}: the model has {count}; accepted: 0 to {count - 1}')
    return (wanted,)
