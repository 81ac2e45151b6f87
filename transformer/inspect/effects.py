"""What depends on one head, one layer or one place: by taking it out, or putting another in.

Heads are taken out as in https://arxiv.org/abs/1905.10650; activation patching, or causal tracing,
is that of https://arxiv.org/abs/2202.05262, with the advice of https://arxiv.org/abs/2309.16042.
L layers, B batch, N heads, T places, H head width, E edits.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from transformer.errors import UserError
from transformer.inspect import edits, taps
from transformer.inspect.batches import Batch, as_batch, chosen
from transformer.inspect.edits import ALL
from transformer.inspect.lens import check_head

KINDS = ('heads', 'layers', 'places')
WAYS = ('zero', 'mean')
Key = tuple[str, str]  # a stack, and a part of its layers: 'residual', 'mixer', 'cross', 'mlp'


@dataclasses.dataclass(frozen=True)
class Effects:
    """Changes of the mean log-probability of the targets, nats a target; below 0 it fell.

    What was not asked for, or is not there, is not a number.

    Attributes:
      score: of the model as it is.
      start: of what is changed: `score`, or with patching that of the corrupted text.
      heads: of each head, [L, N].
      layers: of a whole branch of a layer, [L].
      places: of a branch at one place, [L, T]; 'residual' is the residual stream, [L + 1, T], from
        before the first layer to after the last.
    """

    score: float
    start: float
    heads: dict[Key, np.ndarray]
    layers: dict[Key, np.ndarray]
    places: dict[Key, np.ndarray]


def ablate(
    model: Any,
    params: Any,
    tokens: Any,
    *,
    by: str = 'zero',
    kinds: Sequence[str] = KINDS,
    layer: int | None = None,
    head: int | None = None,
) -> Effects:
    """score(model without a part) - score(model), part by part.

    Args:
      tokens: ids [T] or [B, T] of a decoder, or a batch as `model.forward` reads it, with `targets`
        and `weights`. Where it has no targets, they are what the model finds likeliest.
      by: 'zero', or 'mean' over the places of the batch.
      kinds: of parts, some of `KINDS`.
      layer, head: only this one; None means all.

    Raises:
      UserError: an unknown way, kind, layer or head; a model without a head that scores; tokens
        that the model cannot read.
    """
    if by not in WAYS:
        raise UserError(f'by={by!r}: accepted: {", ".join(WAYS)}')
    batch = scored(model, params, as_batch(model, tokens))
    what = _Parts(taps.sites(model, params, batch), kinds, layer, head, residual=False)
    score, found = edits.found(model, params, batch)
    if by == 'zero':
        values = {site: jnp.zeros_like(x) for site, x in found.items()}
    else:
        values = edits.means(found, batch)
    return what.measure(model, params, batch, values, score, score)


def patch(
    model: Any,
    params: Any,
    clean: Any,
    corrupt: Any,
    *,
    kinds: Sequence[str] = KINDS,
    layer: int | None = None,
    head: int | None = None,
) -> Effects:
    """score(model on the corrupted text, a part as on the clean one) - score(corrupted text).

    A part that alone brings back score(clean text) carries what the texts differ in.

    Args:
      clean: as `tokens` of `ablate`.
      corrupt: of the same shape; its targets are those of `clean`.
      kinds, layer, head: as of `ablate`.

    Raises:
      UserError: texts of different lengths, and as of `ablate`.
    """
    check_head(model)
    other, batch = as_batch(model, corrupt), as_batch(model, clean)
    check_same(batch, other)
    batch = scored(model, params, batch)
    other = other | {name: batch[name] for name in ('targets', 'weights')}
    what = _Parts(taps.sites(model, params, batch), kinds, layer, head, residual=True)
    score, values = edits.found(model, params, batch)
    start, _ = edits.found(model, params, other)
    return what.measure(model, params, other, values, score, start)


def check_same(clean: Batch, corrupt: Batch) -> None:
    """Raises a `UserError` where two texts differ in length."""
    for name in clean.keys() & corrupt.keys() - {'targets', 'weights'}:
        ours, theirs = clean[name].shape, corrupt[name].shape
        if ours != theirs:
            unit = 'pixels' if name == 'images' else 'tokens'
            theirs, ours = (' x '.join(map(str, shape[1:])) for shape in (theirs, ours))
            raise UserError(f'the corrupted text has {theirs} {unit}, the clean one {ours}; '
                            'accepted: as many')  # fmt: skip


def scored(model: Any, params: Any, batch: Batch) -> Batch:
    """The batch with `targets` and `weights`: where it has none, the model's own answers.

    Weights alone say at which places.

    Raises:
      UserError: the model has no head that scores; there is nothing to score.
    """
    check_head(model)
    if 'targets' not in batch:
        answers = edits.answers(model, params, batch)
        weights = jnp.ones(answers.shape)
        if answers.ndim > 1 and 'segment_ids' in batch:
            weights = batch.get('decoder_segment_ids', batch['segment_ids']) > 0
        batch = {'weights': weights.astype(jnp.float32), **batch, 'targets': answers}
    if not np.asarray(batch['weights']).any():
        raise UserError('the text has nothing to score; accepted: at least two tokens, or a target')
    return batch


class _Parts:
    """Which parts are edited, and where their effects go.

    Args:
      shapes: of all sites.
      residual: whether the residual stream counts; without it nothing would be left to measure.
    """

    def __init__(self, shapes: dict, kinds: Sequence[str], layer, head, residual: bool):
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown or not kinds:
            raise UserError(f'kinds={tuple(kinds)!r}: accepted: some of {", ".join(KINDS)}')
        self._sites, self._edits, self._where = edits.editable(shapes), [], []
        self._effects = {kind: {} for kind in KINDS}
        depths = {site.stack: site.layer + 1 for site in self._sites}
        chosen('layer', layer, max(depths.values()))
        if head is not None:
            widest = max((x[1] for site, x in self._sites.items() if _heads(site)), default=0)
            if not widest:
                raise UserError(f'head {head}: the mixers of the model have no heads')
            chosen('head', head, widest)
        for number, (site, shape) in enumerate(self._sites.items()):
            if layer is not None and site.layer != layer:
                continue
            if site.part == 'residual':
                if residual and 'places' in kinds:
                    self._add('places', site, shape, depths, number, range(shape[1]), first=-1)
            elif _heads(site):
                if 'heads' in kinds:
                    heads = [n for n in range(shape[1]) if head in (None, n)]
                    self._add('heads', site, shape, depths, number, heads)
            else:
                if 'layers' in kinds:
                    self._add('layers', site, (), depths, number, [ALL])
                if 'places' in kinds:
                    self._add('places', site, shape, depths, number, range(shape[1]))

    def _add(self, kind, site, shape, depths, number, items, first=0) -> None:
        """Edits of a site: of its heads, of its places, or of the whole."""
        key = site.stack, site.part.removesuffix('_heads')
        rows = depths[site.stack] - first
        wide = [s[1] for other, s in self._sites.items() if other[::2] == site[::2]]
        size = (rows, max(wide)) if shape else (rows,)
        into = self._effects[kind].setdefault(key, np.full(size, np.nan))
        for item in items:
            self._edits.append((number, *((item, ALL) if kind == 'heads' else (ALL, item))))
            self._where.append((into, (site.layer - first, item)[: into.ndim]))

    def measure(self, model, params, batch: Batch, values: dict, score, start) -> Effects:
        """The effects of values that are put in their places, one by one."""
        values = {site: values[site] for site in self._sites}
        start = float(start)
        if self._edits:
            plan = np.array(self._edits, np.int32)
            made = edits.scores(model, params, batch, values, plan)
            for found, (into, at) in zip(made, self._where):
                into[at] = found - start
        effects = {kind: dict(sorted(x.items(), key=_order)) for kind, x in self._effects.items()}
        return Effects(float(score), start, **effects)


def _heads(site: taps.Site) -> bool:
    return site.part.endswith('_heads')


def _order(item: tuple[Key, np.ndarray]) -> tuple[int, int]:
    """As the model works: an encoder first, and each branch after the one before it."""
    stack, part = item[0]
    return taps.STACKS.index(stack), ('residual', *taps.BRANCHES).index(part)
