"""What is added to attention scores, as descriptions.

T query length, S key length, N heads, R rows of the table. Query t stands at slot `offset + t` of
the keys' sequence, as in `ops.masks`. Within a document, distances of slots are distances of
positions, so slots suffice. `between` is for any slots and some of the heads.
"""

import math
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

ALL = slice(None)  # of the heads; otherwise their numbers, int32


@flax.struct.dataclass
class Alibi:
    """-slope * |distance|, https://arxiv.org/abs/2108.12409.

    Attributes:
      slopes_N: float32, one for each head, such as `alibi_slopes(N)`.
    """

    slopes_N: jax.Array

    def dense(self, offset: jax.Array | int, T: int, S: int) -> jax.Array:
        """float32 [N, T, S]."""
        return self.between(offset + jnp.arange(T), jnp.arange(S))

    def between(self, t_T: jax.Array, s_S: jax.Array, heads: Any = ALL) -> jax.Array:
        """float32 [N, T, S], of queries at slots t and keys at slots s, for these heads."""
        distance_TS = jnp.abs(s_S[None] - t_T[:, None]).astype(jnp.float32)
        return -self.slopes_N[heads][:, None, None] * distance_TS[None]


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
        return self.between(offset + jnp.arange(T), jnp.arange(S))

    def between(self, t_T: jax.Array, s_S: jax.Array, heads: Any = ALL) -> jax.Array:
        """float32 [N, T, S], of queries at slots t and keys at slots s, for these heads."""
        slopes = alibi_slopes(self.heads).astype(jnp.bfloat16).astype(np.float32)
        product_NS = jnp.asarray(slopes)[heads][:, None] * _rounded(s_S.astype(jnp.float32))[None]
        bias_NS = _rounded(product_NS) * self.scale
        return jnp.broadcast_to(bias_NS[:, None], (len(bias_NS), t_T.size, s_S.size))


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
        return self.between(offset + jnp.arange(T), jnp.arange(S))

    def between(self, t_T: jax.Array, s_S: jax.Array, heads: Any = ALL) -> jax.Array:
        """float32 [N, T, S], of queries at slots t and keys at slots s, for these heads."""
        rows, limit = self.table_RN.shape[0], self.max_distance
        ahead_TS = jnp.clip(s_S[None] - t_T[:, None], -limit, limit)
        bucket_TS = buckets(rows, self.bidirectional, limit)[ahead_TS]
        return self.table_RN.astype(jnp.float32)[:, heads][bucket_TS].transpose(2, 0, 1)


def _rounded(x: jax.Array) -> jax.Array:
    """float32 numbers rounded to bfloat16; a compiler may leave a mere change of types out."""
    return jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)


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
