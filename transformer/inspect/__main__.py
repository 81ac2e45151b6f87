"""Looks inside a trained or imported model.

    python -m transformer.inspect --workdir=runs/quickstart --text="def main("
    python -m transformer.inspect --hf=DIR --text="The Eiffel Tower is in" --target=" Paris" \\
        --corrupt="The Louvre Museum is in"
    python -m transformer.inspect --workdir=runs/masked --text="import [MASK] as np" --target=numpy
    python -m transformer.inspect --workdir=runs/translate --text="ein hund ." --target="a dog ."
    python -m transformer.inspect --workdir=runs/vit --example=7
    python -m transformer.inspect --workdir=runs/vit --image=seven.png --target=7

What each head attends to; what the model would say after each layer (the logit lens); and how the
log-probability of the target changes where a head, a layer or a place is taken out, or put in from
--text while the model reads --corrupt. The target is --target, else the next tokens of the text, or
what the model finds likeliest. --out has a picture of each, and one page of them all, index.html.
Layers, heads and places are counted from 0.
"""

import json
import sys
from pathlib import Path
from typing import Any

from transformer import cli, hardware

PAGE = 'index.html'


def main() -> int:
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add('--workdir', type=Path, help='of the training run')
    add('--checkpoint', default='best', help='best, latest or a step')
    add('--hf', metavar='DIR', help='a Hugging Face directory or hub id, instead of a run')
    add('--text', help='what the model reads')
    add('--image', type=Path, metavar='FILE', help='an image that it reads instead')
    add('--example', type=int, metavar='N', help='row N of the validation split instead, from 0')
    add('--target', default='', help='what is to be said, or a class; (the text itself)')
    add('--corrupt', help='another text, image or row of the same length, to be patched')
    add('--layer', type=int, help='only this layer, from 0')
    add('--head', type=int, help='only this head, from 0')
    add('--by', default='zero', help='how parts are taken out: zero or mean (zero)')
    add('--only', default='', metavar='NAMES', help='some of attention,lens,heads,layers,places')
    add('--out', type=Path, metavar='DIR', help='of page and pictures (WORKDIR/inspect)')
    add('--json', action='store_true', help='prints one JSON object')
    flags, overrides = cli.parse(parser)
    if overrides:
        parser.error(f'--config.{next(iter(overrides))}: a run is looked at with its own config')
    _check(flags, parser)

    import absl.logging
    import rich.console

    from transformer.inspect import findings, look, subject

    absl.logging.set_verbosity(absl.logging.ERROR)
    hardware.enable_compilation_cache('auto')
    of = subject.of_checkpoint(flags.hf) if flags.hf else None
    of = of or subject.of_run(flags.workdir, flags.checkpoint)
    case, corrupt = read(of, flags), None
    if flags.corrupt is not None:
        corrupt = read(of, flags, other=flags.corrupt)
    only = tuple(flags.only.split(',')) if flags.only else look.WANTED
    how = {'only': only, 'layer': flags.layer, 'head': flags.head, 'by': flags.by}
    report = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
    found = look.look(of, case, corrupt, **how, report=report)
    written = write(found, flags.out or (flags.workdir or Path()) / 'inspect')
    if flags.json:
        print(json.dumps(findings.to_json(found) | {'page': str(written)}))
        return 0
    sys.stdout.reconfigure(errors='replace')  # what a terminal cannot show must not end the program
    findings.draw(found, rich.console.Console(highlight=False, markup=False, emoji=False))
    print(f'written to {written}')
    return 0


def _check(flags: Any, parser: Any) -> None:
    """Refuses what cannot work before anything is loaded."""
    if (flags.workdir is None) == (flags.hf is None):
        parser.error('either --workdir or --hf is required')
    given = [name for name in ('text', 'image', 'example') if getattr(flags, name) is not None]
    if len(given) != 1:
        what = ' and '.join(f'--{name}' for name in given) or 'none of them'
        parser.error(f'{what}: accepted: one of --text, --image, --example')
    if flags.target and flags.example is not None:
        parser.error(f'--target={flags.target}: an example has its own')


def read(of: Any, flags: Any, other: str | None = None) -> Any:
    """What the flags name, or another of its kind.

    Raises:
      UserError: whatever is wrong with it.
    """
    from transformer.errors import UserError

    if flags.text is not None:
        # What is corrupted is scored at the targets of the text.
        return of.read(flags.text if other is None else other, flags.target)
    if flags.image is not None:
        return of.image(flags.image if other is None else Path(other), flags.target)
    if other is None:
        return of.example(flags.example)
    if not other.isdigit():
        raise UserError(f'--corrupt={other}: accepted: with --example the number of another one')
    return of.example(int(other))


def write(found: Any, folder: Path) -> Path:
    """The page and all pictures; returns where the page is.

    Raises:
      UserError: they cannot be written.
    """
    from transformer import workdir
    from transformer.errors import UserError
    from transformer.inspect.page import page
    from transformer.inspect.pictures import PICTURES, pictures

    drawn = list(pictures(found))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / PAGE).is_file():  # of another look, whose pictures go with it
            for old in [old for names in PICTURES for old in folder.glob(names)]:
                old.unlink()
        for name, _, png in drawn:
            (folder / name).write_bytes(png)
        workdir.write_atomically(folder / PAGE, page(found, drawn))
    except OSError as error:
        raise UserError(f'--out={folder} cannot be written: {error.strerror or error}') from None
    return folder / PAGE


if __name__ == '__main__':
    hardware.use_huge_pages()
    cli.run(main)
