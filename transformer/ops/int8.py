"""Products with kernels of 8-bit whole numbers, each output with a scale of its own.

R rows, I inputs, O outputs.
"""

import math

import flax.struct
import jax
import jax.numpy as jnp

LEAST_ROWS = 4  # XLA's products of whole numbers on CPUs are slow for a single row


@flax.struct.dataclass
class Int8:
    """A kernel w[o, i] = scale[o] * values[o, i].

    Attributes:
      values_OI: int8, the largest of each output 127 or -127.
      scale_O: float32.
      rounds: whether inputs are rounded to 8 bits too, by the largest of each row. Otherwise the
        values are converted to the inputs' type, which costs nothing where XLA does so while it
        reads them, as on TPUs and GPUs; a CPU would write the whole kernel anew.
      dtype: of rows that are looked up.
    """

    values_OI: jax.Array
    scale_O: jax.Array
    rounds: bool = flax.struct.field(pytree_node=False, default=False)
    dtype: str = flax.struct.field(pytree_node=False, default='float32')

    @classmethod
    def of(cls, kernel_OI: jax.Array, rounds: bool) -> 'Int8':
        """The nearest to `kernel_OI`: scale = max |w| / 127, https://arxiv.org/abs/2208.07339."""
        kernel_OI = kernel_OI.astype(jnp.float32)
        return cls(*_rounded(kernel_OI), rounds=rounds)

    def __getitem__(self, at: jax.Array) -> jax.Array:
        """w[at], [..., I], as of a table."""
        return (self.values_OI[at] * self.scale_O[at][..., None]).astype(self.dtype)

    def astype(self, dtype: str) -> 'Int8':
        """The same, whose rows have that type."""
        return self.replace(dtype=str(dtype))

    def product(self, x_RI: jax.Array) -> jax.Array:
        """x w^T, float32 [R, O]."""
        sides = (((1,), (1,)), ((), ()))
        if not self.rounds:
            values_OI = self.values_OI.astype(x_RI.dtype)
            y_RO = jax.lax.dot_general(x_RI, values_OI, sides, preferred_element_type=jnp.float32)
            return y_RO * self.scale_O[None]
        R = len(x_RI)
        x_RI, scale_R = _rounded(x_RI.astype(jnp.float32))
        x_RI = jnp.pad(x_RI, ((0, max(LEAST_ROWS - R, 0)), (0, 0)))
        y_RO = jax.lax.dot_general(x_RI, self.values_OI, sides, preferred_element_type=jnp.int32)
        return y_RO[:R] * scale_R[:, None] * self.scale_O[None]


def _rounded(x_RI: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Values from -127 to 127 and the scale of each row."""
    most_R = jnp.abs(x_RI).max(-1)
    scale_R = jnp.where(most_R > 0, most_R, 1) / 127
    return jnp.round(x_RI / scale_R[:, None]).astype(jnp.int8), scale_R


def from_kernel(equation: str, kernel: jax.Array, rounds: bool) -> Int8:
    """The kernel of an equation such as 'btd,dnh->bnth', summed letters first."""
    operands, output = equation.split('->')
    letters = operands.split(',')[1]
    fan_in = math.prod(s for letter, s in zip(letters, kernel.shape) if letter not in output)
    return Int8.of(kernel.reshape(fan_in, -1).T, rounds)


def product(equation: str, x: jax.Array, kernel: Int8, shape: tuple[int, ...]) -> jax.Array:
    """einsum(equation, x, kernel) for a kernel that had that `shape`, of x's type."""
    operands, output = equation.split('->')
    inputs, letters = operands.split(',')
    summed = [letter for letter in letters if letter not in output]
    rows = [letter for letter in inputs if letter not in summed]
    x = x.transpose([inputs.index(letter) for letter in (*rows, *summed)])
    y_RO = kernel.product(x.reshape(-1, kernel.values_OI.shape[1]))
    y = y_RO.astype(x.dtype).reshape(*x.shape[: len(rows)], *shape[len(summed) :])
    made = [*rows, *letters[len(summed) :]]
    return y.transpose([made.index(letter) for letter in output])
