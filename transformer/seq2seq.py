"""Texts from texts by an encoder-decoder: the source is read once, then tokens follow one by one.

B rows, S slots of the padded sources, M new tokens.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformer import beam, writer
from transformer.beam import Beam
from transformer.context import Context
from transformer.decode import State, advance
from transformer.errors import UserError
from transformer.sampling import Sampling


class Seq2SeqGenerator:
    """Writes a target for each source.

    Args:
      model: an `EncoderDecoder`.
      params: its parameters.
      start: the token that the decoder reads first.
      end: the token that ends a target.
      how: a `Sampling` or a `Beam`.
    """

    def __init__(self, model: Any, params: Any, start: int, end: int, how: Sampling | Beam):
        self._model, self._params = writer.ready(model, params)
        self._start, self._end, self._how = start, end, how

    def generate(
        self, sources: Sequence[Sequence[int]], max_tokens: int = 0, seed: int = 0
    ) -> list[list[int]]:
        """The target tokens of each source, the end left out.

        Args:
          max_tokens: at most so many; 0 means the model's target context.

        Raises:
          UserError: a source that is empty, longer than the context, or has an unknown token.
        """
        c = self._model.config
        for i, source in enumerate(sources):
            if not 0 < len(source) <= c.context:
                accepted = f'1 to the context of the model, {c.context}'
                raise UserError(f'source {i + 1} has {len(source)} tokens; accepted: {accepted}')
            bad = [t for t in source if not 0 <= t < c.tokens.vocab]
            if bad:
                accepted = f'0 to {c.tokens.vocab - 1}'
                raise UserError(f'source {i + 1} holds token {bad[0]}; accepted: {accepted}')
        if max_tokens < 0 or max_tokens > c.target_context:
            accepted = f'1 to the target context of the model, {c.target_context}'
            raise UserError(f'max_tokens {max_tokens} cannot be used; accepted: {accepted}')
        # Powers of two: sources of similar lengths share one compiled program.
        slots = 1 << (max(len(s) for s in sources) - 1).bit_length()
        tokens_BS = np.zeros((len(sources), min(slots, c.context)), np.int32)
        segments_BS = np.zeros_like(tokens_BS)
        for i, source in enumerate(sources):
            tokens_BS[i, : len(source)] = source
            segments_BS[i, : len(source)] = 1
        room = max_tokens or c.target_context
        key = jax.random.key(seed)
        how = {'model': self._model, 'start': self._start, 'end': self._end, 'how': self._how}
        rows = np.asarray(_write(self._params, key, tokens_BS, segments_BS, room=room, **how))
        return [[int(t) for t in row if t >= 0] for row in rows]


@functools.partial(jax.jit, static_argnames=('model', 'start', 'end', 'how', 'room'))
def _write(params, key, tokens_BS, segments_BS, *, model, start, end, how, room) -> jax.Array:
    """The target tokens, [B, M], -1 where there is none."""
    start_B1 = jnp.full((tokens_BS.shape[0], 1), start, jnp.int32)
    state = begin(model, params, tokens_BS, segments_BS, start_B1, room)
    if isinstance(how, Beam):
        tokens_BM = beam.search(model, params, state, end, how)[0][:, 0]
    else:
        tokens_BM = advance(model, how, end, params, key, state, 0, room).tokens_BM
    return jnp.where(tokens_BM == end, -1, tokens_BM)


def begin(model, params, tokens_BS, segments_BS, first_BP, room: int) -> State:
    """The state after the decoder has read `first_BP`, none of them padding."""
    (B, S), P = tokens_BS.shape, first_BP.shape[1]
    variables = {'params': params}
    source = Context.of(tokens_BS, segments_BT=segments_BS)
    memory_BSD, _ = model.apply(variables, tokens_BS, source, method='encode')
    ctx = Context.of(first_BP, memory_BSD=memory_BSD, memory_segments_BS=segments_BS)
    caches = model.init_cache(B, room + P, S)
    x_BPD, caches, _ = model.apply(variables, first_BP, ctx, caches, method='hidden')
    logits_B1V = model.apply(variables, x_BPD[:, -1:], ctx, method='logits')
    return State.of(logits_B1V[:, 0], caches, jnp.full(B, P, jnp.int32), room)
