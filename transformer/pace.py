"""How fast a decoder writes with its cache, and how large that is."""

import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformer.decode import Generator
from transformer.errors import ConfigError, UserError
from transformer.sampling import Sampling

BLOCKS = 8  # timed one by one: the median of them is told


def pace(model: Any, params: Any, rows: int, context: int) -> Iterator[tuple[str, float]]:
    """Yields `decode/tokens_per_second`, of all rows, and `decode/cache_bytes`, of all layers.

    Rows of random tokens that fill half of the context are written on, greedily, to its end. What
    is timed is the writing alone, once everything is compiled. The cache is that of whole rows of
    the context; of it numbers count (keys, values, states), not what places belong to.

    Args:
      model: a decoder.
      rows: texts that are written together.
      context: tokens of a text; no more than the model's.

    Raises:
      UserError: no rows.
      ConfigError: a context that is too short to write in.
    """
    if rows < 1:
        raise UserError(f'{rows} rows cannot be written; accepted: at least 1')
    if context < 4:
        raise ConfigError('context', context, 'at least 4, to write in half of it')
    blocks = min(BLOCKS, context // 2)
    every = context // 2 // blocks
    rng = np.random.default_rng(0)
    texts = rng.integers(0, model.config.tokens.vocab, (rows, context - every * blocks)).tolist()
    generator = Generator(model, params, None, Sampling(0.0))
    for _ in range(2):  # the first compiles
        written = generator.stream(texts, every * blocks, every=every)
        ends = [time.monotonic() for _ in written]
    # The first block also reads the texts.
    yield 'decode/tokens_per_second', rows * every / float(np.median(np.diff(ends)))
    yield 'decode/cache_bytes', cache_bytes(model, rows, context)


def cache_bytes(model: Any, rows: int, slots: int) -> int:
    """Bytes of the numbers that a decoder keeps of rows of so many tokens; nothing is allocated."""
    cache = jax.eval_shape(lambda: model.init_cache(rows, slots))
    return sum(
        x.size * x.dtype.itemsize
        for x in jax.tree.leaves(cache)
        if jnp.issubdtype(x.dtype, jnp.inexact)
    )
