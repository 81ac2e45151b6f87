"""Beam search over the cache contract. B rows, W beams a row, R = B * W, V vocabulary, M places."""

import dataclasses
import math
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from transformer.context import Context
from transformer.decode import State
from transformer.errors import UserError
from transformer.scores import Adjust, Ends, is_end

WORST = -1e9
# What log p of n tokens is divided by.
FORMS = {
    'gnmt': lambda n, alpha: ((5.0 + n) / 6.0) ** alpha,  # https://arxiv.org/abs/1609.08144
    'power': lambda n, alpha: 1.0 * n**alpha,
}
STOPS = ('certain', 'guess', 'full')


@dataclasses.dataclass(frozen=True)
class Beam:
    """Attributes:

    width: W, hypotheses that are kept.
    length_penalty: alpha; below 0 (short texts win) only with form 'power'.
    form: what a hypothesis of n tokens has as its score, a key of `FORMS`.
    stop: when a row is given up; in any case after M tokens.
      'certain': the best live hypothesis, were it to become as long as helps it most at the same
        log p, would be no better than the worst of W that have ended.
      'guess': as it is now, it is no better. It may be that it would have become so.
      'full': as 'guess', or W have ended.
    """

    width: int = 4
    length_penalty: float = 0.6
    form: str = 'gnmt'
    stop: str = 'certain'

    def __post_init__(self):
        if self.width < 1:
            raise UserError(f'beam {self.width} cannot be used; accepted: at least 1')
        for name, accepted in (('form', tuple(FORMS)), ('stop', STOPS)):
            value = getattr(self, name)
            if value not in accepted:
                raise UserError(f'{name} {value!r} cannot be used; accepted: {", ".join(accepted)}')
        value, least = self.length_penalty, 0 if self.form == 'gnmt' else -float('inf')
        if not (least <= value < float('inf') and math.isfinite(value)):
            accepted = 'at least 0' if self.form == 'gnmt' else 'a finite number'
            raise UserError(f'length_penalty {value} cannot be used; accepted: {accepted}')


@flax.struct.dataclass
class _Beams:
    made: jax.Array  # tokens made so far, a scalar
    logits_RV: jax.Array
    caches: Any
    positions_R: jax.Array
    live_BW: jax.Array  # log p of hypotheses that go on
    live_BWM: jax.Array
    done_BW: jax.Array  # scores of those that have ended
    done_BWM: jax.Array
    open_B: jax.Array  # rows that are not given up


