"""What the machine can do, measured first: products of matrices and copies of memory.

    python -m benchmarks.machine

- matrix rate: 2 M^3 FLOPs / the time of a product of two M x M matrices.
- copy bandwidth: bytes read and written / the time of a copy.

Each by JAX and, where it is installed, by PyTorch, the best of some; the better of the two counts.
"""

import contextlib
import dataclasses
from typing import Any

from benchmarks import contest, record
from transformer import cli
from transformer.errors import UserError

PLATFORMS = ('cpu', 'gpu', 'tpu')
TORCH = {'cpu': 'cpu', 'gpu': 'cuda'}
REPEATS = 5


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a contest runs on.

    Attributes:
      name: for records.
      platform: 'cpu', 'gpu' or 'tpu'.
      kind: of the devices, as JAX names it.
      dtype: of the arithmetic where the config leaves it open.
      peak: FLOP/s of a device in that type: the vendor's, or measured where there is none.
      peak_source: which of the two.
      bandwidth: bytes/s of a copy, read and written.
      no_peer: why there is no peer; '' where there is one.
      records: of these rates.
    """

    name: str
    platform: str
    kind: str
    dtype: str
    peak: float
    peak_source: str
    bandwidth: float
    no_peer: str
    records: tuple[dict[str, Any], ...]

    @property
    def environment(self) -> dict[str, str]:
        """Of our side: this platform, and no more memory than is used: the peer needs some."""
        return environment(self.platform)

    @property
    def torch_device(self) -> str:
        """The same, as PyTorch names it."""
        return TORCH[self.platform]


def environment(platform: str) -> dict[str, str]:
    """Variables for a process of ours; '' leaves the choice to JAX."""
    names = {'cpu': 'cpu', 'gpu': 'cuda', 'tpu': 'tpu'}
    chosen = {'JAX_PLATFORMS': names[platform]} if platform else {}
    return chosen | {'XLA_PYTHON_CLIENT_PREALLOCATE': 'false'}


def add_flags(parser: Any) -> None:
    """Adds `--platform`, `--repeats` and `--json`."""
    parser.add_argument(
        '--platform', default='', help=f'one of {", ".join(PLATFORMS)} (what JAX finds)'
    )
    parser.add_argument('--repeats', type=int, default=7, help='rounds of each side (7)')
    record.add_flag(parser)


def check_flags(flags: Any) -> None:
    """Raises a `UserError` where the flags of `add_flags` hold what they cannot."""
    if flags.platform not in ('', *PLATFORMS):
        accepted = ', '.join(PLATFORMS)
        raise UserError(f'--platform={flags.platform} is not known; accepted: {accepted}')
    if flags.repeats < 1:
        raise UserError(f'--repeats={flags.repeats} cannot be used; accepted: at least 1')


def measure(platform: str = '', repeats: int = REPEATS) -> Machine:
    """The machine, said in some lines on the way.

    Args:
      platform: 'cpu', 'gpu' or 'tpu'; '' means what JAX finds.

    Raises:
      UserError: JAX has no such devices here.
    """
    try:
        ours = contest.Side('ours', 'benchmarks.ours.rates', environment(platform))
    except UserError as error:
        if not platform:
            raise
        why = str(error).removeprefix('ours: ').strip(': ')
        raise UserError(
            f'--platform={platform}: JAX sees no such device here ({why}); accepted: one that is '
            'here, or none to take what JAX finds'
        ) from None
    with contextlib.ExitStack() as stack:
        stack.enter_context(ours)
        about, sides = ours.about, {'ours': ours}
        platform, kind, dtype = about['platform'], about['kind'], about['dtype']
        no_peer = contest.missing_peer()
        if platform == 'tpu':
            no_peer = 'PyTorch does not run on this TPU: no peer'
        if not no_peer:
            peer = contest.Side('peer', 'benchmarks.peers.rates', {}, device=TORCH[platform])
            stack.enter_context(peer)
            sides['peer'] = peer
            no_peer = peer.about['problem']
            if no_peer:
                del sides['peer']
        name = record.processor() if platform == 'cpu' else f'{kind}, {record.processor()}'
        rates = {t: _best(sides, repeats, 'matrix', dtype=t) for t in _types(dtype)}
        copied = _best(sides, repeats, 'copy')
    found = [
        record.make(f'matrix product, {t}', *_scaled(rate, 1e9), 'GFLOP/s', name)
        for t, rate in rates.items()
    ]
    found.append(record.make('copy of memory', *_scaled(copied, 1e9), 'GB/s', name))
    peak = about['peak'] or max(filter(None, rates[dtype]))
    source = "the vendor's" if about['peak'] else 'measured'
    bandwidth = max(filter(None, copied))
    made = Machine(name, platform, kind, dtype, peak, source, bandwidth, no_peer, tuple(found))
    print(describe(made), flush=True)
    return made


def describe(here: Machine) -> str:
    """Some lines on the machine."""
    where = f'runs on        {here.name}'
    if here.platform == 'cpu':
        where += ': JAX sees no accelerator, or was told to use none'
    lines = [where]
    for r in here.records:
        peer = '' if r['peer'] is None else f', PyTorch {record.number(r["peer"])}'
        lines.append(f'{r["name"]:<25} JAX {record.number(r["ours"])}{peer} {r["unit"]}')
    peak = f'peak           {here.peak / 1e12:.4g} TFLOP/s a device in {here.dtype}'
    lines.append(f'{peak}, {here.peak_source}')
    return '\n'.join(lines + ([f'peer           {here.no_peer}'] if here.no_peer else []))


def _types(dtype: str) -> list[str]:
    return list(dict.fromkeys(('float32', dtype)))


def _best(sides: dict, repeats: int, call: str, **args: Any) -> tuple[float, float | None]:
    """The best of some rounds of each side; None for a peer that there is not."""
    calls = {name: lambda side=side: side(call, **args) for name, side in sides.items()}
    rounds = contest.alternate(calls, repeats, rest=0.1)
    return max(rounds.ours), max(rounds.peer, default=None)


def _scaled(rates: tuple[float, float | None], unit: float) -> tuple[float, float | None]:
    ours, peer = rates
    return ours / unit, None if peer is None else peer / unit


def main() -> int:
    parser = cli.parser(__doc__)
    add_flags(parser)
    flags, overrides = cli.parse(parser)
    if overrides:
        parser.error(f'--config.{next(iter(overrides))}: no model runs here')
    check_flags(flags)
    record.finish(measure(flags.platform, flags.repeats).records, flags.json)
    return 0


if __name__ == '__main__':
    cli.run(main)
