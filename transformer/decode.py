"""Generation over the cache contract: the loop never learns what a mixer keeps.

B prompts, P slots of the padded prompts, M new tokens, V vocabulary. Prompts of different lengths
are padded on the left, with segment 0, so that all rows write the same slot.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from transformer import writer
from transformer.context import Context
from transformer.errors import UserError
from transformer.sampling import Sampling, sample
from transformer.scores import Adjust, Ends, is_end


@flax.struct.dataclass
class State:
    """Where a generation stands.

    Attributes:
      logits_BV: scores of the next token.
      caches: of the model.
      positions_B: of the next token.
      made: tokens made so far, a scalar.
      done_B: rows that have ended.
      tokens_BM: what was made; -1 where nothing was.
    """

    logits_BV: jax.Array
    caches: Any
    positions_B: jax.Array
    made: jax.Array
    done_B: jax.Array
    tokens_BM: jax.Array

    @classmethod
    def of(cls, logits_BV: jax.Array, caches: Any, positions_B: jax.Array, room: int) -> 'State':
        """The state before the first of up to `room` tokens."""
        B = logits_BV.shape[0]
        nothing_BM = jnp.full((B, room), -1, jnp.int32)
        return cls(logits_BV, caches, positions_B, jnp.int32(0), jnp.zeros(B, bool), nothing_BM)


class Generator:
    """Continues prompts with a decoder.

    Args:
      model: a decoder with `hidden`, `logits` and `init_cache`.
      params: its parameters.
      end: the token that ends a document, or several of them, or None.
      sampling: how tokens are chosen.
      prefix: whether prompts are read in both directions, as a prefix language model is trained to.
        What is read again because the context is full is a prompt, too.
    """

    def __init__(
        self,
        model: Any,
        params: Any,
        end: Ends,
        sampling: Sampling,
        prefix: bool = False,
    ):
        self._model, self._params = writer.ready(model, params)
        self._end, self._sampling, self._prefix = end, sampling, prefix
        self._ends = end if isinstance(end, tuple) else (end,)
        self._context = model.config.context
        self._vocab = model.config.tokens.vocab

    def stream(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, seed: int = 0, every: int = 1
    ) -> Iterator[list[list[int]]]:
        """Yields the new tokens of each row, up to `every` a time, the end marker left out.

        A row depends on its own prompt, its place and the seed, not on the others. Where a row
        fills the model's context, the model reads on from the last half of it.

        Raises:
          UserError: a prompt that is empty, longer than the context, or has an unknown token.
        """
        self._check(prompts, max_tokens)
        texts = [list(p) for p in prompts]
        key = jax.random.key(seed)
        done, made = np.zeros(len(texts), bool), 0
        while made < max_tokens and not done.all():
            longest = max(len(t) for t in texts)
            if longest > self._context - (made > 0):
                texts = [t[-(self._context // 2) or -1 :] for t in texts]
                longest = max(len(t) for t in texts)
            # Tokens that fit: the last one is made, but need not be read.
            room = min(max_tokens - made, self._context - longest + 1)
            state = self._start(texts, room, done)
            left = room
            # More may be made than was asked for: it is shown all the same, in its turn.
            while left and not (np.all(state.done_B) and state.made <= room - left):
                step = min(every, left)
                before = room - left
                state = self._more(key, state, made, before + step, room)
                block = np.asarray(state.tokens_BM)[:, before : before + step]
                new = [[int(t) for t in row if t >= 0] for row in block]
                for text, row in zip(texts, new):
                    text += row
                yield [[t for t in row if t not in self._ends] for row in new]
                left -= step
            done, made = np.asarray(state.done_B), made + room

    def generate(
        self, prompts: Sequence[Sequence[int]], max_tokens: int, seed: int = 0
    ) -> list[list[int]]:
        """The new tokens of each prompt, all at once."""
        rows: list[list[int]] = [[] for _ in prompts]
        for new in self.stream(prompts, max_tokens, seed, every=max_tokens):
            for row, tokens in zip(rows, new):
                row += tokens
        return rows

    def _check(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> None:
        if max_tokens < 1:
            raise UserError(f'max_tokens {max_tokens} cannot be used; accepted: at least 1')
        if not prompts:
            raise UserError('there is no prompt; accepted: at least one')
        for i, prompt in enumerate(prompts):
            if not len(prompt):
                raise UserError(f'prompt {i + 1} is empty; accepted: at least one token')
            if len(prompt) > self._context:
                raise UserError(
                    f'prompt {i + 1} has {len(prompt)} tokens; accepted: at most the context of '
                    f'the model, {self._context}'
                )
            bad = [t for t in prompt if not 0 <= t < self._vocab]
            if bad:
                raise UserError(
                    f'prompt {i + 1} holds token {bad[0]}, which the model lacks; accepted: '
                    f'0 to {self._vocab - 1}'
                )

    def _start(self, texts: list[list[int]], room: int, done: np.ndarray) -> State:
        """The state before up to `room` tokens."""
        return self._read(self._model, self._params, texts, room, done)

    def _more(self, key: jax.Array, state: State, before: int, until: int, room: int) -> State:
        """The state after at least `until` of its `room` tokens, or when all rows have ended."""
        del room
        how = {'model': self._model, 'sampling': self._sampling, 'end': self._end}
        return _advance(self._params, key, state, before, until - state.made, **how)

    def _read(self, model, params, texts, room: int, done: np.ndarray, extra: int = 0) -> State:
        """The state of a model after texts; `extra` places are there besides."""
        longest = max(len(t) for t in texts)
        # Powers of two: prompts of similar lengths share one compiled program.
        slots = min(1 << (longest - 1).bit_length(), self._context)
        tokens_BP = np.zeros((len(texts), slots), np.int32)
        segments_BP = np.zeros((len(texts), slots), np.int32)
        for i, text in enumerate(texts):
            tokens_BP[i, slots - len(text) :] = text
            segments_BP[i, slots - len(text) :] = 1
        new = (1 << (room - 1).bit_length()) + extra
        how = {'model': model, 'prefix': self._prefix, 'slots': slots + new, 'length': new}
        state = _prefill(params, tokens_BP, segments_BP, **how)
        return state.replace(done_B=jnp.asarray(done))


def prefill(model, prefix, params, tokens_BP, segments_BP, *, slots: int, length: int) -> State:
    """The state after prompts, padded on the left with segment 0.

    Args:
      slots: of the caches.
      length: tokens that there is room for.
    """
    B = tokens_BP.shape[0]
    # The places of a prompt's own tokens: padding does not count.
    positions_BP = jnp.maximum(jnp.cumsum(segments_BP, 1) - 1, 0)
    prefix_BP = segments_BP > 0 if prefix else None
    ctx = Context.of(tokens_BP, positions_BP, segments_BP, prefix_BT=prefix_BP)
    caches = model.init_cache(B, slots)
    variables = {'params': params}
    x_BTD, caches, _ = model.apply(variables, tokens_BP, ctx, caches, method='hidden')
    logits_B1V = model.apply(variables, x_BTD[:, -1:], ctx, method='logits')
    return State.of(logits_B1V[:, 0], caches, segments_BP.sum(1), length)


def advance(
    model: Any,
    sampling: Sampling,
    end: Ends,
    params: Any,
    key: jax.Array,
    state: State,
    before: Any,
    n: Any,
    adjust: Adjust | None = None,
) -> State:
    """`n` more tokens a row, or fewer if all rows end.

    Args:
      end: the token that ends a text, or several of them, or None.
      before: tokens made ahead of this state; a token's random number depends on its place.
      adjust: what changes the scores first.
    """
    B = state.done_B.shape[0]

    def more(carry):
        i, state = carry
        return (i < n) & ~state.done_B.all()

    def one(carry):
        i, state = carry
        at = jax.random.fold_in(key, before + state.made)
        keys_B = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(at, jnp.arange(B))
        scores_BV = state.logits_BV
        if adjust is not None:
            scores_BV = adjust(scores_BV, state.tokens_BM, state.made)
        token_B = sample(scores_BV, keys_B, sampling)
        kept_B = jnp.where(state.done_B, -1, token_B)
        tokens_BM = jax.lax.dynamic_update_slice(state.tokens_BM, kept_B[:, None], (0, state.made))
        done_B = state.done_B | is_end(token_B, end)
        inputs_B1 = token_B[:, None]
        ctx = Context.of(inputs_B1, state.positions_B[:, None])
        logits_B1V, caches, _ = model.apply({'params': params}, inputs_B1, ctx, state.caches)
        state = State(
            logits_B1V[:, 0], caches, state.positions_B + 1, state.made + 1, done_B, tokens_BM
        )
        return i + 1, state

    return jax.lax.while_loop(more, one, (jnp.int32(0), state))[1]


# Compiled once for all generators of equal models.
@functools.partial(jax.jit, static_argnames=('model', 'prefix', 'slots', 'length'))
def _prefill(params, tokens_BP, segments_BP, *, model, prefix, slots, length) -> State:
    return prefill(model, prefix, params, tokens_BP, segments_BP, slots=slots, length=length)


# n is traced: one compilation serves streaming token by token and whole completions.
@functools.partial(jax.jit, static_argnames=('model', 'sampling', 'end'), donate_argnames='state')
def _advance(params, key, state, before, n, *, model, sampling, end) -> State:
    return advance(model, sampling, end, params, key, state, before, n)
