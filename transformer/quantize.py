"""A decoder whose parameters are 8-bit whole numbers where it reads most: kernels and the tokens.

It is put around a model, which knows nothing of it: calls of linear maps, of the table of tokens
and of the head are answered here. Norms, biases and tables of places stay as they are.
"""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from transformer import writer
from transformer.config import TransformerConfig
from transformer.context import Context
from transformer.errors import UserError
from transformer.heads import TokenHead
from transformer.layers import Linear
from transformer.moe import MoEConfig
from transformer.ops import int8
from transformer.ops.int8 import Int8
from transformer.ops.unscored import Unscored

KINDS = ('int8',)


@dataclasses.dataclass(frozen=True)
class Quantized:
    """A model that takes `Int8` in the place of parameters; otherwise it is used as ever."""

    model: Any

    @property
    def config(self) -> TransformerConfig:
        return self.model.config

    def init_cache(self, *sizes: int) -> tuple:
        return self.model.init_cache(*sizes)

    def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
        with nn.intercept_methods(_answer):
            return self.model.apply(variables, *args, **kwargs)


def quantized(model: Any, params: Any, kind: str = 'int8', platform: str = '') -> tuple[Any, Any]:
    """The model, ready to write, and its parameters as 8-bit numbers; those given stay.

    Args:
      params: arrays; or shapes, for which shapes are returned.
      kind: one of `KINDS`.
      platform: where it is to run: 'cpu', 'gpu' or 'tpu'; '' means here. On CPUs activations are
        rounded as well (`ops.int8.Int8`).

    Raises:
      UserError: another kind; an encoder-decoder; experts.
    """
    if kind not in KINDS:
        raise UserError(f'quantize {kind!r} cannot be used; accepted: {", ".join(KINDS)}')
    if not isinstance(model.config, TransformerConfig):
        raise UserError('quantize: an encoder-decoder cannot be used; accepted: a decoder')
    if any(isinstance(block.mlp, MoEConfig) for block in model.config.stack.pattern):
        raise UserError('quantize: experts cannot be used; accepted: config.model.experts=0')
    model, params = writer.ready(model, params)
    rounds = (platform or jax.default_backend()) == 'cpu'
    make = functools.partial(_made, equations=_equations(model, params), rounds=rounds)
    if isinstance(jax.tree.leaves(params)[0], jax.ShapeDtypeStruct):
        return Quantized(model), jax.eval_shape(make, params)
    return Quantized(model), make(params)


def _equations(model: Any, params: Any) -> tuple[tuple[tuple[str, ...], str], ...]:
    """The path of every kernel that a step reads, and its equation."""
    one_B1, found = jnp.zeros((1, 1), jnp.int32), {}

    def note(call, args, kwargs, context):
        module = context.module
        if isinstance(module, Linear) and context.method_name == '__call__':
            found[(*module.path, 'kernel')] = module.equation
        return call(*args, **kwargs)

    def step(params):
        with nn.intercept_methods(note):
            variables, caches = {'params': params}, model.init_cache(1, 1)
            return model.apply(variables, one_B1, Context.of(one_B1), caches)[0]

    jax.eval_shape(step, params)
    return tuple(found.items())


@functools.partial(jax.jit, static_argnames=('equations', 'rounds'))
def _made(params: Any, equations: tuple, rounds: bool) -> Any:
    equations = dict(equations)
    tables = {('tokens', 'table'), ('head', 'kernel')}  # a row for each token: outputs come first

    def one(path, x):
        path = tuple(key.key for key in path)
        if path in equations:
            return int8.from_kernel(equations[path], x, rounds)
        return Int8.of(x, rounds) if path in tables else x

    return jax.tree_util.tree_map_with_path(one, params)


def _answer(call, args, kwargs, context) -> Any:
    """What a call of a module returns, where a parameter of it is an `Int8`."""
    module = context.module
    if context.method_name != '__call__':
        return call(*args, **kwargs)
    if isinstance(module, TokenHead):
        return _scores(module.unscored(*args, **kwargs))
    if isinstance(module, Linear):
        kernel = module.get_variable('params', 'kernel')
        if isinstance(kernel, Int8):
            return _linear(module, kernel, *args)
    return call(*args, **kwargs)


def _scores(unscored: Unscored) -> jax.Array:
    x_BTE, table = unscored.x_BTE, unscored.table_VE
    scores_RV = table.product(x_BTE.reshape(-1, x_BTE.shape[-1]))
    return unscored.finished(scores_RV.reshape(*x_BTE.shape[:-1], -1))


def _linear(linear: Linear, kernel: Int8, x: jax.Array) -> jax.Array:
    y = int8.product(linear.equation, x.astype(linear.dtype), kernel, linear.shape)
    if not linear.bias:
        return y
    bias = linear.get_variable('params', 'bias').astype(linear.dtype)
    operands, output = linear.equation.split('->')
    size = dict(zip(operands.split(',')[1], linear.shape))
    return y + bias.reshape([size.get(letter, 1) for letter in output])
