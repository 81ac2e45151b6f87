"""Evaluators: from a model, its parameters and batches to (name, value) pairs."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from transformer import losses, sharding, step


class Perplexity:
    """Loss, perplexity and bits per byte over every weighted token of a split, each once.

    Args:
      model: a decoder.
      mesh: where parameters and batches lie.
      param_shardings: of the parameters.
    """

    def __init__(self, model: Any, mesh: Mesh, param_shardings: Any):
        whole = NamedSharding(mesh, PartitionSpec())
        batch = NamedSharding(mesh, sharding.BATCH)

        def nats_and_tokens(params, batch):
            one = jax.tree.map(lambda x: x[0], batch)
            logits_BTV, _, _ = model.apply({'params': params}, one['inputs'], step.context_of(one))
            return losses.next_token(logits_BTV, one['targets'], one['weights']), one[
                'weights'
            ].sum()

        self._mesh = mesh
        self._sums: Callable = jax.jit(
            nats_and_tokens, in_shardings=(param_shardings, batch), out_shardings=whole
        )

    def __call__(self, params: Any, batches: Iterable, text_bytes: int) -> Iterator:
        """Yields `loss` (nats a token), `perplexity`, `bits_per_byte` and `tokens`.

        Args:
          batches: dicts of arrays [1, B, T], of this process's rows.
          text_bytes: UTF-8 length of the text that the batches hold.
        """
        # Summed on the host in float64, one batch behind, so that the device never waits.
        nats = tokens = 0.0
        before = None
        for batch in batches:
            sums = self._sums(params, sharding.put_batch(batch, self._mesh))
            if before is not None:
                nats, tokens = nats + float(before[0]), tokens + float(before[1])
            before = sums
        if before is None:
            raise ValueError('there are no batches to evaluate on')
        nats, tokens = nats + float(before[0]), tokens + float(before[1])
        loss = nats / tokens
        yield 'loss', loss
        yield 'perplexity', math.exp(min(loss, 700.0))
        yield 'bits_per_byte', nats / math.log(2) / text_bytes
        yield 'tokens', int(tokens)
