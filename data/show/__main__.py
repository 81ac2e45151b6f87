"""Shows what a config trains on, as the model sees it.

    python -m data.show --config=configs/quickstart.py --n=4
    python -m data.show --config=configs/masked_lm.py --split=validation --html=look.html
    python -m data.show --config=configs/quickstart.py --step=500

Rows are spelt out, with what is learnt in colour, or between marks where there is none: ⟦learnt⟧.
Beside them: lengths, how full rows are, what share of the tokens is learnt, and of each source its
tokens and its share. `--step` shows what a step of the run would learn from, `--seed` what a run of
another seed would; the data are those that train.py would train on with the same config.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from transformer import cli


def main() -> int:
    parser = cli.parser(__doc__)
    cli.add_config(parser)
    parser.add_argument('--n', type=int, default=4, help='how many rows (4)')
    parser.add_argument('--split', default='train', help='train, validation or test')
    parser.add_argument('--step', type=int, help='of training: begin with the first row of it (1)')
    parser.add_argument('--seed', type=int, help='instead of config.seed')
    parser.add_argument('--html', type=Path, metavar='FILE', help='writes a page instead')
    parser.add_argument('--json', action='store_true', help='prints one JSON object instead')
    flags, overrides = cli.parse(parser)
    _check(flags, parser)
    config = cli.load_config(flags.config)
    start = overrides.get('init', config.get('init', ''))
    if start:
        from transformer import initial

        initial.adopt(config, start, Path(os.devnull))
    if flags.seed is not None:
        overrides['seed'] = str(flags.seed)
    cli.override(config, overrides)

    import absl.logging

    from data import load
    from data.show.look import look
    from transformer.experiment import Experiment

    absl.logging.set_verbosity(absl.logging.ERROR)
    experiment = Experiment.from_config(config)
    step = (flags.step or 1) if flags.split == 'train' else None
    loaded = load.load(experiment, report=lambda line: print(line, file=sys.stderr, flush=True))
    show(look(loaded, experiment, flags.split, flags.n, step), flags)
    return 0


def _check(flags: Any, parser: Any) -> None:
    """Refuses what cannot work before anything is loaded."""
    if not flags.config:
        parser.error('--config is required, such as --config=configs/quickstart.py')
    if flags.n < 1:
        parser.error(f'--n={flags.n}: accepted: a whole number above 0')
    if flags.split not in ('train', 'validation', 'test'):
        parser.error(f'--split={flags.split}: accepted: train, validation, test')
    if flags.step is not None:
        if flags.split != 'train':
            parser.error(f'--step={flags.step}: --split={flags.split} is not trained on')
        if flags.step < 1:
            parser.error(f'--step={flags.step}: accepted: a whole number above 0')
    if flags.html and flags.json:
        parser.error('--html and --json: accepted: one of them')
    if flags.html:
        folder = flags.html.absolute().parent
        if flags.html.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
            parser.error(f'--html={flags.html} cannot be written; accepted: a file in a folder '
                         'that is there and may be written to')  # fmt: skip


def show(look: Any, flags: Any) -> None:
    """Prints the look, or writes the page.

    Raises:
      UserError: the page cannot be written.
    """
    from transformer import workdir
    from transformer.errors import UserError

    if flags.json:
        print(json.dumps(look.to_json()))
        return
    if flags.html:
        from data.show.page import page

        try:
            workdir.write_atomically(flags.html, page(look))
        except OSError as error:
            why = error.strerror or error
            raise UserError(f'--html={flags.html} cannot be written: {why}') from None
        print(f'written to {flags.html}')
        return
    import rich.console

    from data.show.drawn import draw

    # What a terminal cannot show must not end the program.
    sys.stdout.reconfigure(errors='replace')
    draw(look, rich.console.Console(highlight=False, markup=False, emoji=False))


if __name__ == '__main__':
    cli.run(main)
