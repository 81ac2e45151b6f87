"""Products of activations with kernels."""

import math

import jax
import jax.numpy as jnp

from transformer.ops import partition


def product(equation: str, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """einsum(equation, x, kernel), such as 'btd,dnh->bnth', whose kernel is read where it lies.

    On a single CPU it is the product of two matrices: what is summed together is one axis, so is
    what is made together, and the small sides are transposed. XLA on a CPU is slower with more
    axes. Elsewhere, where axes may be split over devices, only the small sides are transposed, and
    only of a product with few rows, as in decoding: XLA could choose the kernel, for every token.
    """
    operands, output = equation.split('->')
    inputs, letters = operands.split(',')
    summed = ''.join(letter for letter in letters if letter in inputs)
    made = ''.join(letter for letter in letters if letter not in inputs)
    rows = ''.join(letter for letter in inputs if letter not in summed)
    first = letters == summed + made
    if set(summed) & set(output) or not (first or letters == made + summed):
        return jnp.einsum(equation, x, kernel)
    size = dict(zip(inputs, x.shape)) | dict(zip(letters, kernel.shape))
    fan_in = math.prod(size[letter] for letter in summed)
    x_order = [inputs.index(letter) for letter in rows + summed]
    if partition.on_one_cpu():
        x_RI = x.transpose(x_order).reshape(-1, fan_in)
        kernel = kernel.reshape((fan_in, -1) if first else (-1, fan_in))
        y = jax.lax.dot_general(x_RI, kernel, (((1,), (0 if first else 1,)), ((), ())))
        y = y.reshape([size[letter] for letter in rows + made])
    elif first and x.size <= fan_in * fan_in:
        sides = tuple(range(len(rows), x.ndim)), tuple(range(len(summed)))
        y = jax.lax.dot_general(x.transpose(x_order), kernel, (sides, ((), ())))
    else:
        return jnp.einsum(equation, x, kernel)
    return y.transpose([(rows + made).index(letter) for letter in output])
