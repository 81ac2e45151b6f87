"""Scores between what a token says and how far away another one is, arxiv.org/abs/2006.03654.

B batch, T query length, S key length, N heads, H head width, D width, R rows of the table of
distances. Row R/2 is distance 0; rows above are of keys that came before the query.
"""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np


@flax.struct.dataclass
class Distances:
    """A vector for each distance, the same for all layers of a stack.

    Attributes:
      table_RD: the vectors.
      max_distance: from here on all distances share a row.
      exact: whether each distance below has a row of its own; otherwise `rows` puts them together.
    """

    table_RD: jax.Array
    max_distance: int = flax.struct.field(pytree_node=False)
    exact: bool = flax.struct.field(pytree_node=False)

    def rows(self, T: int, S: int) -> np.ndarray:
        """Row of the distance from query t to key s, int32 [T, S]."""
        return rows(self.table_RD.shape[0], self.max_distance, self.exact, T, S)


def rows(count: int, max_distance: int, exact: bool, T: int, S: int) -> np.ndarray:
    """Row of t - s, int32 [T, S].

    Distances below count / 4 have a row each; from there to max_distance rows grow logarithmically.
    The rounding is that of the authors' code, in float32.
    """
    away_TS = np.arange(T)[:, None] - np.arange(S)[None, :]
    half, near = count // 2, count // 4
    if not exact:
        far = np.maximum(np.abs(away_TS), near).astype(np.float32) / np.float32(near)
        whole = np.log(np.float32((max_distance - 1) / near))
        grown_TS = np.ceil(np.log(far) / whole * np.float32(near - 1)) + near
        away_TS = np.where(np.abs(away_TS) <= near, away_TS, grown_TS * np.sign(away_TS))
    return np.clip(away_TS + half, 0, count - 1).astype(np.int32)


@flax.struct.dataclass
class Disentangled:
    """q_t . key(distance) + k_s . query(distance), those of the two that are there; a bias.

    Attributes:
      q_BNTH: queries, scaled as those of the content are, or None.
      k_BNSH: keys, or None.
      keys_NRH: of the distances, read by the queries.
      queries_NRH: of the distances, scaled too, read by the keys.
      distances: which row of these is which.
    """

    distances: Distances
    q_BNTH: jax.Array | None = None
    keys_NRH: jax.Array | None = None
    k_BNSH: jax.Array | None = None
    queries_NRH: jax.Array | None = None

    def dense(self, offset: int, T: int, S: int) -> jax.Array:
        """float32 [B, N, T, S]; the offset is 0, as there is no cache."""
        del offset
        row_11TS = self.distances.rows(T, S)[None, None]
        scores_BNTS, high = jnp.zeros((1, 1, 1, 1)), {'preferred_element_type': jnp.float32}
        if self.keys_NRH is not None:
            by_row = jnp.einsum('bnth,nrh->bntr', self.q_BNTH, self.keys_NRH, **high)
            scores_BNTS += jnp.take_along_axis(by_row, row_11TS, axis=3)
        if self.queries_NRH is not None:
            by_row = jnp.einsum('nrh,bnsh->bnrs', self.queries_NRH, self.k_BNSH, **high)
            scores_BNTS += jnp.take_along_axis(by_row, row_11TS, axis=2)
        return scores_BNTS


def neighbours(x_BTD: jax.Array, segments_BT: jax.Array, count: int) -> jax.Array:
    """The inputs around each one, zero where there is none or it is of another segment.

    Returns:
      [count, B, T, D], the input itself in the middle.
    """
    B, T, _ = x_BTD.shape
    side = count // 2
    x = jnp.pad(x_BTD, ((0, 0), (side, side), (0, 0)))
    segments = jnp.pad(segments_BT, ((0, 0), (side, side)), constant_values=-1)
    return jnp.stack(
        [
            jnp.where((segments[:, w : w + T] == segments_BT)[..., None], x[:, w : w + T], 0)
            for w in range(count)
        ]
    )
