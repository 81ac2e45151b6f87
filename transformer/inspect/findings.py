"""A look in numbers: for programs, and as tables for a terminal. L layers, N heads, T places."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import rich.box
import rich.console
import rich.table

from transformer.inspect.effects import Effects, Key
from transformer.inspect.look import Look

SHOWN = 10  # heads of a table
TAKEN, PATCHED = 'taken out', 'patched'


def to_json(look: Look) -> dict[str, Any]:
    """As `json.dumps` takes it; None is what is not there."""
    case, effects = look.case, {'ablation': look.ablated, 'patching': look.patched}
    made = {
        'model': look.subject.name,
        'read': case.title,
        'corrupt': None if look.corrupt is None else look.corrupt.title,
        'places': {name: list(labels) for name, labels in case.labels.items()},
        'targets': [{'place': place, 'target': name} for place, name in targets(look)],
        'lens': None if look.lens is None else lens_lines(look),
        'patterns': None,
        'by': look.by,
        'notes': list(look.notes),
    }
    if look.patterns is not None:
        made['patterns'] = {name: _plain(x) for name, x in vars(look.patterns).items()}
    for name, found in effects.items():
        made[name] = None if found is None else _effects(found)
    return made


def _effects(effects: Effects) -> dict[str, Any]:
    made: dict[str, Any] = {'score': effects.score, 'start': effects.start}
    for kind in ('heads', 'layers', 'places'):
        made[kind] = {name_of(key): _plain(x) for key, x in getattr(effects, kind).items()}
    return made


def _plain(x: np.ndarray) -> Any:
    return np.where(np.isnan(x), None, x.astype(object)).tolist()


def name_of(key: Key) -> str:
    """'mixer', or where a model has two stacks 'encoder mixer'."""
    stack, part = key
    return part if stack == 'stack' else f'{stack} {part}'


def targets(look: Look) -> Iterator[tuple[int, str]]:
    """(place, text) of what is scored; a class of a whole sequence has place 0."""
    batch = look.case.batch
    if 'targets' in batch:
        for place in np.flatnonzero(np.atleast_1d(batch['weights'][0])):
            number = int(np.atleast_1d(batch['targets'][0])[place])
            yield int(place), look.subject.piece(number)


def lens_lines(look: Look) -> list[dict[str, Any]]:
    """What would be said after each layer, at the last place that is scored."""
    lens, place = look.lens, [place for place, _ in targets(look)][-1]
    whole = lens.entropy_LBT.ndim == 2  # no axis T
    at = (0,) if whole else (0, place)
    return [
        {
            'layer': layer,
            'place': place,
            'token': look.subject.piece(int(lens.tokens_LBTK[layer, *at, 0])),
            'chance': float(lens.chances_LBTK[layer, *at, 0]),
            'entropy': float(lens.entropy_LBT[layer, *at]),
            'divergence': float(lens.divergence_LBT[layer, *at]),
        }
        for layer in range(len(lens.tokens_LBTK))
    ]


def summary(look: Look) -> Iterator[tuple[str, str]]:
    """(name, phrase) of what is told in a line each."""
    yield 'model', look.subject.name
    yield 'read', look.case.title
    yield 'places', ', '.join(f'{name} {len(x)}' for name, x in look.case.labels.items())
    scored = [name for _, name in targets(look)]
    if scored:
        some = ' '.join(scored[:20]) + (' …' if len(scored) > 20 else '')
        yield 'targets', f'{len(scored)}: {some}'
    if look.ablated is not None:
        score = look.ablated.score
        yield 'score', f'{score:.4f} nats a target, chance {np.exp(score):.3g}'
        yield 'taken out', f'by {look.by}'
    if look.patched is not None:
        start = look.patched.start
        yield 'corrupted', f'{look.corrupt.title}: {start:.4f}, chance {np.exp(start):.3g}'
    for note in look.notes:
        yield 'note', note


def head_lines(look: Look) -> list[tuple[str, ...]]:
    """A table of the heads with the greatest effects, or else induction; its head first.

    Effects have a sign, shares of attention none.
    """
    columns = _head_columns(look)
    if not columns:
        return []
    first = next(iter(columns.values()))
    found = sorted(first, key=lambda at: -abs(np.nan_to_num(first[at])))[:SHOWN]
    lines = [('head', *columns)]
    for at in found:
        key, layer, head = at
        cells = (_number(x.get(at, np.nan), name) for name, x in columns.items())
        lines.append((f'{name_of(key)} L{layer}H{head}', *cells))
    return lines


def _head_columns(look: Look) -> dict[str, dict[tuple[Key, int, int], float]]:
    found = {}
    for name, effects in ((TAKEN, look.ablated), (PATCHED, look.patched)):
        if effects is not None and effects.heads:
            found[name] = dict(_each_head(effects.heads))
    if look.patterns is not None:
        for name, x in vars(look.patterns).items():
            found[name] = dict(_each_head({('stack', 'mixer'): x}))
    return found


def _each_head(by_key: dict[Key, np.ndarray]) -> Iterator[tuple[tuple[Key, int, int], float]]:
    for key, x_LN in by_key.items():
        for layer, head in np.argwhere(~np.isnan(x_LN)).tolist():
            yield (key, layer, head), float(x_LN[layer, head])


def layer_lines(effects: Effects) -> list[tuple[str, ...]]:
    """A table of whole branches, layer by layer; its head first."""
    if not effects.layers:
        return []
    depth = max(map(len, effects.layers.values()))
    lines = [('layer', *map(name_of, effects.layers))]
    for layer in range(depth):
        cells = (x[layer] if layer < len(x) else np.nan for x in effects.layers.values())
        lines.append((str(layer), *map(_number, cells)))
    return lines


def _number(value: float, name: str = TAKEN) -> str:
    if np.isnan(value):
        return ''
    return f'{value:+.3f}' if name in (TAKEN, PATCHED) else f'{value:.3f}'


def draw(look: Look, console: rich.console.Console) -> None:
    """Prints the summary and the tables."""
    for name, phrase in summary(look):
        console.print(f'{name:<10}{phrase}', soft_wrap=True)
    if look.lens is not None:
        lines = [('after layer', 'says', 'chance', 'entropy', 'KL to last')]
        for line in lens_lines(look):
            numbers = (f'{line[name]:.3f}' for name in ('chance', 'entropy', 'divergence'))
            name = 'none' if not line['layer'] else str(line['layer'] - 1)
            lines.append((name, line['token'], *numbers))
        _table(console, 'logit lens, at the last target', lines)
    _table(console, 'heads: change of the score, and what they attend to', head_lines(look))
    for title, effects in ((TAKEN, look.ablated), (PATCHED, look.patched)):
        if effects is not None:
            _table(console, f'layers {title}: change of the score', layer_lines(effects))


def _table(console: rich.console.Console, title: str, lines: list[tuple[str, ...]]) -> None:
    if not lines:
        return
    console.print(f'\n{title}')
    table = rich.table.Table(box=rich.box.SIMPLE)
    for k, name in enumerate(lines[0]):
        table.add_column(name, justify='right' if k else 'left')
    for cells in lines[1:]:
        table.add_row(*cells)
    console.print(table)
