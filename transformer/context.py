"""What every block is told besides its input."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Context:
    """Positions, documents and mode of one call. B rows of T tokens, S slots of memory, D width.

    Attributes:
      positions_BT: int32, place of each token in its document.
      segments_BT: int32, document of each token; 0 is padding. Tokens of different segments never
        see each other.
      rows_B: int32, place of each row in the global batch. Dropout depends on it, so that the same
        row drops the same units whatever the mesh or the number of microbatches.
      prefix_BT: bool, tokens that all tokens of their segment may see, also the earlier ones, or
        None for none.
      memory_BSD: what an encoder made of the other sequence, or None.
      memory_segments_BS: int32, document of each slot of the memory.
      bias: what a stack adds to the scores of all its self-attention (`ops.biases`), or makes them
        of (`ops.disentangled.Distances`), or None.
      depth: float32 scalar, place of the block in its stack from 0 (first) to 1 (last).
      causal: whether a token sees only itself and what came before.
      train: whether dropout is on.
    """

    positions_BT: jax.Array
    segments_BT: jax.Array
    rows_B: jax.Array
    prefix_BT: jax.Array | None = None
    memory_BSD: jax.Array | None = None
    memory_segments_BS: jax.Array | None = None
    bias: Any = None
    depth: jax.Array | float = 0.0
    causal: bool = flax.struct.field(pytree_node=False, default=True)
    train: bool = flax.struct.field(pytree_node=False, default=False)

    @classmethod
    def of(cls, inputs_BT, positions_BT=None, segments_BT=None, rows_B=None, **more) -> 'Context':
        """The context of plain rows: one document each, from position 0, where nothing is said."""
        B, T = inputs_BT.shape[:2]
        if positions_BT is None:
            positions_BT = jnp.broadcast_to(jnp.arange(T, dtype=jnp.int32), (B, T))
        if segments_BT is None:
            segments_BT = jnp.ones((B, T), jnp.int32)
        if rows_B is None:
            rows_B = jnp.arange(B, dtype=jnp.int32)
        return cls(positions_BT, segments_BT, rows_B, **more)
