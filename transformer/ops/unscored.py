"""Scores of tokens that are not made yet. B batch, T places, E token width, V vocabulary.

Scores are often the largest array of a training step. What wants but their cross-entropy takes what
they are made of instead (`cross_entropy`).
"""

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Unscored:
    """What scores of tokens are made of.

    Attributes:
      x_BTE: what is compared with the vectors of tokens.
      table_VE: these, of the type of x.
      bias_V: float32, or None.
      softcap: scores become softcap * tanh(scores / softcap); 0 means they stay.
    """

    x_BTE: jax.Array
    table_VE: jax.Array
    bias_V: jax.Array | None = None
    softcap: float = flax.struct.field(pytree_node=False, default=0.0)

    def scores(self) -> jax.Array:
        """All of them, float32 [B, T, V]."""
        return self.finished(products('bte,ve->btv', self.x_BTE, self.table_VE))

    def finished(self, scores_BTV: jax.Array) -> jax.Array:
        """Scores of products of x with the table."""
        if self.bias_V is not None:
            scores_BTV += self.bias_V[None, None]
        return self.softcap * jnp.tanh(scores_BTV / self.softcap) if self.softcap else scores_BTV


def products(equation: str, a: jax.Array, b: jax.Array) -> jax.Array:
    """An einsum whose sums are float32, whatever the type of what is multiplied."""
    return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)
