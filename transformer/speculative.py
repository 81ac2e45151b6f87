"""Speculative decoding, https://arxiv.org/abs/2211.17192: a small model proposes, the model checks.

Each round the draft writes k tokens one by one and the model reads them in one pass. A proposal x
is accepted with probability min(1, p(x) / q(x)), p the model's and q the draft's; the first one
that is not is drawn from max(p - q, 0) instead. So the text is the model's own: at temperature 0
token for token, but for scores that are equal up to rounding, else in distribution.

All rows of a batch share the slots of the caches, so they go on together, by as many tokens as the
row with the fewest accepted; what another row had accepted next is drawn already, and kept. Caches
are rolled back by their length: what lies beyond is not seen, and written over.

B rows, k tokens of the draft, X = k + 1, V vocabulary, M places.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformer import registry, writer
from transformer.config import TransformerConfig
from transformer.context import Context
from transformer.decode import Generator, State
from transformer.errors import UserError
from transformer.mixers.attention import AttentionCache
from transformer.sampling import Sampling, filtered
from transformer.scores import Ends, is_end


class SpeculativeGenerator(Generator):
    """A `Generator` with a draft model.

    What a row draws depends on the others, which say how far all go on; its distribution does not.

    Args:
      draft: a decoder with the same vocabulary.
      draft_params: its parameters.
      draft_tokens: k, how many tokens it proposes at a time.

    Raises:
      UserError: k below 1; a draft of another vocabulary or a shorter context; a model or a draft
        with layers whose caches cannot be rolled back.
    """

    def __init__(
        self,
        model: Any,
        params: Any,
        end: Ends,
        sampling: Sampling,
        prefix: bool = False,
        *,
        draft: Any,
        draft_params: Any,
        draft_tokens: int = 4,
    ):
        if draft_tokens < 1:
            raise UserError(f'draft_tokens {draft_tokens} cannot be used; accepted: at least 1')
        for name, of in (('model', model), ('draft', draft)):
            _check_caches(name, of)
        own, other = model.config.tokens.vocab, draft.config.tokens.vocab
        if own != other:
            raise UserError(f'the draft has a vocabulary of {other} tokens; accepted: {own}')
        own, other = model.config.context, draft.config.context
        if other < own:
            raise UserError(f'the draft has a context of {other}; accepted: at least {own}')
        super().__init__(model, params, end, sampling, prefix)
        self._draft, self._draft_params = writer.ready(draft, draft_params)
        self._count = draft_tokens

    def _start(self, texts: list[list[int]], room: int, done: np.ndarray) -> State:
        state = self._read(self._model, self._params, texts, room, done, self._count + 1)
        draft = self._read(self._draft, self._draft_params, texts, room, done, self._count + 1)
        scores_BV = state.logits_BV
        if self._sampling.temperature:
            scores_BV = filtered(scores_BV, self._sampling)
        return state.replace(logits_BV=scores_BV, caches=(state.caches, draft.caches))

    def _more(self, key: jax.Array, state: State, before: int, until: int, room: int) -> State:
        return _advance(
            (self._params, self._draft_params),
            key,
            state,
            jnp.int32(before),
            jnp.int32(until),
            jnp.int32(room),
            models=(self._model, self._draft),
            count=self._count,
            sampling=self._sampling,
            end=self._end,
        )


def _check_caches(name: str, model: Any) -> None:
    """Raises a UserError where the model is no decoder, or a layer's cache is not one of slots."""
    c = model.config
    if not isinstance(c, TransformerConfig) or not c.stack.causal or not hasattr(c.head, 'vocab'):
        raise UserError(f'the {name} writes no text; accepted: a decoder that scores tokens')
    for block in model.config.stack.pattern:
        if block.mixer is None:
            continue
        mixer = registry.build(block.mixer, width=model.config.stack.width, parent=None)
        if not isinstance(jax.eval_shape(lambda m=mixer: m.init_cache(1, 1)), AttentionCache):
            known = {config: name for name, config in registry.names().items()}
            kind = known.get(type(block.mixer), type(block.mixer).__name__)
            raise UserError(
                f'the {name} has layers of {kind!r}, whose state cannot be rolled back to an '
                "earlier token; accepted: layers of 'attention'"
            )


def _rolled(caches: Any, back: jax.Array) -> Any:
    """The caches without the last `back` slots."""
    return jax.tree.map(
        lambda c: c.replace(length=c.length - back),
        caches,
        is_leaf=lambda c: isinstance(c, AttentionCache),
    )


@functools.partial(
    jax.jit, static_argnames=('models', 'count', 'sampling', 'end'), donate_argnames='state'
)
def _advance(params, key, state, before, until, room, *, models, count, sampling, end) -> State:
    """Rounds until `until` tokens are made, or all rows have ended.

    Args:
      params: of the model and of the draft; so are the state's caches. Its `logits_BV` are the
        scores that the next token is drawn from, filtered already.
      before: tokens made ahead of this state.
      room: tokens that count; M is larger by what a round may write beyond.
    """

    def more(state):
        return (state.made < until) & ~state.done_B.all()

    def one(state):
        at = jax.random.fold_in(key, before + state.made)
        return _round(models, params, at, state, room, count, sampling, end)

    return jax.lax.while_loop(more, one, state)


