"""A model made ready to write text: nothing that a step of decoding reads need be copied for it.

The parameters and caches of each layer are arrays of their own (`StackConfig.apart`): slices of the
arrays that training stacks over depth would be copied for every token. Parameters have the type
that they are read in: a cast would be done again for every token.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from transformer.config import StackConfig, TransformerConfig
from transformer.context import Context


def ready(model: Any, params: Any) -> tuple[Any, Any]:
    """The same model and its parameters, ready to write; the arrays given stay as they are.

    Args:
      model: a `Transformer` or an `EncoderDecoder`, whose decoder alone is changed.
      params: arrays, of which new ones are made; or shapes, for which shapes are returned.
    """
    name, stack = _decoder(model)
    if stack.apart:
        return model, params
    changed = dataclasses.replace(stack, apart=True, remat='none')
    writer = type(model)(dataclasses.replace(model.config, **{name: changed}))
    shapes = jax.eval_shape(functools.partial(split, name, stack), params)
    leaves, tree = jax.tree.flatten(shapes)
    types = _read_types(writer, tree, tuple(leaves))
    shardings = _shardings(name, stack, params)
    if not isinstance(jax.tree.leaves(params)[0], jax.ShapeDtypeStruct):
        return writer, _made(params, name, stack, types, shardings)
    laid = shardings or (None,) * len(leaves)
    made = map(lambda x, t, s: jax.ShapeDtypeStruct(x.shape, t, sharding=s), leaves, types, laid)
    return writer, tree.unflatten(made)


@functools.partial(jax.jit, static_argnames=('name', 'stack', 'types', 'shardings'))
def _made(params: Any, name: str, stack: StackConfig, types: tuple, shardings: tuple) -> Any:
    leaves, tree = jax.tree.flatten(split(name, stack, params))
    leaves = [x.astype(dtype) for x, dtype in zip(leaves, types)]
    if shardings:
        leaves = [jax.lax.with_sharding_constraint(*both) for both in zip(leaves, shardings)]
    return tree.unflatten(leaves)


@functools.lru_cache(maxsize=16)
def _read_types(model: Any, tree: Any, shapes: tuple) -> tuple:
    """For each parameter the type that a step of decoding casts it to, or else its own."""
    one_B1, memory = jnp.zeros((1, 1), jnp.int32), () if _decoder(model)[0] == 'stack' else (1,)

    def step(params):
        caches = model.init_cache(1, 1, *memory)
        return model.apply({'params': params}, one_B1, Context.of(one_B1), caches)[0]

    jaxpr = jax.make_jaxpr(step)(tree.unflatten(shapes)).jaxpr
    reads = {id(x): set() for x in jaxpr.invars}
    for equation in jaxpr.eqns:
        for x in equation.invars:
            if id(x) in reads:
                reads[id(x)].add(equation.params.get('new_dtype'))  # None: it is read as it is
    found = [reads[id(x)] for x in jaxpr.invars]
    return tuple(
        next(iter(types)) if len(types) == 1 and None not in types else x.dtype
        for x, types in zip(shapes, found)
    )


def _decoder(model: Any) -> tuple[str, StackConfig]:
    name = 'stack' if isinstance(model.config, TransformerConfig) else 'decoder'
    return name, getattr(model.config, name)


def split(name: str, stack: StackConfig, params: Any, pick: Callable = lambda x, i: x[i]) -> Any:
    """What lies below `repeat` or `shared` of the stack `name` lies below `repeat_i` instead.

    Args:
      pick: makes of an array with an axis of sets that of set i.
    """
    rest = dict(params[name])
    if 'shared' in rest:
        return {**params, name: {'repeat_0': rest.pop('shared'), **rest}}
    sets = rest.pop('repeat')
    one = lambda i: jax.tree.map(lambda x: pick(x, i), sets)  # noqa: E731
    return {**params, name: {f'repeat_{i}': one(i) for i in range(stack.sets)} | rest}


def _shardings(name: str, stack: StackConfig, params: Any) -> tuple[NamedSharding, ...]:
    """Layout of each parameter; nothing where there is no mesh.

    Devices along the axis of sets, those of a pipeline, hold copies.
    """
    laid = jax.tree.map(lambda x: getattr(x, 'sharding', None), params)
    if not all(isinstance(s, NamedSharding) for s in jax.tree.leaves(laid)):
        return ()
    of_one = lambda s, i: NamedSharding(s.mesh, PartitionSpec(*s.spec[1:]))  # noqa: E731
    return tuple(jax.tree.leaves(split(name, stack, laid, of_one)))
