"""Reads and changes what flows through a model, from outside: the model does not know.

B batch, T places, D width, N heads, H head width, S places that are attended to.
"""

import collections
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from transformer.blocks import Block
from transformer.layers import Linear
from transformer.models.fit import STACKS
from transformer.writer import split


class Site(NamedTuple):
    """A place in a model where something can be read or put in its stead.

    Attributes:
      stack: 'stack', or 'encoder' or 'decoder'.
      layer: the block, from 0; -1: before the first.
      part: 'residual' is the residual stream [B, T, D] after the block; 'mixer', 'cross' and 'mlp'
        are what a branch made, [B, T, D]; 'mixer_heads' and 'cross_heads' what its heads made,
        before the map to the residual stream, [B, N, T, H]; 'mixer_weights' and 'cross_weights' the
        weights of attention [B, N, T, S], which are only read.
    """

    stack: str
    layer: int
    part: str


BRANCHES = ('mixer', 'cross', 'mlp')
Visit = Callable[[Site, jax.Array], jax.Array]


def apart(model: Any, params: Any) -> tuple[Any, Any]:
    """The same model with a module for each layer, and attention that shows its weights.

    Args:
      params: its parameters; those that layers share stay shared.
    """
    changes = {}
    for name in STACKS:
        stack = getattr(model.config, name, None)
        if stack is None:
            continue
        pattern = tuple(
            dataclasses.replace(block, mixer=_seen(block.mixer), cross=_seen(block.cross))
            for block in stack.pattern
        )
        changes[name] = dataclasses.replace(stack, pattern=pattern, apart=True, remat='none')
        if not stack.apart:
            params = split(name, stack, params)
    return type(model)(dataclasses.replace(model.config, **changes)), params


def _seen(config: Any) -> Any:
    return (
        dataclasses.replace(config, backend='reference') if hasattr(config, 'backend') else config
    )


def run(model: Any, params: Any, batch: Any, visit: Visit, weights: bool = False) -> jax.Array:
    """The head's scores of a batch, float32 [B, T, V] or [B, C], with `visit` at every site.

    Args:
      model: with its layers `apart`.
      visit: (site, x) -> what goes on in the place of x.
      weights: whether weights of attention are visited, too.
    """
    collected = ['intermediates'] if weights else False
    # Accelerators multiply with fewer bits by default.
    with nn.intercept_methods(_Tap(visit)), jax.default_matmul_precision('float32'):
        out = model.apply({'params': params}, batch, method='forward', mutable=collected)
    (scores, _), *_ = out if weights else (out,)
    return scores


class _Tap:
    """Calls `visit` where a block, a branch or its heads hand on what they made.

    Layers are counted as they come: those that share parameters are one module.
    """

    def __init__(self, visit: Visit):
        self._visit, self._layer = visit, collections.Counter()

    def __call__(self, call: Callable, args: tuple, kwargs: dict, where: Any) -> Any:
        module, parent = where.module, where.module.parent
        if where.method_name != '__call__':
            return call(*args, **kwargs)
        if isinstance(module, Block):
            return self._block(call, args, module.path[0])
        if isinstance(parent, Block) and module.name in BRANCHES:
            return self._branch(call, args, module)
        above = getattr(parent, 'parent', None)
        if isinstance(above, Block) and isinstance(module, Linear) and _of_heads(module):
            site = self._site(module, f'{parent.name}_heads')
            return call(self._visit(site, args[0]))
        return call(*args, **kwargs)

    def _site(self, module: nn.Module, part: str) -> Site:
        stack = module.path[0]
        return Site(stack, self._layer[stack], part)

    def _block(self, call: Callable, args: tuple, stack: str) -> Any:
        x_BTD, *rest = args
        layer = self._layer[stack]
        if layer == 0:
            x_BTD = self._visit(Site(stack, -1, 'residual'), x_BTD)
        x_BTD, *more = call(x_BTD, *rest)
        x_BTD = self._visit(Site(stack, layer, 'residual'), x_BTD)
        self._layer[stack] += 1
        return (x_BTD, *more)

    def _branch(self, call: Callable, args: tuple, module: nn.Module) -> Any:
        y_BTD, extra = call(*args)
        if module.has_variable('intermediates', 'weights'):
            weights_BNTS = module.get_variable('intermediates', 'weights')[-1]
            self._visit(self._site(module, f'{module.name}_weights'), weights_BNTS)
        return self._visit(self._site(module, module.name), y_BTD), extra


def _of_heads(module: Linear) -> bool:
    """Whether it maps what heads made, [B, N, T, H], to the residual stream."""
    return module.name == 'out' and module.equation.startswith('bnt')


def capture(
    model: Any, params: Any, batch: Any, wanted: Callable[[Site], bool], weights: bool = False
) -> tuple[jax.Array, dict[Site, jax.Array]]:
    """The scores, and what is found at the sites that are `wanted`; the model is `apart`."""
    found = {}

    def visit(site: Site, x: jax.Array) -> jax.Array:
        if wanted(site):
            found[site] = x
        return x

    return run(model, params, batch, visit, weights), found


def sites(model: Any, params: Any, batch: Any) -> dict[Site, tuple[int, ...]]:
    """All sites of a model and the shapes there; nothing is computed. The model need not be apart.

    Args:
      params, batch: arrays or shapes.
    """

    def shapes(params, batch):
        return capture(*apart(model, params), batch, lambda site: True, weights=True)[1]

    return {site: x.shape for site, x in jax.eval_shape(shapes, params, batch).items()}
