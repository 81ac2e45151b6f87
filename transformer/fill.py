"""What a masked language model would put in the gaps. B texts, T tokens, V vocabulary."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from transformer.context import Context
from transformer.errors import UserError


def fill(
    model: Any, params: Any, texts: Sequence[Sequence[int]], mask: int, count: int = 5
) -> list[list[list[tuple[int, float]]]]:
    """The likeliest tokens for every [MASK] of every text, each gap on its own.

    Args:
      texts: token ids; gaps are the token `mask`.
      count: candidates a gap.

    Returns:
      For each text, for each gap from the left, `count` pairs (token, probability), best first.

    Raises:
      UserError: a text without a gap, or longer than the context.
    """
    context = model.config.context
    for i, text in enumerate(texts):
        if mask not in text:
            raise UserError(f'text {i + 1} has no [MASK]; accepted: at least one')
        if len(text) > context:
            accepted = f'at most the context of the model, {context}'
            raise UserError(f'text {i + 1} has {len(text)} tokens; accepted: {accepted}')
    slots = min(1 << (max(map(len, texts)) - 1).bit_length(), context)
    tokens_BT = np.zeros((len(texts), slots), np.int32)
    segments_BT = np.zeros_like(tokens_BT)
    for i, text in enumerate(texts):
        tokens_BT[i, : len(text)] = text
        segments_BT[i, : len(text)] = 1

    @jax.jit
    def best(params, tokens_BT, segments_BT):
        ctx = Context.of(tokens_BT, segments_BT=segments_BT)
        scores_BTV, _, _ = model.apply({'params': params}, tokens_BT, ctx)
        return jax.lax.top_k(jax.nn.softmax(scores_BTV), min(count, scores_BTV.shape[-1]))

    chances, ids = (np.asarray(x) for x in best(params, tokens_BT, segments_BT))
    return [
        [
            [(int(t), float(p)) for t, p in zip(ids[b, at], chances[b, at])]
            for at, token in enumerate(text)
            if token == mask
        ]
        for b, text in enumerate(texts)
    ]
