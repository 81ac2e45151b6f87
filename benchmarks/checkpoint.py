"""Saving and restoring a training state against torch.save and torch.load of as many bytes.

    python -m benchmarks.checkpoint                       # GPT-2 124M and AdamW's moments, 1.5 GB
    python -m benchmarks.checkpoint --model=shakespeare --directory=/mnt/disk --json=checkpoint.json

Ours is what train.py does: it saves in the background (so there are two times: what training waits
for, and all of it), writes checksums and checks them, and gives a folder its name only when all of
it is there. Files stay in the page cache on both sides, and what the system still has to write is
written before each turn.

Models: those of `benchmarks.train`.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import cases, contest, machine, record
from benchmarks.contest import Side
from benchmarks.machine import Machine
from transformer import cli
from transformer.errors import UserError

KINDS = {'blocking': 'what training waits for', 'whole': 'all of it'}
TURNS = (('save', 'blocking'), ('save', 'whole'), ('restore', 'whole'))


def main() -> int:
    parser = cli.parser(__doc__)
    machine.add_flags(parser)
    parser.add_argument('--model', default='gpt2', help='names, with commas between (gpt2)')
    parser.add_argument('--directory', help="where checkpoints go (the system's temporary one)")
    flags, overrides = cli.parse(parser)
    machine.check_flags(flags)
    names = cases.names(flags.model, [], list(cases.CASES))
    cases.check(names, overrides, cases.SAVING)
    if flags.directory and not Path(flags.directory).is_dir():
        parser.error(f'--directory={flags.directory}: there is no such directory')
    here = machine.measure(flags.platform)
    found = []
    for name in names:
        with tempfile.TemporaryDirectory(dir=flags.directory) as directory:
            found += checkpoint(name, overrides, here, directory, flags.repeats)
    record.finish(found, flags.json)
    return 0


def checkpoint(
    name: str, overrides: dict[str, str], here: Machine, directory: str, repeats: int
) -> list[dict[str, Any]]:
    """Records of one model's state.

    Raises:
      UserError: a side failed, or what is restored is not what was saved.
    """
    where = {'directory': directory}
    made = {'model': name, 'overrides': dict(overrides)} | where
    with Side('ours', 'benchmarks.ours.saving', here.environment, **made) as ours:
        sides = {'ours': ours}
        if here.no_peer:
            return measured(name, ours.about['bytes'], sides, here, repeats)
        given = {'shapes': ours.about['shapes'], 'device': here.torch_device} | where
        with Side('peer', 'benchmarks.peers.saving', {}, **given) as peer:
            return measured(name, ours.about['bytes'], sides | {'peer': peer}, here, repeats)


def measured(
    name: str, size: int, sides: dict[str, Side], here: Machine, repeats: int
) -> list[dict[str, Any]]:
    """Records of saving, blocking and whole, and of restoring."""
    found = {turn: {side: [] for side in sides} for turn in TURNS}

    def turn(side: str, call: str) -> float:
        os.sync()
        told = sides[side](call)
        for kind, seconds in told.items():
            found[call, kind][side].append(seconds)
        return told['whole']

    for call in ('save', 'restore'):
        for side in sides:
            sides[side](call)  # the first makes threads, and room
        calls: dict[str, Callable[[], float]] = {
            side: lambda side=side, call=call: turn(side, call) for side in sides
        }
        contest.alternate(calls, repeats)
    if not sides['ours']('same'):
        raise UserError(f'{name}: what is restored is not what was saved')
    records = []
    for (call, kind), values in found.items():
        rounds = contest.Rounds(**{side: tuple(seconds) for side, seconds in values.items()})
        title = f'{name}, {call}, {KINDS[kind]}'
        more = {'spread': rounds.spread, 'bytes': size}
        records.append(record.make(title, *rounds.medians, 's', here.name, **more))
    return records


if __name__ == '__main__':
    cli.run(main)