def search(
    model: Any, params: Any, state: State, end: Ends, how: Beam, adjust: Adjust | None = None
) -> tuple[jax.Array, jax.Array]:
    """The best hypotheses of each row, best first.

    Args:
      model: ready to write (`writer.ready`).
      state: after the prompts; its `tokens_BM` says how many tokens there is room for.
      end: the token that ends a text, or several of them, or None. A text that does not end within
        M tokens counts as it is.
      adjust: what changes log p of the next token of each of R rows.

    Returns:
      tokens_BWM (int32, with the end, -1 after it) and scores_BW.
    """
    B, V = state.logits_BV.shape
    W, M = how.width, state.tokens_BM.shape[1]
    ends = 1 if end is None or isinstance(end, int) else max(1, len(end))

    def penalty(length):
        return FORMS[how.form](jnp.float32(length), how.length_penalty)

    def best(scores_BX, tokens_BXM, count):
        scores_BC, at_BC = jax.lax.top_k(scores_BX, count)
        return scores_BC, jnp.take_along_axis(tokens_BXM, at_BC[..., None], 1)

    def rows(x):
        """[B, ...] -> [R, ...], each row W times."""
        return jnp.repeat(x, W, axis=0)

    def full(done_BW):
        """Rows with W hypotheses that have ended."""
        return (done_BW > WORST / 2).all(1)

    def hope(live_BW, done_BW, made):
        """Rows whose live hypotheses may still count."""
        # log p only falls, and a penalty that grows divides it by at most that of the full length.
        longest = how.stop == 'certain' and how.length_penalty > 0
        return live_BW.max(1) / penalty(M if longest else made) > done_BW.min(1)

    def more(beams: _Beams):
        go_on = (beams.made < M) & beams.open_B.any()
        return go_on & ~full(beams.done_BW).all() if how.stop == 'full' else go_on

    def one(beams: _Beams) -> _Beams:
        scores_RV = jax.nn.log_softmax(beams.logits_RV)
        if adjust is not None:
            scores_RV = adjust(scores_RV, beams.live_BWM.reshape(B * W, M), beams.made)
        scores_BX = (beams.live_BW[..., None] + scores_RV.reshape(B, W, V)).reshape(B, W * V)
        # Even if W hypotheses end with each of the ends, W go on.
        scores_BC, at_BC = jax.lax.top_k(scores_BX, min((1 + ends) * W, W * V))
        parent_BC, token_BC = at_BC // V, (at_BC % V).astype(jnp.int32)
        tokens_BCM = jnp.take_along_axis(beams.live_BWM, parent_BC[..., None], 1)
        tokens_BCM = jnp.where(
            jnp.arange(M)[None, None] == beams.made, token_BC[..., None], tokens_BCM
        )
        ends_BC = is_end(token_BC, end) | (beams.made + 1 == M)
        takes_B = beams.open_B & ~full(beams.done_BW) if how.stop == 'full' else beams.open_B
        # Only the best W count as ended: a beam of one is greedy.
        counts_BC = ends_BC & (jnp.arange(ends_BC.shape[1])[None] < W) & takes_B[:, None]
        ended_BC = jnp.where(counts_BC, scores_BC / penalty(beams.made + 1), WORST)
        done_BW, done_BWM = best(
            jnp.concatenate([beams.done_BW, ended_BC], 1),
            jnp.concatenate([beams.done_BWM, tokens_BCM], 1),
            W,
        )
        live_BW, chosen_BW = jax.lax.top_k(jnp.where(ends_BC, WORST, scores_BC), W)
        live_BWM = jnp.take_along_axis(tokens_BCM, chosen_BW[..., None], 1)
        parent_BW = jnp.take_along_axis(parent_BC, chosen_BW, 1)
        token_R1 = jnp.take_along_axis(token_BC, chosen_BW, 1).reshape(B * W, 1)
        from_R = (jnp.arange(B)[:, None] * W + parent_BW).reshape(-1)
        caches = _take(beams.caches, from_R)
        ctx = Context.of(token_R1, beams.positions_R[:, None])
        logits_R1V, caches, _ = model.apply({'params': params}, token_R1, ctx, caches)
        return _Beams(
            beams.made + 1,
            logits_R1V[:, 0],
            caches,
            beams.positions_R + 1,
            live_BW,
            live_BWM,
            done_BW,
            done_BWM,
            beams.open_B & hope(live_BW, done_BW, beams.made + 1),
        )

    nothing_BWM = jnp.full((B, W, M), -1, jnp.int32)
    # At first all beams of a row are the same: one lives.
    first_BW = jnp.broadcast_to(jnp.where(jnp.arange(W) == 0, 0.0, WORST)[None], (B, W))
    beams = _Beams(
        jnp.int32(0),
        rows(state.logits_BV),
        _take(state.caches, jnp.repeat(jnp.arange(B), W)),
        rows(state.positions_B),
        first_BW,
        nothing_BWM,
        jnp.full((B, W), WORST),
        nothing_BWM,
        jnp.ones(B, bool),
    )
    beams = jax.lax.while_loop(more, one, beams)
    return beams.done_BWM, beams.done_BW


def _take(caches: Any, rows_R: jax.Array) -> Any:
    """Rows of all caches, [B, ...]; what has no rows stays."""
    return jax.tree.map(lambda x: x[rows_R] if x.ndim else x, caches)
