"""A look on a terminal: in colour where there is some, with marks elsewhere."""

from typing import Any

import numpy as np
import rich.console
from rich.text import Text

from data.show.look import Look, bars, legend, numbers, source_lines, summary
from data.show.spelled import Example, Run, Side, visible

WIDTH = 40  # of a histogram, and of half a picture
SHADES = ' .:-=+*#%@'


def draw(look: Look, console: rich.console.Console) -> None:
    """Prints all of it."""
    colour = console.color_system is not None

    def say(line: Text | str = '') -> None:
        if colour:
            text = line if isinstance(line, Text) else Text(line)
            console.print(text, soft_wrap=True, highlight=False)
        else:  # as it is: neither wrapped nor with its tabs replaced
            console.file.write(f'{line}\n')

    def title(line: str) -> Text | str:
        return Text(line, 'bold') if colour else line

    write = _coloured if colour else _marked
    say(title(visible(f'{look.name}, {look.split}, {look.objective}')))
    for name, phrase in numbers(look):
        say(f'{name:<15}{visible(phrase)}')
    for name, lengths in look.lengths.items():
        say()
        say(title(f'lengths of {name}'))
        say(summary(lengths))
        for label, bar, count in bars(lengths, WIDTH):
            say(f'{label:>21}  {"█" * bar:<{WIDTH}}  {count:,}')
    say()
    for cells in _aligned([*source_lines(look)]):
        say(visible(cells))
    say()
    for what, run in legend(look):
        say(Text.assemble(write(run), f'  {what}') if colour else f'{write(run)}  {what}')
    for example in look.examples:
        say()
        say(title(heading(look, example)))
        for line in _example(example, write, colour):
            say(line)


def heading(look: Look, example: Example) -> str:
    """A line over an example."""
    parts = [f'example {example.index:,}']
    if look.step is not None and example is look.examples[0]:
        parts.append(f'first of step {look.step:,}')
    if example.source:
        parts.append(example.source)
    if example.label:
        parts.append(f'class {example.label}')
    for side in example.sides:
        name = '' if side.name == 'text' else f'{side.name}: '
        parts.append(f'{name}{side.tokens:,} tokens, {side.padding:,} padding')
    return visible('── ' + ' · '.join(parts))


def borders(sides: tuple[Side, ...]) -> list[tuple[str, list[tuple[str, tuple[Run, ...]]]]]:
    """(name, [(side, runs)]) of each document, or of each pair."""
    what = 'pair' if len(sides) > 1 else 'document'
    made = []
    for k in range(max((len(side.segments) for side in sides), default=0)):
        found = [(side.name, side.segments[k]) for side in sides if k < len(side.segments)]
        made.append((f'{what} {k + 1}', found))
    return made


def _example(example: Example, write: Any, colour: bool):
    if example.image is not None:
        yield from _blocks(example.image) if colour else _shades(example.image)
    for name, sides in borders(example.sides):
        border = f'┄┄ {name}'
        yield Text(border, 'dim') if colour else border
        for side, runs in sides:
            start = '' if side == 'text' else f'{side}: '
            written = [write(run) for run in runs]
            yield Text.assemble((start, 'dim'), *written) if colour else start + ''.join(written)


def _coloured(run: Run) -> Text:
    text = visible(run.text)
    if run.wanted:
        return Text.assemble((text, 'red'), ('→', 'dim'), (visible(run.wanted), 'bold green'))
    if run.label:
        return Text.assemble((text, 'bold green'), (f'/{visible(run.label)}', 'yellow'))
    if run.trained:
        return Text(text, 'green underline' if run.special else 'green')
    return Text(text, 'magenta' if run.special else 'cyan' if run.prefix else '')


def _marked(run: Run) -> str:
    text = visible(run.text)
    if run.wanted:
        return f'⟦{text}→{visible(run.wanted)}⟧'
    if run.label:
        return f'⟦{text}/{visible(run.label)}⟧'
    if run.trained:
        return f'⟦{text}⟧'
    return f'⟪{text}⟫' if run.prefix else text


def pixels(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3]; of other numbers of channels than 3 the mean."""
    if image.shape[-1] != 3:
        image = np.repeat(image.mean(-1, keepdims=True), 3, axis=-1)
    return np.round(image * 255).astype(np.uint8)


def _smaller(image: np.ndarray) -> np.ndarray:
    """At most 2 * WIDTH pixels wide and high."""
    step = -(-max(image.shape[:2]) // (2 * WIDTH))
    return pixels(image)[::step, ::step]


def _blocks(image: np.ndarray):
    """Two pixels a character, one above the other."""
    shown = _smaller(image)
    if len(shown) % 2:
        shown = np.concatenate([shown, np.zeros_like(shown[:1])])
    for upper, lower in zip(shown[::2], shown[1::2]):
        line = Text()
        for (r, g, b), (R, G, B) in zip(upper.tolist(), lower.tolist()):
            line.append('▀', f'rgb({r},{g},{b}) on rgb({R},{G},{B})')
        yield line


def _shades(image: np.ndarray):
    """Two characters a pixel, from dark to light."""
    for line in _smaller(image).mean(-1):
        yield ''.join(2 * SHADES[int(v * len(SHADES) / 256)] for v in line).rstrip()


def _aligned(table: list[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest cell; numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*table)]
    return [
        '  '.join([cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:]))])
        for cells in table
    ]
