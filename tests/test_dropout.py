"""What dropout leaves out: the choice of `jax.random`, by row, wherever a part of it is made."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32

from transformer.ops.dropout import Drop, threefry

KEY, ROWS = jax.random.key(3), np.array([5, 0, 9])


def test_it_is_the_choice_of_jax_random():
    kept = Drop(KEY, ROWS, rate=0.3)(jnp.ones((3, 6, 10))) > 0
    keys = [jax.random.fold_in(KEY, row) for row in ROWS]
    expected = [jax.random.bernoulli(key, 0.7, (6, 10)) for key in keys]
    np.testing.assert_array_equal(kept, expected)


def test_what_stays_is_scaled():
    y = Drop(KEY, ROWS, rate=0.25)(jnp.full((3, 100, 100), 3.0))
    np.testing.assert_allclose(y[y > 0], 4.0)
    assert abs(float((y == 0).mean()) - 0.25) < 0.01


def test_a_part_drops_what_the_whole_does():
    whole = Drop(KEY, ROWS, rate=0.5)(jnp.ones((3, 6, 10)))
    part = Drop(KEY, ROWS, rate=0.5).part((6, 10), (2, jnp.int32(3)))(jnp.ones((3, 3, 5)))
    np.testing.assert_array_equal(part, whole[:, 2:5, 3:8])


def test_places_beyond_32_bits_differ():
    """A row of 2^35 numbers: neither heads nor queries share a choice."""
    whole = (4, 2**16, 2**17)
    parts = [
        Drop(KEY, ROWS, rate=0.5).part(whole, (head, place, 9))(jnp.ones((3, 1, 8, 32)))
        for head in range(4)
        for place in (7, 2**15 + 7)
    ]
    assert len({np.asarray(part).tobytes() for part in parts}) == 8


def test_the_cipher_is_that_of_jax():
    key, counts = np.array([3, 2**31 + 4], np.uint32), np.arange(8, dtype=np.uint32)
    ours = threefry(key[:1], key[1:], counts[:4], counts[4:])
    np.testing.assert_array_equal(np.concatenate(ours), threefry_2x32(key, counts))
