"""A linear map whose gradients are products that no operand need be transposed for."""

import functools
import math

import jax
import jax.numpy as jnp

from transformer.ops import partition
from transformer.ops.product import product


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def linear(equation: str, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """einsum(equation, x, kernel), such as 'btd,df->btf'.

    JAX makes the kernel's gradient as the transpose of gradient times x. XLA on a CPU then copies
    an operand into the other order, and everything elementwise before it runs along columns: an
    MLP takes twice the time of its products. Here it is x times gradient, in the kernel's order.
    """
    return product(equation, x, kernel)


def _forward(equation, x, kernel):
    return product(equation, x, kernel), (x, kernel)


def _backward(equation, kept, y):
    x, kernel = kept
    operands, made = equation.split('->')
    read, held = operands.split(',')
    if partition.CONTEXT in partition.ways():  # places of one row would be gathered
        d_kernel = jnp.einsum(f'{read},{made}->{held}', x, y)
    else:
        d_kernel = jnp.einsum('ri,ro->io', _rows(x, read, held), _rows(y, made, held))
        d_kernel = d_kernel.reshape(kernel.shape)
    return product(f'{made},{held}->{read}', y, _after(d_kernel, kernel)), d_kernel


def _after(d_kernel, kernel):
    """The kernel, on a single CPU not before its gradient is there.

    XLA would go through all layers first and keep what their kernels' gradients are made of: a
    quarter more memory. On a CPU it takes barriers out; the product with zero stays, since it is
    NaN where the gradient is not finite, and the step is lost then anyway. Gradients of kernels
    that nobody asks for are made, too.
    """
    return kernel + 0 * d_kernel.ravel()[0] if partition.on_one_cpu() else kernel


def _rows(x, letters: str, held: str):
    """[rows, what the kernel has too, in its order]: one contracted axis, for the same reason."""
    rows = [letter for letter in letters if letter not in held]
    rest = [letter for letter in held if letter in letters]
    x = jnp.einsum(f'{letters}->{"".join(rows + rest)}', x)
    return x.reshape(math.prod(x.shape[: len(rows)]), -1)


linear.defvjp(_forward, _backward)