def _round(models, params, key, state: State, room, k: int, how: Sampling, end: Ends) -> State:
    """One token that is sure, k proposals, and those of them that are accepted."""
    (model, draft), (caches, draft_caches) = models, state.caches
    B = state.done_B.shape[0]
    keys_B = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, jnp.arange(B))
    # Places beyond the context are read, but nothing that is read there counts.
    at_BX = jnp.minimum(
        state.positions_B[:, None] + jnp.arange(k + 1)[None], model.config.context - 1
    )

    def propose(carry, i):
        scores_BV, caches = carry
        token_B = _drawn(_keys(keys_B, i), scores_BV, how)
        at_B1 = jax.lax.dynamic_slice_in_dim(at_BX, i, 1, 1)
        ctx = Context.of(token_B[:, None], at_B1)
        read = draft.apply({'params': params[1]}, token_B[:, None], ctx, caches)
        new_BV = _scores(read[0], how)[:, 0]
        return (new_BV, read[1]), (token_B, new_BV)

    first = (state.logits_BV, draft_caches)
    (_, draft_caches), (tokens_XB, draft_XBV) = jax.lax.scan(propose, first, jnp.arange(k + 1))
    tokens_BX, draft_BkV = tokens_XB.T, draft_XBV[:k].swapaxes(0, 1)
    ctx = Context.of(tokens_BX, at_BX)
    logits_BXV, caches, _ = model.apply({'params': params[0]}, tokens_BX, ctx, caches)
    scores_BXV = _scores(logits_BXV, how)

    accepted_Bk, instead_BXV = _judged(_keys(keys_B, k + 1), tokens_BX, draft_BkV, scores_BXV, how)
    run_B = jnp.cumprod(accepted_Bk, 1).sum(1)
    n = jnp.where(state.done_B, k, run_B).min()
    # The next token: what was accepted there, or else what the model would have instead.
    scores_BV = jax.lax.dynamic_index_in_dim(instead_BXV, n, 1, keepdims=False)
    ahead_B = jax.lax.dynamic_index_in_dim(tokens_BX, jnp.minimum(n + 1, k), 1, keepdims=False)
    only_BV = jnp.where(jnp.arange(scores_BV.shape[1])[None] == ahead_B[:, None], 0.0, -jnp.inf)
    scores_BV = jnp.where((run_B > n)[:, None], only_BV, scores_BV)

    place_1X = jnp.arange(k + 1)[None]
    counts_BX = (place_1X <= n) & (state.made + place_1X < room) & ~state.done_B[:, None]
    ends_BX = is_end(tokens_BX, end) & counts_BX
    kept_BX = counts_BX & (jnp.cumsum(ends_BX, 1) - ends_BX == 0)
    new_BX = jnp.where(kept_BX, tokens_BX, -1)
    return State(
        scores_BV,
        (_rolled(caches, k - n), _rolled(draft_caches, k - n)),
        state.positions_B + n + 1,
        state.made + n + 1,
        state.done_B | ends_BX.any(1),
        jax.lax.dynamic_update_slice(state.tokens_BM, new_BX, (0, state.made)),
    )


def _judged(keys_B, tokens_BX, draft_BkV, scores_BXV, how: Sampling):
    """Which proposals are accepted, and the scores of what comes in the place of each if it is not.

    After the last proposal there is one place more, whose token is the model's.
    """
    proposed_Bk1 = tokens_BX[:, 1:, None]
    if not how.temperature:
        best_Bk = scores_BXV[:, :-1].argmax(-1)
        return proposed_Bk1[..., 0] == best_Bk, scores_BXV
    p_BXV, q_BkV = jax.nn.softmax(scores_BXV), jax.nn.softmax(draft_BkV)
    of = lambda x_BkV: jnp.take_along_axis(x_BkV, proposed_Bk1, 2)[..., 0]  # noqa: E731
    drawn_Bk = jax.vmap(lambda key: jax.random.uniform(key, tokens_BX.shape[1:]))(keys_B)[:, 1:]
    accepted_Bk = drawn_Bk * of(q_BkV) < of(p_BXV[:, :-1])
    left_BXV = jnp.maximum(p_BXV - jnp.pad(q_BkV, ((0, 0), (0, 1), (0, 0))), 0)
    # Where p equals q but for rounding nothing is left, and nothing is refused.
    some_BX1 = left_BXV.sum(-1, keepdims=True) > 0
    return accepted_Bk, jnp.log(jnp.where(some_BX1, left_BXV, p_BXV))


def _drawn(keys_B: jax.Array, scores_BV: jax.Array, how: Sampling) -> jax.Array:
    if not how.temperature:
        return scores_BV.argmax(-1).astype(jnp.int32)
    return jax.vmap(jax.random.categorical)(keys_B, scores_BV).astype(jnp.int32)


def _scores(logits_BTV: jax.Array, how: Sampling) -> jax.Array:
    """What tokens are drawn from."""
    if not how.temperature:
        return logits_BTV
    B, T, V = logits_BTV.shape
    return filtered(logits_BTV.reshape(B * T, V), how).reshape(B, T, V)


def _keys(keys_B: jax.Array, i: Any) -> jax.Array:
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys_B, i)
