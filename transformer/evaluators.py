"""Evaluators: from a model, its parameters and batches to (name, value) pairs."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from transformer import losses, sharding, text_metrics
from transformer.objectives import Objective
from transformer.prefetch import Ahead

CONFUSION_AT_MOST = 1000  # classes for which every pair of (true, predicted) is counted


class Scores:
    """What an objective's targets say of a model, over every weighted target of a split, once.

    For tokens: `loss` (nats a target), `perplexity`, `bits_per_byte` (where the text's size is
    known), `accuracy`. For classes: `loss`, `accuracy`, `f1` (macro), and for tags `tag_f1` (micro,
    without the tag 'O'). Of a mixture also `loss/NAME` of each source that has a target; of
    parts of rows `loss/part_1` and so on of each that has one.

    Args:
      model: with `forward`.
      objective: what the model is trained to do.
      classes: names of the classes or tags, if there are any.
      mesh: where parameters and batches lie.
      param_shardings: of the parameters.
      sources: names of the sources of a mixture, whose batches have `source`.
      loss_chunk: tokens that a device scores at a time, `losses.way`.
      parts: equal parts of a row of tokens that are also measured by themselves.
    """

    def __init__(
        self,
        model: Any,
        objective: Objective,
        classes: tuple[str, ...],
        mesh: Mesh,
        param_shardings: Any,
        sources: Sequence[str] = (),
        loss_chunk: int = 0,
        parts: int = 0,
    ):
        whole = NamedSharding(mesh, PartitionSpec())
        C = len(classes) if 0 < len(classes) <= CONFUSION_AT_MOST else 0

        def sums(params, batch):
            one = jax.tree.map(lambda x: x[0], batch)
            used = {'params': sharding.at_use(params, model)}
            weights, targets = one['weights'], one['targets']
            way = losses.way(model.config.head, targets.shape, loss_chunk)
            scores, _ = sharding.apply(model, used, one, method=way.method)
            nats_B, right_B = way.report(scores, targets, weights)
            found = {'nats': nats_B.sum(), 'count': weights.sum(), 'right': right_B.sum()}
            if C:
                pairs = jnp.ravel(targets * C + scores.argmax(-1))
                counts = jnp.bincount(pairs, jnp.ravel(weights), length=C * C)
                found['confusion'] = counts.reshape(C, C)
            if sources:
                found |= losses.by_source(nats_B, weights, one['source'], sources)
            for k, part_BT in enumerate(losses.parts(weights, parts), 1):
                nats_B, _ = way.report(scores, targets, part_BT)
                found |= {f'nats/part_{k}': nats_B.sum(), f'tokens/part_{k}': part_BT.sum()}
            return found

        self._mesh, self._classes, self._objective = mesh, classes, objective
        self._sources = tuple(sources)
        self._parts = [f'part_{k + 1}' for k in range(parts)]
        layout = {'in_shardings': (param_shardings, None), 'out_shardings': whole}
        self._sums = jax.jit(sharding.under(mesh, sums), **layout)

    def __call__(self, params: Any, batches: Iterable, text_bytes: int = 0) -> Iterator:
        """Yields (name, value); last the number of targets, `tokens` or `examples`, and of sources.

        Args:
          batches: dicts of arrays [1, B, ...], of this process's rows.
          text_bytes: UTF-8 length of the text that the batches hold, if bits per byte are wanted.

        Raises:
          ValueError: there are no batches, or nothing in them counts.
        """
        # Summed on the host in float64, one batch behind, so that the device never waits.
        total, before = {}, None

        def add(sums):
            for name, x in jax.device_get(sums).items():
                total[name] = total.get(name, 0) + np.asarray(x, np.float64)

        with Ahead(batches, self._mesh) as ready:
            for batch in ready:
                sums = self._sums(params, batch)
                if before is not None:
                    add(before)
                before = sums
        if before is None:
            raise ValueError('there are no batches to evaluate on')
        add(before)
        count = float(total['count'])
        if not count:
            raise ValueError('nothing in the batches counts: all weights are 0')
        loss = float(total['nats']) / count
        yield 'loss', loss
        if not self._classes:
            yield 'perplexity', math.exp(min(loss, 700.0))
        if text_bytes:
            yield 'bits_per_byte', float(total['nats']) / math.log(2) / text_bytes
        yield 'accuracy', float(total['right']) / count
        if 'confusion' in total:
            yield 'f1', text_metrics.macro_f1(total['confusion'])
            if self._objective.HEAD == 'token_class' and 'O' in self._classes:
                outside = self._classes.index('O')
                yield 'tag_f1', text_metrics.micro_f1(total['confusion'], outside)
        targets = 'examples' if self._objective.HEAD == 'class' else 'tokens'
        yield targets, int(count)
        for name in self._sources:
            if of_source := float(total[f'tokens/{name}']):
                yield f'loss/{name}', float(total[f'nats/{name}']) / of_source
                yield f'{targets}/{name}', int(of_source)
        for name in self._parts:
            if of_part := float(total[f'tokens/{name}']):
                yield f'loss/{name}', float(total[f'nats/{name}']) / of_part


def generated(predictions: list[str], references: list[str], lowercase: bool = False) -> Iterator:
    """Yields scores of generated texts, 0 to 100.

    `bleu`, `bleu_intl`, `rouge1`, `rouge2`, `rougeL`, `token_f1` and `exact_match`.

    Both BLEUs are sacrebleu's: of words as its tokenizer 13a finds them, and as 'intl' does, which
    also splits at hyphens and apostrophes, as tokenizers of linguists do.

    Raises:
      UserError: sacrebleu is not installed.
    """
    for name, tokenize in (('bleu', '13a'), ('bleu_intl', 'intl')):
        score, signature = text_metrics.bleu(
            predictions, references, lowercase=lowercase, tokenize=tokenize
        )
        yield name, score
        yield f'{name}_signature', signature
    for name in ('1', '2', 'L'):
        yield f'rouge{name}', text_metrics.rouge(predictions, references, name)
    yield 'token_f1', text_metrics.token_f1(predictions, references)
    yield 'exact_match', text_metrics.exact_match(predictions, references, lowercase)
