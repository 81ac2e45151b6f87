"""A look as pictures, PNG. L layers, N heads, T places that look, S places that are looked at."""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from transformer.inspect.effects import KINDS, Effects
from transformer.inspect.findings import name_of
from transformer.inspect.look import Look
from transformer.inspect.maps import AttentionMap

COLUMNS = 4  # heads beside one another
LABELS = 80  # that an axis has room for
WORDS = 2000  # that a picture has room for
DOTS = 110  # an inch
TITLE = 8.5  # inches that a title may take


PICTURES = ('attention_*_[0-9]*.png', 'lens.png')  # their names
PICTURES += tuple(f'{way}_{kind}.png' for way in ('ablation', 'patching') for kind in KINDS)


def pictures(look: Look) -> Iterator[tuple[str, str, bytes]]:
    """(name of the file, what it shows, PNG) of all pictures."""
    for found in look.maps:
        title = f'attention, {name_of((found.stack, found.part))}, layer {found.layer}'
        name = f'attention_{found.stack}_{found.part}_{found.layer}.png'
        yield name, title, _png(title, _attention, look, found)
    if look.lens is not None:
        title = 'logit lens: the likeliest after each layer, and its probability'
        yield 'lens.png', title, _png(title, _lens, look)
    removed = f'taken out (by {look.by})'
    ways = {'ablation': (removed, look.ablated), 'patching': ('patched', look.patched)}
    for way, (what, effects) in ways.items():
        for kind in ('heads', 'layers', 'places'):
            if effects is not None and getattr(effects, kind):
                title = f'{kind} {what}: change of the log-probability of the targets, nats'
                yield f'{way}_{kind}.png', title, _png(title, _effects, look, effects, kind)


def _png(title: str, draw: Callable[..., None], *what: Any) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(dpi=DOTS, layout='constrained')
    FigureCanvasAgg(figure)
    draw(figure, *what)
    figure.suptitle(title, parse_math=False)
    written = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph .* missing')  # the font lacks some scripts
        figure.savefig(written, format='png')
    return written.getvalue()


def _attention(figure: Any, look: Look, found: AttentionMap) -> None:
    weights_NTS = found.weights_BNTS[0]
    rows, columns = look.case.labels[found.stack], look.case.labels[found.seen]
    heads = [n for n in range(len(weights_NTS)) if look.head in (None, n)]
    across = min(COLUMNS, len(heads))
    down = -(-len(heads) // across)
    high, wide = (min(max(1.4 + 0.13 * len(x), 2.2), 12) for x in (rows, columns))
    figure.set_size_inches(max(across * wide, 5), down * high + 0.6)
    all_axes = figure.subplots(down, across, squeeze=False).flatten()
    for axes in all_axes[len(heads) :]:
        axes.set_axis_off()
    for place, (head, axes) in enumerate(zip(heads, all_axes)):
        axes.imshow(weights_NTS[head], vmin=0, vmax=1, cmap='Blues', interpolation='nearest')
        axes.set_title(f'head {head}', fontsize=8)
        _name(axes, rows if place % across == 0 else (), columns)


def _lens(figure: Any, look: Look) -> None:
    lens, name = look.lens, 'decoder' if 'decoder' in look.case.labels else 'stack'
    whole = lens.entropy_LBT.ndim == 2
    tokens_LT = lens.tokens_LBTK[:, :1, 0] if whole else lens.tokens_LBTK[:, 0, :, 0]
    chances_LT = lens.chances_LBTK[:, :1, 0] if whole else lens.chances_LBTK[:, 0, :, 0]
    L, T = chances_LT.shape
    figure.set_size_inches(min(max(2 + 0.62 * T, 6), 60), 1.6 + 0.26 * L)
    axes = figure.subplots()
    shown = axes.imshow(chances_LT, vmin=0, vmax=1, cmap='Blues', aspect='auto', origin='lower')
    for layer, place in np.ndindex(L, T) if L * T <= WORDS else ():
        text = look.subject.piece(int(tokens_LT[layer, place]))[:9]
        colour = 'white' if chances_LT[layer, place] > 0.6 else 'black'
        how = {'ha': 'center', 'va': 'center', 'fontsize': 7, 'parse_math': False}
        axes.text(place, layer, text, color=colour, **how)
    _name(axes, ['none', *map(str, range(L - 1))], ['class'] if whole else look.case.labels[name])
    axes.set_ylabel('after layer')
    figure.colorbar(shown, ax=axes, pad=0.01)


def _effects(figure: Any, look: Look, effects: Effects, kind: str) -> None:
    found = getattr(effects, kind)
    if kind == 'layers':
        found = {('stack', 'branch'): _side_by_side(found)}
        across = [name_of(key) for key in effects.layers]
    most = max(max(float(np.nanmax(np.abs(x), initial=0)) for x in found.values()), 1e-9)
    widths = [x.shape[1] for x in found.values()]
    depth = max(len(x) for x in found.values())
    wide = min(max(2.4 * len(found) + 0.17 * sum(widths), TITLE), 60)
    figure.set_size_inches(wide, max(1.6 + 0.24 * depth, 3))
    all_axes = figure.subplots(1, len(found), squeeze=False, width_ratios=[w + 3 for w in widths])
    for axes, (key, x) in zip(all_axes[0], found.items()):
        how = {'vmin': -most, 'vmax': most, 'cmap': 'RdBu', 'origin': 'lower', 'aspect': 'auto'}
        shown = axes.imshow(x, interpolation='nearest', **how)
        first = ['before', *map(str, range(len(x) - 1))]
        rows = first if key[1] == 'residual' else list(map(str, range(len(x))))
        if kind == 'layers':
            _name(axes, rows, across)
        else:
            labels = look.case.labels[key[0]] if kind == 'places' else map(str, range(x.shape[1]))
            _name(axes, rows, tuple(labels))
            axes.set_title(name_of(key), fontsize=9)
            axes.set_xlabel('head' if kind == 'heads' else '')
        axes.set_ylabel('layer')
    figure.colorbar(shown, ax=all_axes, pad=0.01)


def _side_by_side(found: dict) -> np.ndarray:
    """Layers of all branches, [L, K]."""
    made = np.full((max(map(len, found.values())), len(found)), np.nan)
    for k, x in enumerate(found.values()):
        made[: len(x), k] = x
    return made


def _name(axes: Any, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Labels, every one of them or at even distances."""
    for axis, labels, turn in ((axes.yaxis, rows, 0), (axes.xaxis, columns, 90)):
        step = -(-len(labels) // LABELS) or 1
        places = range(0, len(labels), step)
        axis.set_ticks(places, [labels[i][:12] for i in places], parse_math=False)
        size, long = 7 if len(labels) <= 40 else 5, any(len(x) > 2 for x in labels)
        axis.set_tick_params(labelsize=size, labelrotation=turn if long else 0, length=2)
