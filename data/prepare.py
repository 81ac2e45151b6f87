"""Encodes the data of a config once; training opens them.

    python -m data.prepare --config=configs/quickstart.py
    python -m data.prepare --config=configs/quickstart.py --config.data.prepared=DIR

Interrupted, the same command goes on where it was; when all is there, it does nothing. Data of
another config, other files or another tokenizer are refused: `--replace` makes all anew, and the
old data stay until the new ones are whole. `--verify` reads everything against its checksums.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformer import cli

COLUMNS = ('source', 'split', 'records', 'tokens', 'bytes', 'tokens/byte', 'skipped')


def main() -> int:
    parser = cli.parser(__doc__)
    cli.add_config(parser)
    parser.add_argument('--replace', action='store_true', help='makes all anew')
    parser.add_argument('--verify', action='store_true', help='reads all against its checksums')
    parser.add_argument('--json', action='store_true', help='prints one JSON object instead')
    flags, overrides = cli.parse(parser)
    if not flags.config:
        parser.error('--config is required, such as --config=configs/quickstart.py')
    if flags.replace and flags.verify:
        parser.error('--replace and --verify: accepted: one of them')
    config = cli.load_config(flags.config)
    start = overrides.get('init', config.get('init', ''))
    if start:
        from transformer import initial

        initial.adopt(config, start, Path(os.devnull))
    cli.override(config, overrides)

    import absl.logging

    from transformer.errors import ConfigError, UserError
    from transformer.experiment import Experiment

    absl.logging.set_verbosity(absl.logging.ERROR)
    experiment = Experiment.from_config(config)
    if experiment.objective.RECORDS == 'images':
        raise UserError('images are read as they are: there is nothing to prepare')
    if experiment.objective.RECORDS == 'none':
        raise UserError(f'{experiment.objective.kind} is made up: there is nothing to prepare')
    if experiment.data.prepared == 'memory':
        accepted = "'auto' or a directory, to keep the data in"
        raise ConfigError('data.prepared', 'memory', accepted)
    began = time.monotonic()
    made = verified(experiment) if flags.verify else prepared_by(experiment, flags.replace)
    made['seconds'] = round(time.monotonic() - began, 3)
    print(json.dumps(made) if flags.json else described(made))
    return 0


def told(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def prepared_by(experiment: Any, replace: bool) -> dict[str, Any]:
    """What there is, once it is made: `directory`, `new`, and the counts of each split."""
    from data import load, prepared

    config, objective = experiment.data, experiment.objective
    corpora = load.corpora_of(config, objective)
    tokenizer = load.tokenizer_of(experiment, corpora, told, replace=replace)
    arguments = config, objective, corpora, tokenizer
    new = replace or not prepared.there(*arguments)
    examples = prepared.examples(*arguments, replace=replace, report=told)
    root, splits = prepared.root_of(*arguments), []
    for source, found in examples.items():
        skipped = prepared.manifest(root, source)['skipped']
        for split, one in found.items():
            splits.append(counts(source, split, one))
        splits[-len(found)]['skipped'] |= skipped  # by the source, of all splits
    return {'directory': str(root), 'new': new, 'splits': splits}


def counts(source: str, split: str, examples: Any) -> dict[str, Any]:
    """Of a split; `tokens` are those of all texts of a record."""
    from data.prepared.layout import TEXTS

    texts = [column for name, column in examples.columns.items() if name in TEXTS]
    return {
        'source': source or 'data',
        'split': split,
        'records': len(examples),
        'tokens': sum(column.size for column in texts),
        'bytes': examples.text_bytes,
        'skipped': dict(examples.skipped),
    }


def verified(experiment: Any) -> dict[str, Any]:
    """How many bytes there are of each source.

    Raises:
      UserError: the first file that is damaged; nothing is prepared.
    """
    from data import load, prepared

    config, objective = experiment.data, experiment.objective
    root = prepared.chosen(config)
    if root is None:
        corpora = load.corpora_of(config, objective)
        tokenizer = load.tokenizer_of(experiment, corpora, told)
        root = prepared.root_of(config, objective, corpora, tokenizer)
    sizes = {name or 'data': prepared.verify(root, name) for name in config.sources}
    return {'directory': str(root), 'verified': sizes}


def described(made: dict[str, Any]) -> str:
    """A table, and where the data are."""
    where = made['directory']
    if 'verified' in made:
        sizes = ', '.join(f'{name}: {size:,} bytes' for name, size in made['verified'].items())
        return f'every checksum is right ({sizes}): {where}'
    rows = [COLUMNS, *(_row(split) for split in made['splits'])]
    said = 'prepared' if made['new'] else 'nothing to do: all is prepared'
    return f'{_table(rows)}\n{said}: {where}'


def _row(split: dict[str, Any]) -> tuple[str, ...]:
    size = split['bytes']
    return (
        split['source'],
        split['split'],
        f'{split["records"]:,}',
        f'{split["tokens"]:,}',
        f'{size:,}' if size else '-',
        f'{split["tokens"] / size:.4f}' if size else '-',
        ', '.join(f'{n:,} {reason}' for reason, n in split['skipped'].items()) or '-',
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if 2 <= n <= 5 else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append('  '.join(cells).rstrip())
    return '\n'.join(lines)


if __name__ == '__main__':
    cli.run(main)
