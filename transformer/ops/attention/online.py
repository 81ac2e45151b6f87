"""Attention by pairs of blocks, a softmax that is built up: https://arxiv.org/abs/1805.02867.

The backward pass makes the scores of a pair again, https://arxiv.org/abs/2205.14135. Long blocks of
keys are worked on in pieces, so that memory grows with the length of a block alone.

B batch, T queries and S keys of a block, N heads, K key/value heads, G = N / K, H head width.
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax import lax

from transformer.ops.attention.reference import NEVER, scores
from transformer.ops.masks import Mask

PIECE = 512  # keys that are scored at once, at most, where their number divides well


@flax.struct.dataclass
class Queries:
    """A block of scaled queries, the slot and the segment of each."""

    q_BKGTH: jax.Array
    segments_BT: jax.Array | None
    slots_T: jax.Array


@flax.struct.dataclass
class Keys:
    """A block of keys and values; slot and segment of each, and whether it is of a prefix."""

    k_BKSH: jax.Array
    v_BKSH: jax.Array
    segments_BS: jax.Array | None
    prefix_BS: jax.Array | None
    slots_S: jax.Array

    def pieces(self) -> 'Keys | None':
        """Stacked along a new first axis; None if there is but one."""
        S = self.slots_S.size
        size = next(size for size in range(min(S, PIECE), 0, -1) if S % size == 0)
        if size == S or size < PIECE // 8:  # pieces that small would take longer
            return None

        def cut(x, axis):
            if x is None:
                return None
            x = x.reshape(*x.shape[:axis], -1, size, *x.shape[axis + 1 :])
            return jnp.moveaxis(x, axis, 0)

        arrays = self.k_BKSH, self.v_BKSH, self.segments_BS, self.prefix_BS, self.slots_S
        return Keys(*map(cut, arrays, (2, 2, 1, 1, 0)))


@flax.struct.dataclass
class Rules:
    """What holds for all pairs, as in `attend`; `heads` are the numbers of these heads."""

    bias: Any
    heads: Any
    causal: bool = flax.struct.field(pytree_node=False)
    window: int | None = flax.struct.field(pytree_node=False)
    softcap: float | None = flax.struct.field(pytree_node=False)

    def scores(self, q_BKGTH, k_BKSH, bias, queries: Queries, keys: Keys) -> jax.Array:
        """float32 [B, K, G, T, S]; arrays apart from their blocks are those with gradients."""
        mask = Mask(
            queries.segments_BT, keys.segments_BS, 0, keys.prefix_BS, self.causal, self.window
        )
        at = queries.slots_T, keys.slots_S
        added = None if bias is None else bias.between(*at, self.heads)
        return scores(q_BKGTH, k_BKSH, mask.between(*at), added, self.softcap)


@flax.struct.dataclass
class Sums:
    """The softmax so far, float32: weighted values, greatest score, sum of the weights."""

    out_BKGTH: jax.Array
    top_BKGT1: jax.Array
    total_BKGT1: jax.Array

    @classmethod
    def empty(cls, q_BKGTH: jax.Array) -> 'Sums':
        """Nothing seen. No score that is seen comes near the greatest score of nothing."""
        out, none = jnp.zeros(q_BKGTH.shape, jnp.float32), jnp.zeros(q_BKGTH.shape[:-1] + (1,))
        return cls(out, jnp.full_like(none, NEVER / 2), none)

    def add(self, rules: Rules, queries: Queries, keys: Keys) -> 'Sums':
        """With another block of keys."""
        pieces = keys.pieces()
        if pieces is None:
            return self._add(rules, queries, keys)
        add = lambda sums, piece: (sums._add(rules, queries, piece), None)  # noqa: E731
        return lax.scan(add, self, pieces)[0]

    def _add(self, rules: Rules, queries: Queries, keys: Keys) -> 'Sums':
        s = rules.scores(queries.q_BKGTH, keys.k_BKSH, rules.bias, queries, keys)
        top = jnp.maximum(self.top_BKGT1, s.max(-1, keepdims=True))
        weights, fade = jnp.exp(s - top), jnp.exp(self.top_BKGT1 - top)
        total = self.total_BKGT1 * fade + weights.sum(-1, keepdims=True)
        v_BKSH, high = keys.v_BKSH, {'preferred_element_type': jnp.float32}
        values = jnp.einsum('bkgts,bksh->bkgth', weights.astype(v_BKSH.dtype), v_BKSH, **high)
        return Sums(self.out_BKGTH * fade + values, top, total)

    def finish(self) -> tuple[jax.Array, jax.Array]:
        """The output, and the logarithm of the softmax's denominator; zeros for who saw nothing."""
        some = self.total_BKGT1 > 0
        total = jnp.where(some, self.total_BKGT1, 1)
        return self.out_BKGTH / total, jnp.where(some, self.top_BKGT1 + jnp.log(total), 0)


def gradients(
    rules: Rules, queries: Queries, keys: Keys, log_total_BKGT1, grad_BKGTH, dot_BKGT1
) -> tuple[jax.Array, jax.Array, jax.Array, Any]:
    """By queries, keys, values and bias, what one pair of blocks adds.

    Args:
      log_total_BKGT1: from `Sums.finish`.
      grad_BKGTH: cotangent of the output.
      dot_BKGT1: that times the output, summed over H.
    """
    outputs = log_total_BKGT1, grad_BKGTH, dot_BKGT1
    pieces = keys.pieces()
    if pieces is None:
        return _gradients(rules, queries, keys, *outputs)

    def add(sums, piece):
        by_q, *by_kv, by_bias = _gradients(rules, queries, piece, *outputs)
        return jax.tree.map(jnp.add, sums, (by_q, by_bias)), by_kv

    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), (queries.q_BKGTH, rules.bias))
    (by_q, by_bias), by_kv = lax.scan(add, zeros, pieces)
    by_k, by_v = (jnp.moveaxis(x, 0, 2).reshape(keys.k_BKSH.shape) for x in by_kv)
    return by_q, by_k, by_v, by_bias


def _gradients(rules, queries, keys, log_total_BKGT1, grad_BKGTH, dot_BKGT1):
    arguments = queries.q_BKGTH, keys.k_BKSH, rules.bias
    s, pull = jax.vjp(lambda *x: rules.scores(*x, queries, keys), *arguments)
    weights = jnp.exp(s - log_total_BKGT1)
    high = {'preferred_element_type': jnp.float32}
    by_v = jnp.einsum('bkgts,bkgth->bksh', weights.astype(grad_BKGTH.dtype), grad_BKGTH, **high)
    by_weight = jnp.einsum('bkgth,bksh->bkgts', grad_BKGTH, keys.v_BKSH, **high)
    by_q, by_k, by_bias = pull(weights * (by_weight - dot_BKGT1))
    return by_q, by_k, by_v, by_bias
