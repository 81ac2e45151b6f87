"""Dropout whose choice is a function of (key, row of the global batch, place in the row).

B rows, of whatever shape.
"""

import math

import flax.struct
import jax
import jax.numpy as jnp

# Threefry-2x32 with twenty rounds, https://doi.org/10.1145/2063384.2063405.
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


@flax.struct.dataclass
class Drop:
    """Leaves numbers out, and scales those that stay so that the mean is the same,
    https://arxiv.org/abs/1207.0580.

    The same rows drop the same numbers whatever the mesh or the number of microbatches; up to 2^32
    numbers a row they are those of `jax.random.bernoulli` with the row's key.

    Attributes:
      key: of all rows.
      rows_B: int32, place of each row in the global batch.
      start: where a row's numbers begin in the whole row, an axis each; () means at its start.
      rate: share that is left out.
      whole: shape of the whole row; () means that of what is given.
    """

    key: jax.Array
    rows_B: jax.Array
    start: tuple = ()
    rate: float = flax.struct.field(pytree_node=False, default=0.0)
    whole: tuple[int, ...] = flax.struct.field(pytree_node=False, default=())

    def part(self, whole: tuple[int, ...], start: tuple) -> 'Drop':
        """For a part of rows of shape `whole` that begins at `start`."""
        return self.replace(whole=whole, start=start)

    def __call__(self, x: jax.Array) -> jax.Array:
        """x / (1 - rate), or zero; [B, ...]."""
        keys_B = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(self.key, self.rows_B)
        keys_B2 = jax.random.key_data(keys_B)[:, :2]
        k0, k1 = (keys_B2[:, i].reshape(-1, *[1] * (x.ndim - 1)) for i in range(2))
        high, low = threefry(k0, k1, *self._counters(x.shape))
        stays = ((high ^ low) >> 9).astype(jnp.float32) * 2.0**-23 < 1 - self.rate
        return jnp.where(stays, x / (1 - self.rate), 0)

    def _counters(self, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
        """Two words that no other place of the row has: 0 and its number, where that is enough."""
        sizes = self.whole or shape[1:]
        split = next(i for i in range(len(sizes) + 1) if math.prod(sizes[i:]) < 2**32)
        return self._number(shape, sizes, 0, split), self._number(shape, sizes, split, len(sizes))

    def _number(self, shape, sizes, first: int, last: int) -> jax.Array:
        """Counts the places of the axes from `first` to `last`."""
        number = jnp.zeros((1,) * len(shape), jnp.uint32)
        for axis in range(first, last):
            place = jax.lax.broadcasted_iota(jnp.uint32, (1, *shape[1:]), axis + 1)
            if self.start:
                place += jnp.asarray(self.start[axis], jnp.uint32)
            number = number * jnp.uint32(sizes[axis]) + place
        return number


def threefry(k0, k1, x0, x1) -> tuple[jax.Array, jax.Array]:
    """The cipher of `jax.random`, uint32, as one elementwise expression.

    On CPUs JAX has it as a loop that reads and writes memory each round: ten times the time.
    """
    keys = k0, k1, k0 ^ k1 ^ jnp.uint32(PARITY)
    x0, x1 = x0 + keys[0], x1 + keys[1]
    for i in range(5):
        for bits in ROTATIONS[i % 2]:
            x0 += x1
            x1 = x0 ^ ((x1 << bits) | (x1 >> (32 - bits)))
        x0 += keys[(i + 1) % 3]
        x1 += keys[(i + 2) % 3] + jnp.uint32(i + 1)
    return x0, x1
