"""A look as one page of HTML that needs nothing else: no script, no file, no network."""

import base64
import html
import io
from collections.abc import Iterator

import numpy as np

from data.show.drawn import borders, heading, pixels
from data.show.look import Look, bars, legend, numbers, source_lines, summary
from data.show.spelled import Run, visible

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }}
td, th {{ text-align: right; padding: 0 .8em 0 0; }}
td:first-child, th:first-child {{ text-align: left; }}
.bar {{ display: inline-block; height: .8em; background: #4a90d9; }}
.side {{ white-space: pre-wrap; overflow-wrap: anywhere; font-family: ui-monospace, monospace;
 font-size: 13px; border-left: 3px solid #8886; padding-left: .8em; margin: .3em 0 .8em; }}
.name {{ opacity: .6; font-size: 13px; }}
.trained {{ background: #2ea04340; }}
.special {{ color: #a040c0; font-weight: bold; }}
.prefix {{ background: #4a90d940; }}
.seen {{ background: #e0505040; text-decoration: line-through; }}
.label {{ color: #b07000; font-size: 11px; }}
img {{ image-rendering: pixelated; width: 16em; }}
</style></head><body>
"""


def page(look: Look) -> str:
    """The whole page."""
    return '\n'.join(_lines(look)) + '\n'


def _lines(look: Look) -> Iterator[str]:
    title = _safe(f'{look.name}, {look.split}, {look.objective}')
    yield HEAD.format(title=title)
    yield f'<h1>{title}</h1>'
    yield '<table>'
    for name, phrase in numbers(look):
        yield f'<tr><th>{_safe(name)}</th><td style="text-align:left">{_safe(phrase)}</td></tr>'
    yield '</table>'
    for name, lengths in look.lengths.items():
        yield f'<h2>lengths of {_safe(name)}</h2><p>{_safe(summary(lengths))}</p><table>'
        for label, bar, count in bars(lengths, 100):
            drawn = f'<span class="bar" style="width:{bar / 5}em"></span>'
            yield f'<tr><td>{label}</td><td style="text-align:left">{drawn} {count:,}</td></tr>'
        yield '</table>'
    yield '<h2>sources</h2><table>'
    for k, cells in enumerate(source_lines(look)):
        tag = 'td' if k else 'th'
        yield '<tr>' + ''.join(f'<{tag}>{_safe(cell)}</{tag}>' for cell in cells) + '</tr>'
    yield '</table><h2>examples</h2>'
    for what, run in legend(look):
        yield f'<div>{_run(run)} &nbsp; {_safe(what)}</div>'
    for example in look.examples:
        yield f'<h3>{_safe(heading(look, example).removeprefix("── "))}</h3>'
        if example.image is not None:
            yield f'<img alt="{_safe(example.label)}" src="{_png(example.image)}">'
        for name, sides in borders(example.sides):
            yield f'<div class="name">{_safe(name)}</div>'
            for side, runs in sides:
                if side != 'text':
                    yield f'<div class="name">{_safe(side)}</div>'
                yield f'<div class="side">{"".join(map(_run, runs))}</div>'
    yield '</body></html>'


def _safe(text: str) -> str:
    return html.escape(visible(text))


def _run(run: Run) -> str:
    text = _safe(run.text)
    if run.wanted:
        return f'<span class="seen">{text}</span><span class="trained">{_safe(run.wanted)}</span>'
    classes = [name for name in ('trained', 'special', 'prefix') if getattr(run, name)]
    made = f'<span class="{" ".join(classes)}">{text}</span>' if classes else text
    return made + (f'<span class="label">/{_safe(run.label)}</span>' if run.label else '')


def _png(image: np.ndarray) -> str:
    """A data: address."""
    from matplotlib.image import imsave

    written = io.BytesIO()
    imsave(written, pixels(image), format='png')
    return 'data:image/png;base64,' + base64.b64encode(written.getvalue()).decode()
