"""Decoding against `generate` of transformers: tokens/s, and the share of the memory's bandwidth.

    python -m benchmarks.decode                                  # what fits the machine
    python -m benchmarks.decode --model=gpt2 --batch=1,8,64 --json=decode.json
    python -m benchmarks.decode --model=gpt2 --quantize=int8
    python -m benchmarks.decode --model=shakespeare --batch=1 --profile=/tmp/trace

Ours is the generator of generate.py; the peer keeps its cache, too. Both have the same random
parameters in the same type and go on from the same random prompts of 64 tokens, greedily, for 128
tokens. In float32 the tokens must be the same up to ties in the scores; in bfloat16, and with our
parameters in 8 bits (`--quantize`), the share that is the same is said. Time is that of the whole:
prompts, tokens, and bringing them to the host. The share of the bandwidth counts the parameters
alone: bytes of them x tokens of a row a second / the bandwidth of a copy.

Models: shakespeare (nanoGPT's, 10 M), gpt2 (124M), for accelerators llama_1b (1.3B); tiny.
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks import cases, contest, machine, profiling, record
from benchmarks.machine import Machine
from benchmarks.pair import Pair
from transformer import cli
from transformer.errors import UserError
from transformer.quantize import KINDS

KNOWN = [name for name, case in cases.CASES.items() if case.decodes]
SMALL, LARGE = ['shakespeare', 'gpt2'], ['gpt2', 'llama_1b']
PROMPT, NEW = 64, 128
TIE = 1e-4  # of the largest score: what rounding may decide


def main() -> int:
    parser = cli.parser(__doc__)
    machine.add_flags(parser)
    parser.add_argument('--model', default='', help='names, with commas between')
    parser.add_argument('--batch', default='1,8', help='rows, with commas between (1,8)')
    parser.add_argument('--prompt', type=int, default=PROMPT, help='tokens of a prompt (64)')
    parser.add_argument('--new', type=int, default=NEW, help='tokens that each row gets (128)')
    parser.add_argument('--profile', metavar='DIR', help='traces our side once, too')
    parser.add_argument('--quantize', default='', metavar='int8', help='our parameters, 8 bits')
    flags, overrides = cli.parse(parser)
    if flags.quantize not in ('', *KINDS):
        parser.error(f'--quantize={flags.quantize}: accepted: {", ".join(KINDS)}')
    machine.check_flags(flags)
    batches = whole_numbers(flags.batch)
    for field in ('prompt', 'new'):
        if getattr(flags, field) < 1:
            parser.error(f'--{field}={getattr(flags, field)}: accepted: at least 1')
    cases.check(cases.names(flags.model, SMALL, KNOWN), overrides, cases.DECODING)
    here = machine.measure(flags.platform)
    default = SMALL if here.platform == 'cpu' else LARGE
    found = []
    try:  # what was found before a model fails is not lost
        for name in cases.names(flags.model, default, KNOWN):
            found += decode(name, batches, overrides, here, flags)
    finally:
        print(f'bandwidth      {here.bandwidth / 1e9:.4g} GB/s, a copy, read and written')
        record.finish(found, flags.json)
    return 0


def whole_numbers(text: str) -> list[int]:
    """Of `--batch`; raises a `UserError` at anything else."""
    words = text.split(',')
    if not all(w.isdigit() and int(w) for w in words):
        raise UserError(f'--batch={text}: accepted: whole numbers above 0, such as 1,8,64')
    return [int(w) for w in words]


def decode(
    name: str, batches: list[int], overrides: Mapping[str, str], here: Machine, flags: Any
) -> list[dict[str, Any]]:
    """Records of one model, of each batch.

    Raises:
      UserError: a side failed, or in float32 the sides write different tokens.
    """
    found = []
    args = {'model': name, 'overrides': dict(overrides), 'quantize': flags.quantize}
    exact = not flags.quantize
    with Pair('decoding', here, ('dtype',), **args) as pair:
        print(f'{name:<14} {pair.about["parameters"]:,} parameters, {pair.about["dtype"]}')
        for batch in batches:
            label = ', '.join(filter(None, (name, flags.quantize, f'batch {batch}')))
            what = {'prompts': prompts(name, batch, flags.prompt), 'new': flags.new}
            compare(label, pair, what, exact)
            one = functools.partial(rate, what=what)
            rounds, peaks = pair.measure(one, flags.repeats)
            found += records(label, pair.about, here, rounds, peaks, what)
            if flags.profile:
                rows = pair.sides['ours']('profile', directory=flags.profile, **what)
                print(f'{profiling.text(rows)}\n(a token of {label})', flush=True)
    return found


def prompts(name: str, batch: int, length: int) -> list[list[int]]:
    """Random tokens."""
    rng = np.random.default_rng(0)
    return rng.integers(0, cases.CASES[name].vocab, (batch, length)).tolist()


def compare(name: str, pair: Pair, what: dict[str, Any], exact: bool) -> None:
    """Each side once, as a warm-up; says how many tokens are the same.

    Args:
      exact: whether both have the same parameters.

    Raises:
      UserError: the sides write different tokens though both are exact, in float32, and the scores
        of the tokens where they part are not `TIE`.
    """
    written = {side: told['tokens'] for side, told in pair.each('run', **what).items()}
    if pair.peer is None:
        return
    ours, peer = (np.array(written[side]) for side in ('ours', 'peer'))
    kinds = len(np.unique(ours))
    gaps = partings(pair, what['prompts'], ours, peer)
    ties = f'; where rows part, scores differ by {max(gaps):.1e} at most' if gaps else ''
    same = f'{(ours == peer).mean():.1%}'
    print(f'{name}: {same} of the tokens are the same, {kinds} different ones{ties}', flush=True)
    if exact and pair.about['dtype'] == 'float32' and max(gaps, default=0) > TIE:
        raise UserError(f'{name}: the sides write different tokens; the same: {same}{ties}')


def partings(
    pair: Pair, prompts: list[list[int]], ours: np.ndarray, peer: np.ndarray
) -> list[float]:
    """For each row with different tokens, how far apart the peer's scores of the first ones are."""
    gaps = []
    for prompt, a, b in zip(prompts, ours, peer):
        if (a != b).any():
            at = int((a != b).argmax())
            row = [*prompt, *a[:at].tolist()]
            gaps.append(pair.sides['peer']('gap', row=row, tokens=[int(a[at]), int(b[at])]))
    return gaps


