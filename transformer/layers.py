"""The parts that every other module uses: a linear map and two kinds of dropout."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from transformer.config import InitConfig
from transformer.context import Context
from transformer.ops.dropout import Drop
from transformer.ops.linear import linear


class Linear(nn.Module):
    """y = einsum(equation, x, kernel) + bias.

    Attributes:
      equation: such as 'btd,dnh->bnth': input, kernel, output. The bias spans the output letters
        that come from the kernel.
      shape: of the kernel.
      init: how the kernel starts; the bias starts at zero.
      residual: whether the output goes into the residual stream (see `InitConfig.residual`).
      gain: another factor on the kernel's start.
    """

    equation: str
    shape: tuple[int, ...]
    init: InitConfig
    bias: bool = False
    residual: bool = False
    gain: float = 1.0
    dtype: str = 'float32'

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        operands, output = self.equation.split('->')
        inputs, letters = operands.split(',')
        size = dict(zip(letters, self.shape))
        fan_in = 1
        for letter in letters:
            fan_in *= size[letter] if letter in inputs else 1
        std = (self.init.std or fan_in**-0.5) * (self.init.residual if self.residual else 1.0)
        std *= self.gain
        kernel = self.param('kernel', nn.initializers.normal(std), self.shape)
        y = linear(self.equation, x.astype(self.dtype), kernel.astype(self.dtype))
        if not self.bias:
            return y
        made = [letter for letter in output if letter in size]
        bias = self.param('bias', nn.initializers.zeros, tuple(size[i] for i in made))
        return y + bias.astype(self.dtype).reshape([size.get(letter, 1) for letter in output])


class Dropout(nn.Module):
    """`ops.dropout.Drop` in training, and nothing otherwise."""

    rate: float

    def __call__(self, x: jax.Array, ctx: Context) -> jax.Array:
        drop = self.choice(ctx)
        return x if drop is None else drop(x)

    def choice(self, ctx: Context) -> Drop | None:
        """What one call drops, for an operation that applies it itself."""
        if not ctx.train or not self.rate:
            return None
        return Drop(self.make_rng('dropout'), ctx.rows_B, rate=self.rate)


class DropPath(nn.Module):
    """Leaves a branch out for whole rows, the more often the deeper: rate * ctx.depth.

    Stochastic depth, https://arxiv.org/abs/1603.09382. The choice is a function of (key, row of the
    global batch).
    """

    rate: float

    def __call__(self, x_BTD: jax.Array, ctx: Context) -> jax.Array:
        if not ctx.train or not self.rate:
            return x_BTD
        key, keep = self.make_rng('dropout'), 1 - self.rate * ctx.depth
        keys_B = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, ctx.rows_B)
        stays_B = jax.vmap(lambda k: jax.random.bernoulli(k, keep))(keys_B)
        return jnp.where(stays_B[:, None, None], x_BTD / jnp.asarray(keep, x_BTD.dtype), 0)
