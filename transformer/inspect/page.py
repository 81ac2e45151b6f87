"""A look as one page of HTML that needs nothing else: no file, no network.

Maps of attention are drawn by a short script of the page's own, the only one that a browser may run
there; everything else is text and pictures.
"""

import base64
import hashlib
import html
import json
from collections.abc import Iterator, Sequence

import numpy as np

from transformer.inspect.findings import head_lines, layer_lines, name_of, summary
from transformer.inspect.look import Look

SCRIPT = """
const {maps, places} = JSON.parse(document.getElementById('maps').textContent);
const said = document.getElementById('said'), seen = document.getElementById('seen');
for (const map of maps) {
  const rows = places[map.rows], columns = places[map.columns];
  const T = rows.length, S = columns.length, size = T * S;
  const bytes = Uint8Array.from(atob(map.weights), c => c.charCodeAt(0));
  map.heads.forEach((head, n) => {
    const canvas = document.createElement('canvas');
    const of = (t, s) => bytes[n * size + t * S + s] / 255;
    canvas.width = S; canvas.height = T; canvas.title = `head ${head}`;
    const draw = canvas.getContext('2d'), image = draw.createImageData(S, T);
    for (let i = 0; i < size; i++) {
      const w = of(0, i);
      image.data.set([255 - 247 * w, 255 - 207 * w, 255 - 148 * w, 255], 4 * i);
    }
    draw.putImageData(image, 0, 0);
    canvas.addEventListener('mousemove', event => {
      const box = canvas.getBoundingClientRect();
      const at = (x, low, span, count) =>
        Math.max(0, Math.min(count - 1, Math.floor((x - low) / span * count)));
      const t = at(event.clientY, box.top, box.height, T);
      const s = at(event.clientX, box.left, box.width, S);
      const where = `${map.name}, layer ${map.layer}, head ${head}`;
      said.textContent = `${where}: ${t} ${rows[t]} → ${s} ${columns[s]}  ${of(t, s).toFixed(3)}`;
      seen.replaceChildren(...columns.map((label, k) => {
        const span = document.createElement('span');
        span.textContent = label;
        span.style.backgroundColor = `rgba(31, 119, 216, ${of(t, k)})`;
        if (k === s) span.style.outline = '1px solid';
        return span;
      }));
    });
    document.getElementById(map.id).append(canvas);
  });
}
"""
HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()

HEAD = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';
 script-src 'sha256-{HASH}'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width">