def rate(side: contest.Side, what: dict[str, Any]) -> float:
    """Tokens/s of all rows."""
    return len(what['prompts']) * what['new'] / side('run', **what)['seconds']


def records(
    name: str,
    about: dict[str, Any],
    here: Machine,
    rounds: contest.Rounds,
    peaks: contest.Rounds,
    what: dict,
) -> list[dict[str, Any]]:
    """Of tokens/s, of the share of the bandwidth, and of memory."""
    rows = len(what['prompts'])
    common = {'machine': here.name, 'dtype': about['dtype']}
    speed = record.make(
        f'decode {name}', *rounds.medians, 'tokens/s', spread=rounds.spread, **common
    )

    def share_of(rates: tuple[float, ...], size: int) -> tuple[float, ...]:
        return tuple(rate / rows * size / here.bandwidth for rate in rates)

    sizes = about['bytes'], about['peer_bytes']
    shares = contest.Rounds(*map(share_of, (rounds.ours, rounds.peer), sizes))
    share = record.make(
        f'decode {name}, share of bandwidth',
        *shares.medians,
        '',
        spread=shares.spread,
        bandwidth=here.bandwidth,
        bytes=about['bytes'],
        **common,
    )
    return [
        speed,
        share,
        record.make(f'decode {name}, peak memory', *peaks.medians, 'MiB', **common),
    ]


if __name__ == '__main__':
    cli.run(main)
