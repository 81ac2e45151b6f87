"""What is added to attention scores, as descriptions.

T query length, S key length, N heads, R rows of the table. Query t stands at slot `offset + t` of
the keys' sequence, as in `ops.masks`. Within a document, distances of slots are distances of
positions, so slots suffice.
"""

import math

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np


@flax.struct.dataclass
class Alibi:
    """-slope * |distance|, https://arxiv.org/abs/2108.12409.

    Attributes:
      slopes_N: float32, one for each head, such as `alibi_slopes(N)`.
    """

    slopes_N: jax.Array

    def dense(self, offset: jax.Array | int, T: int, S: int) -> jax.Array:
        """float32 [N, T, S]."""
        distance_TS = jnp.abs(_steps(offset, T, S)).astype(jnp.float32)
        return -self.slopes_N[:, None, None] * distance_TS[None]


@flax.struct.dataclass
class RoundedAlibi:
    """scale * slope * place of the key, the product rounded to bfloat16, as Falcon has it.

    For a softmax that is ALiBi but for the rounding: the place of the query adds the same to all
    its scores.

    Attributes:
      heads: N.
      scale: factor after the rounding.
    """

    heads: int = flax.struct.field(pytree_node=False)
    scale: float = flax.struct.field(pytree_node=False, default=1.0)

    def dense(self, offset: jax.Array | int, T: int, S: int) -> jax.Array:
        """float32 [N, T, S]."""
        del offset
        # NumPy rounds each step; a compiler may leave a rounding out.
        slopes_N = alibi_slopes(self.heads).astype(jnp.bfloat16)
        product_NS = slopes_N[:, None] * np.arange(S).astype(jnp.bfloat16)[None]
        bias_NS = jnp.asarray(product_NS.astype(np.float32) * np.float32(self.scale))
        return jnp.broadcast_to(bias_NS[:, None], (self.heads, T, S))


@flax.struct.dataclass
class RelativeBuckets:
    """A trained number for each head and bucket of distances, https://arxiv.org/abs/1910.10683.

    Attributes:
      table_RN: the numbers.
      bidirectional: whether later keys have buckets of their own, the upper half; otherwise they
        share bucket 0.
      max_distance: from here on all distances share the last bucket.
    """

    table_RN: jax.Array
    bidirectional: bool = flax.struct.field(pytree_node=False, default=True)
    max_distance: int = flax.struct.field(pytree_node=False, default=128)

    def dense(self, offset: jax.Array | int, T: int, S: int) -> jax.Array:
        """float32 [N, T, S]."""
        steps_TS = _steps(offset, T, S)
        rows, limit = self.table_RN.shape[0], self.max_distance
        bucket_TS = buckets(rows, self.bidirectional, limit)[jnp.clip(steps_TS, -limit, limit)]
        return self.table_RN.astype(jnp.float32)[bucket_TS].transpose(2, 0, 1)


def _steps(offset: jax.Array | int, T: int, S: int) -> jax.Array:
    """int32 [T, S]: how far the key is ahead of the query."""
    return jnp.arange(S)[None, :] - (offset + jnp.arange(T))[:, None]


def buckets(count: int, bidirectional: bool, max_distance: int) -> jax.Array:
    """Bucket of each step from -max_distance to max_distance, int32; negative indices count back.

    Half the buckets of a direction hold one distance each; the other half grow logarithmically and
    end at max_distance. The rounding is that of T5's own code, in float32.
    """
    side = count // 2 if bidirectional else count
    exact = side // 2
    distance = np.arange(max_distance + 1)
    ratio = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact))
    grown = ratio / np.float32(math.log(max_distance / exact)) * np.float32(side - exact)
    far = np.minimum(exact + grown.astype(np.int32), side - 1)
    behind = np.where(distance < exact, distance, far)
    ahead = behind[1:] + side if bidirectional else np.zeros(max_distance, int)
    return jnp.asarray(np.concatenate([behind[:1], ahead, behind[:0:-1]]), jnp.int32)


def alibi_slopes(heads: int) -> np.ndarray:
    """float32 [heads]: 2^(-8 i / heads) for i = 1 ... heads, where heads is a power of two.

    Otherwise those of the largest power of two below, then every second one of twice as many, as
    the paper's authors do.
    """
    power = 2 ** int(math.log2(heads))
    slopes = 2.0 ** (-8 * np.arange(1, power + 1) / power)
    between = 2.0 ** (-8 * np.arange(1, 2 * power, 2) / (2 * power))
    return np.concatenate([slopes, between[: heads - power]]).astype(np.float32)
