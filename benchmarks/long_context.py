"""A training step at growing lengths: time, and memory that grows as the length does.

    python -m benchmarks.long_context
    python -m benchmarks.long_context --lengths=1024,4096,32768 --model=gpt2 --json=long.json

One row of each length; both sides as in `benchmarks.train`, in processes of their own for each
length. Where attention keeps no T x T scores, the memory beyond the state is linear in T: the last
line is how much more the longest takes than the shortest, as a multiple of the lengths' ratio (1:
linear; the ratio itself: quadratic).

Models: those of `benchmarks.train` that are decoders.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from benchmarks import cases, machine, record, train
from benchmarks.machine import Machine
from transformer import cli
from transformer.errors import UserError

KNOWN = [name for name, case in cases.CASES.items() if case.objective == 'next_token']
SMALL, LARGE = (1024, 2048, 4096, 8192), (1024, 2048, 4096, 8192, 16_384, 32_768)


@dataclasses.dataclass(frozen=True)
class Found:
    """At one length.

    Attributes:
      records: of time and of memory.
      grown: MiB of each side beyond its state (parameters, gradients, moments).
    """

    records: list[dict[str, Any]]
    grown: tuple[float, float | None]


def main() -> int:
    parser = cli.parser(__doc__)
    machine.add_flags(parser)
    parser.add_argument('--model', default='shakespeare', help='one name (shakespeare)')
    parser.add_argument('--lengths', default='', help='tokens, ascending, with commas between')
    flags, overrides = cli.parse(parser)
    machine.check_flags(flags)
    names = cases.names(flags.model, [], KNOWN)
    if len(names) != 1:
        parser.error(f'--model={flags.model}: accepted: one name')
    (name,) = names
    read = [field for field in cases.TRAINING if field not in ('context', *cases.SHAPE)]
    cases.check([name], overrides, read)
    lengths = lengths_of(flags.lengths) if flags.lengths else None
    here = machine.measure(flags.platform)
    found = {}
    try:  # what was found before a length fails is not lost
        for length in lengths or (SMALL if here.platform == 'cpu' else LARGE):
            found[length] = at_length(name, length, overrides, here, flags.repeats)
            times, memory = found[length].records
            said = ', '.join(f'{record.number(r["ours"])} {r["unit"]}' for r in (times, memory))
            print(f'{length:>8,} tokens  {said}', flush=True)
    finally:
        results = [r for one in found.values() for r in one.records]
        record.finish(results + growth(name, found, here), flags.json)
    return 0


def lengths_of(text: str) -> list[int]:
    """Of `--lengths`; raises a `UserError` where they do not grow."""
    words = text.split(',')
    numbers = [int(w) for w in words if w.isdigit()]
    if len(numbers) < len(words) or numbers != sorted(set(numbers)) or not all(numbers):
        raise UserError(f'--lengths={text}: accepted: growing numbers, such as 1024,4096')
    return numbers


def at_length(
    name: str, length: int, overrides: Mapping[str, str], here: Machine, repeats: int
) -> Found:
    """Both sides with one row of that many tokens."""
    row = {'batch_size': '1', 'context': str(length)}
    with train.made(name, row | dict(overrides), here) as pair:
        steps = train.warm_up(f'{length:,} tokens', pair, 0)
        one = functools.partial(train.milliseconds, steps=steps)
        rounds, peaks = pair.measure(one, repeats)
        state = 16 * pair.about['parameters'] / 2**20
        records = train.records(f'{name} at {length:,}', pair.about, here, rounds, peaks)
    ours, peer = peaks.medians
    return Found(records, (ours - state, None if peer is None else peer - state))


def growth(name: str, found: Mapping[int, Found], here: Machine) -> list[dict[str, Any]]:
    """Memory of the longest against that of the shortest, as a multiple of the lengths' ratio."""
    if len(found) < 2:
        return []
    short, long = min(found), max(found)
    pairs = zip(found[long].grown, found[short].grown)
    ours, peer = (None if a is None else a / b / (long / short) for a, b in pairs)
    title = f'{name}, growth of memory from {short:,} to {long:,}, of {long // short}'
    return [record.make(title, ours, peer, '', here.name)]


if __name__ == '__main__':
    cli.run(main)