"""
MOST = 1 << 25  # weights of attention, a byte each
STYLE = """<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 80em; margin: 2em auto; padding: 0 1em; }
th { text-align: left; padding-right: 1em; vertical-align: top; }
td { padding-right: 1em; }
.numbers td { text-align: right; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
canvas { image-rendering: pixelated; width: 9em; margin: .2em; border: 1px solid #8886;
 cursor: crosshair; }
.bar { position: sticky; top: 0; background: Canvas; padding: .4em 0; min-height: 3.4em; }
#seen span { padding: 0 .25em; font-family: ui-monospace, monospace; font-size: 13px; }
.lens { border-collapse: collapse; font: 12px ui-monospace, monospace; white-space: pre; }
.lens td { padding: .1em .3em; text-align: center; }
img { max-width: 100%; background: white; }
</style></head><body>
"""


def page(look: Look, drawn: Sequence[tuple[str, str, bytes]]) -> str:
    """The whole page.

    Args:
      drawn: the pictures; those of attention are left out, as the page draws it itself.
    """
    return '\n'.join(_lines(look, drawn)) + '\n'


def _lines(look: Look, drawn: Sequence[tuple[str, str, bytes]]) -> Iterator[str]:
    title = html.escape(f'Inside {look.subject.name}')
    yield f'{HEAD}<title>{title}</title>\n{STYLE}<h1>{title}</h1>\n<table>'
    for name, phrase in summary(look):
        yield f'<tr><th>{html.escape(name)}</th><td>{html.escape(phrase)}</td></tr>'
    yield '</table>'
    yield from _table('Heads: change of the score, and what they attend to', head_lines(look))
    for what, effects in (('taken out', look.ablated), ('patched', look.patched)):
        if effects is not None:
            yield from _table(f'Layers {what}: change of the score', layer_lines(effects))
    if look.lens is not None:
        yield from _lens(look)
    for name, what, png in drawn:
        if not name.startswith(('attention', 'lens')):
            address = 'data:image/png;base64,' + base64.b64encode(png).decode()
            what = html.escape(what)
            yield f'<h2>{what}</h2><div class="wide"><img alt="{what}" src="{address}"></div>'
    size = sum(found.weights_BNTS.size for found in look.maps)
    if size > MOST:
        yield f'<p>Attention has {size:,} weights, too many for a page; the pictures have them.</p>'
    elif size:
        yield from _maps(look)
    yield '</body></html>'


def _table(title: str, lines: Sequence[Sequence[str]]) -> Iterator[str]:
    if lines:
        yield f'<h2>{html.escape(title)}</h2><table class="numbers">'
        for k, (first, *cells) in enumerate(lines):
            tag = 'td' if k else 'th'
            row = ''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)
            yield f'<tr><th>{html.escape(first)}</th>{row}</tr>'
        yield '</table>'


def _lens(look: Look) -> Iterator[str]:
    """A table of layers by places; each cell tells more where the mouse rests."""
    lens, piece = look.lens, look.subject.piece
    whole = lens.entropy_LBT.ndim == 2
    labels = look.case.labels.get('decoder', look.case.labels.get('stack'))
    yield '<h2>Logit lens: the likeliest after each layer</h2>'
    yield '<div class="wide"><table class="lens">'
    for layer in reversed(range(len(lens.tokens_LBTK))):
        yield f'<tr><th>{layer - 1 if layer else "none"}</th>'
        for place in range(1 if whole else len(labels)):
            at = (layer, 0) if whole else (layer, 0, place)
            best = [
                f'{piece(int(token))} {chance:.3f}'
                for token, chance in zip(lens.tokens_LBTK[at], lens.chances_LBTK[at])
            ]
            numbers = f'entropy {lens.entropy_LBT[at]:.3f}, KL {lens.divergence_LBT[at]:.3f}'
            more = html.escape('\n'.join([*best, numbers]))
            text = html.escape(piece(int(lens.tokens_LBTK[at][0])))
            shade = f'rgba(31,119,216,{lens.chances_LBTK[at][0]:.2f})'
            yield f'<td title="{more}" style="background:{shade}">{text}</td>'
        yield '</tr>'
    below = '' if whole else ''.join(f'<th>{html.escape(label)}</th>' for label in labels)
    yield f'<tr><th></th>{below}</tr></table></div>'


def _maps(look: Look) -> Iterator[str]:
    """A canvas a head; the weights are bytes, 255 is 1."""
    yield '<h2>Attention: rows look at columns</h2>'
    yield '<div class="bar"><div id="said">Point at a map.</div><div id="seen"></div></div>'
    maps = []
    for k, found in enumerate(look.maps):
        heads = [n for n in range(found.weights_BNTS.shape[1]) if look.head in (None, n)]
        weights = np.round(found.weights_BNTS[0, heads] * 255).astype(np.uint8)
        name = name_of((found.stack, found.part))
        yield f'<h3>{html.escape(name)}, layer {found.layer}</h3><div id="map{k}"></div>'
        maps.append({
            'id': f'map{k}', 'name': name, 'layer': found.layer, 'heads': heads,
            'rows': found.stack, 'columns': found.seen,
            'weights': base64.b64encode(weights.tobytes()).decode(),
        })  # fmt: skip
    places = {name: list(labels) for name, labels in look.case.labels.items()}
    data = json.dumps({'maps': maps, 'places': places}).replace('<', '\\u003c')
    yield f'<script type="application/json" id="maps">{data}</script>'
    yield f'<script>{SCRIPT}</script>'
