"""Products of activations with kernels."""

import math

import jax
import jax.numpy as jnp


def product(equation: str, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """einsum(equation, x, kernel), such as 'btd,dnh->bnth'.

    With no more rows than inputs, as in decoding, a kernel whose first letters are those that are
    summed is read where it lies, and the small sides are transposed. XLA's own choice on a CPU
    would be to transpose the kernel, anew for every token.
    """
    operands, output = equation.split('->')
    inputs, letters = operands.split(',')
    summed = ''.join(letter for letter in letters if letter in inputs)
    rows = ''.join(letter for letter in inputs if letter not in summed)
    fan_in = math.prod(kernel.shape[: len(summed)])
    plain = letters.startswith(summed) and not set(summed) & set(output)
    if not plain or x.size > fan_in * fan_in:
        return jnp.einsum(equation, x, kernel)
    x = x.transpose([inputs.index(letter) for letter in rows + summed])
    sides = tuple(range(len(rows), x.ndim)), tuple(range(len(summed)))
    y = jax.lax.dot_general(x, kernel, (sides, ((), ())))
    made = rows + letters[len(summed) :]
    return y.transpose([made.index(letter) for letter in output])
