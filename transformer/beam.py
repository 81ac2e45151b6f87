"""Beam search over the cache contract. B rows, W beams a row, R = B * W, V vocabulary, M places."""

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from transformer.context import Context
from transformer.decode import State
from transformer.errors import UserError

WORST = -1e9


@dataclasses.dataclass(frozen=True)
class Beam:
    """Attributes:

    width: W, hypotheses that are kept.
    length_penalty: alpha; a hypothesis of n tokens has the score log p / ((5 + n) / 6)^alpha,
      https://arxiv.org/abs/1609.08144.
    """

    width: int = 4
    length_penalty: float = 0.6

    def __post_init__(self):
        if self.width < 1:
            raise UserError(f'beam {self.width} cannot be used; accepted: at least 1')
        if not 0 <= self.length_penalty < float('inf'):
            value = self.length_penalty
            raise UserError(f'length_penalty {value} cannot be used; accepted: at least 0')


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


def search(
    model: Any, params: Any, state: State, end: int, how: Beam
) -> tuple[jax.Array, jax.Array]:
    """The best hypotheses of each row, best first.

    Args:
      state: after the prompts; its `tokens_BM` says how many tokens there is room for.
      end: the token that ends a text. A text that does not end within M tokens counts as it is.

    Returns:
      tokens_BWM (int32, with the end, -1 after it) and scores_BW.
    """
    B, V = state.logits_BV.shape
    W, M = how.width, state.tokens_BM.shape[1]

    def penalty(length):
        return ((5.0 + length) / 6.0) ** how.length_penalty

    def best(scores_BX, tokens_BXM, count):
        scores_BC, at_BC = jax.lax.top_k(scores_BX, count)
        return scores_BC, jnp.take_along_axis(tokens_BXM, at_BC[..., None], 1)

    def rows(x):
        """[B, ...] -> [R, ...], each row W times."""
        return jnp.repeat(x, W, axis=0)

    def more(beams: _Beams):
        # log p only falls, and the penalty divides it by at most that of the full length.
        hope_B = beams.live_BW.max(1) / penalty(M)
        return (beams.made < M) & (hope_B > beams.done_BW.min(1)).any()

    def one(beams: _Beams) -> _Beams:
        scores_BWV = jax.nn.log_softmax(beams.logits_RV).reshape(B, W, V)
        scores_BX = (beams.live_BW[..., None] + scores_BWV).reshape(B, W * V)
        # Twice the width: even if W of them end, W go on.
        scores_BC, at_BC = jax.lax.top_k(scores_BX, min(2 * W, W * V))
        parent_BC, token_BC = at_BC // V, (at_BC % V).astype(jnp.int32)
        tokens_BCM = jnp.take_along_axis(beams.live_BWM, parent_BC[..., None], 1)
        tokens_BCM = jnp.where(
            jnp.arange(M)[None, None] == beams.made, token_BC[..., None], tokens_BCM
        )
        ends_BC = token_BC == end
        # Only the best W count as ended: a beam of one is greedy.
        counts_BC = ends_BC & (jnp.arange(ends_BC.shape[1])[None] < W)
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
    )
    beams = jax.lax.while_loop(more, one, beams)
    unfinished_BW = jnp.where(beams.made == M, beams.live_BW / penalty(M), WORST)
    scores_BW, tokens_BWM = best(
        jnp.concatenate([beams.done_BW, unfinished_BW], 1),
        jnp.concatenate([beams.done_BWM, beams.live_BWM], 1),
        W,
    )
    return tokens_BWM, scores_BW


def _take(caches: Any, rows_R: jax.Array) -> Any:
    """Rows of all caches: [repeats, B, ...]; what has no rows stays."""
    return jax.tree.map(lambda x: x[:, rows_R] if x.ndim > 1 else x, caches)
