"""Everything that is shown of one case. L layers, N heads, T places."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from transformer.errors import UserError
from transformer.inspect import taps
from transformer.inspect.batches import chosen
from transformer.inspect.effects import KINDS, WAYS, Effects, ablate, check_same, patch, scored
from transformer.inspect.lens import Lens, check_head, logit_lens
from transformer.inspect.maps import AttentionMap, attention
from transformer.inspect.patterns import Patterns, head_patterns
from transformer.inspect.subject import Case, Subject

WANTED = ('attention', 'lens', *KINDS)


@dataclasses.dataclass(frozen=True)
class Look:
    """What was found; None or () for what was not asked for, or is not there.

    Attributes:
      case: with the targets that effects are measured at.
      corrupt: what is patched, or None.
      ablated, patched: effects of taking parts out, and of putting them in.
      by: how parts are taken out.
      head: the only one that is shown, or None.
      notes: what is not there, and why.
    """

    subject: Subject
    case: Case
    corrupt: Case | None
    maps: Sequence[AttentionMap] = ()
    lens: Lens | None = None
    patterns: Patterns | None = None
    ablated: Effects | None = None
    patched: Effects | None = None
    by: str = 'zero'
    head: int | None = None
    notes: tuple[str, ...] = ()


def look(
    subject: Subject,
    case: Case,
    corrupt: Case | None = None,
    *,
    only: Sequence[str] = WANTED,
    layer: int | None = None,
    head: int | None = None,
    by: str = 'zero',
    report: Callable[[str], None] = lambda line: None,
) -> Look:
    """Looks at all that is wanted.

    Args:
      corrupt: of the same length, to be patched.
      only: some of `WANTED`.
      layer, head: only this one, counted from 0; None means all. The lens has all layers.
      by: as of `effects.ablate`.
      report: told what takes time.

    Raises:
      UserError: unknown names, ways, layers or heads; texts of different lengths; another text
        where nothing is patched; a model that has nothing to look at.
    """
    unknown = [name for name in only if name not in WANTED]
    if unknown:
        raise UserError(f'--only={",".join(unknown)}: accepted: {", ".join(WANTED)}')
    if by not in WAYS:
        raise UserError(f'--by={by}: accepted: {", ".join(WAYS)}')
    if corrupt is not None and not set(KINDS) & set(only):
        raise UserError(
            f'--only={",".join(only)}: with --corrupt accepted: one of {", ".join(KINDS)}, which '
            'are patched'
        )
    model, params = subject.model, subject.params
    _check(taps.sites(model, params, case.batch), layer, head)
    if corrupt is not None:
        check_same(case.batch, corrupt.batch)
    found, notes = {}, []

    def tried(name: str, make) -> None:
        try:
            found[name] = make()
        except UserError as error:
            notes.append(str(error))

    if 'attention' in only:
        tried(
            'maps',
            lambda: [m for m in attention(model, params, case.batch) if layer in (None, m.layer)],
        )
        if 'maps' in found and _repeats(subject):
            tokens = None if subject.tokenizer is None else subject.tokenizer.ordinary
            tried('patterns', lambda: head_patterns(model, params, tokens=tokens).only(layer, head))
    if {'lens', *KINDS} & set(only):
        tried('case', lambda: _with_targets(subject, case))
    if 'case' in found:
        batch, kinds = found['case'].batch, [kind for kind in KINDS if kind in only]
        if 'lens' in only:
            found['lens'] = logit_lens(model, params, batch)
        how = {'kinds': kinds, 'layer': layer, 'head': head}
        if kinds:
            report(f'taking out {", ".join(kinds)}')
            found['ablated'] = ablate(model, params, batch, by=by, **how)
        if kinds and corrupt is not None:
            report(f'patching {", ".join(kinds)}')
            found['patched'] = patch(model, params, batch, corrupt.batch, **how)
    if not found:
        raise UserError('; '.join(notes))
    found |= {'subject': subject, 'case': found.get('case', case), 'corrupt': corrupt}
    return Look(**found, by=by, head=head, notes=tuple(dict.fromkeys(notes)))


def _check(sites: dict, layer: int | None, head: int | None) -> None:
    chosen('--layer', layer, 1 + max(site.layer for site in sites))
    if head is not None:
        counts = [x[1] for site, x in sites.items() if site.part.endswith('_heads')]
        if not counts:
            raise UserError(f'--head {head}: the mixers of the model have no heads')
        chosen('--head', head, max(counts))


def _repeats(subject: Subject) -> bool:
    """Whether tokens that are said twice mean anything to it."""
    return subject.objective.SHAPE == 'decoder'


def _with_targets(subject: Subject, case: Case) -> Case:
    check_head(subject.model)
    batch = scored(subject.model, subject.params, case.batch)
    return dataclasses.replace(case, batch={name: np.asarray(x) for name, x in batch.items()})
