"""Masks as descriptions. B batch, T query length, S key length."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np


@flax.struct.dataclass
class Mask:
    """Who may attend to whom. A backend honours all of it or raises.

    Query t stands at slot `offset + t` of the keys' sequence. It may see key s if all of these
    hold: s <= offset + t or s belongs to a prefix, where causal; |offset + t - s| < window, where
    there is a window; and both carry the same segment id, where ids are given. Padding is a segment
    of its own (id 0).

    Attributes:
      segments_BT: int32 ids of the queries, or None.
      segments_BS: int32 ids of the keys, or None.
      offset: int32 scalar, slot of the first query.
      prefix_BS: bool, keys that earlier queries see too, https://arxiv.org/abs/1905.03197, or None.
      causal: whether later keys are hidden.
      window: how many keys back a query sees, itself included, or None for all.
    """

    segments_BT: jax.Array | None = None
    segments_BS: jax.Array | None = None
    offset: jax.Array | int = 0
    prefix_BS: jax.Array | None = None
    causal: bool = flax.struct.field(pytree_node=False, default=False)
    window: int | None = flax.struct.field(pytree_node=False, default=None)

    def dense(self, T: int, S: int) -> jax.Array:
        """bool [B or 1, T, S]: True where query t may see key s."""
        return self.between(self.offset + jnp.arange(T), jnp.arange(S))

    def between(self, t_T: jax.Array, s_S: jax.Array) -> jax.Array:
        """As `dense`, where queries stand at slots t and keys at slots s."""
        t_T1, s_1S = t_T[:, None], s_S[None, :]
        allowed_BTS = jnp.ones((1, t_T.size, s_S.size), bool)
        if self.causal:
            allowed_BTS &= (s_1S <= t_T1)[None]
            if self.prefix_BS is not None:
                allowed_BTS |= self.prefix_BS[:, None, :]
        if self.window is not None:
            allowed_BTS &= (t_T1 - s_1S < self.window)[None]
            if not self.causal or self.prefix_BS is not None:
                allowed_BTS &= (s_1S - t_T1 < self.window)[None]
        if self.segments_BT is not None:
            allowed_BTS &= self.segments_BT[:, :, None] == self.segments_BS[:, None, :]
        return allowed_BTS


def starts_at_zero(mask: Mask) -> bool:
    """Whether it is known, when the program is made, that the first query stands at slot 0."""
    return isinstance(mask.offset, (int, np.integer)) and mask.offset == 0
