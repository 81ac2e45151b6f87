"""A training step against PyTorch's: time, memory, MFU.

    python -m benchmarks.train                                  # what fits the machine
    python -m benchmarks.train --model=shakespeare,bert_mini --json=train.json
    python -m benchmarks.train --model=gpt2 --config.batch_size=32 --config.remat=dots
    python -m benchmarks.train --model=shakespeare --profile=/tmp/trace

Ours is the step of train.py; the peer is the same model of transformers with PyTorch's SDPA and the
faster of its AdamWs (fused, foreach), on GPUs under `torch.compile` and bfloat16 autocast. Both
have the same parameters, batches (random tokens), learning rate and clipping, so that the losses
must be the same; they are compared. Both run with large memory pages, as train.py does
(GLIBC_TUNABLES= before the command: neither). `--config.FIELD`
changes the model and its batches on both sides, and how ours computes.

Of masked tokens ours scores those alone that count; the peer, as transformers has it, all.

Time: the median over rounds of some steps each. Memory: the most that is resident during these
rounds, less what was before the model was made; on GPUs what is allocated. MFU: FLOPs of the step /
time / peak.

Models: shakespeare (nanoGPT's shakespeare-char, GPU size), shakespeare_dropout (0.2 of it),
bert_mini, t5_mini, vit_ti; for accelerators gpt2 (124M, context 1,024) and llama_1b (1.3B, context
2,048); tiny, to try it out.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

from benchmarks import cases, contest, machine, profiling, record
from benchmarks.machine import Machine
from benchmarks.pair import Pair
from transformer import cli
from transformer.errors import UserError
from transformer.summary import FLOPS_FORMULA

SMALL = ['shakespeare', 'shakespeare_dropout', 'bert_mini', 't5_mini', 'vit_ti']
LARGE = ['gpt2', 'llama_1b']
CLOSE = {'float32': 1e-4, 'bfloat16': 2e-2}  # losses that are the same, before the first update
SECONDS = 2.0  # of a side's turn, about
WARM_UP = 4  # steps


def main() -> int:
    parser = cli.parser(__doc__)
    machine.add_flags(parser)
    parser.add_argument('--model', default='', help='names, with commas between')
    parser.add_argument('--steps', type=int, default=0, help='of a turn (0: about two seconds)')
    parser.add_argument('--profile', metavar='DIR', help='traces some of our steps, too')
    flags, overrides = cli.parse(parser)
    machine.check_flags(flags)
    if flags.steps < 0:
        parser.error(f'--steps={flags.steps}: accepted: at least 0')
    known = list(cases.CASES)
    cases.check(cases.names(flags.model, SMALL, known), overrides, cases.TRAINING)
    here = machine.measure(flags.platform)
    default = SMALL if here.platform == 'cpu' else LARGE
    found = []
    try:  # what was found before a model fails is not lost
        for name in cases.names(flags.model, default, known):
            found += train(name, overrides, here, flags)
    finally:
        show_use(found, here)
        record.finish(found, flags.json)
    return 0


def show_use(found: list[dict[str, Any]], here: Machine) -> None:
    """The MFU of both sides of each model, and how it is counted."""
    print(f'FLOPs          {FLOPS_FORMULA}')
    print(f'MFU            FLOPs / time / {here.peak / 1e12:.4g} TFLOP/s, {here.peak_source}')
    for r in (r for r in found if 'mfu' in r):
        shares = ' and '.join(f'{share:.1%}' for share in r['mfu'] if share is not None)
        print(f'  {r["model"]:<20} {shares}')


def train(
    name: str, overrides: Mapping[str, str], here: Machine, flags: Any
) -> list[dict[str, Any]]:
    """Records of one model: time and memory.

    Raises:
      UserError: a side failed, or the sides are not the same model.
    """
    with made(name, overrides, here) as pair:
        steps = warm_up(name, pair, flags.steps)
        one = functools.partial(milliseconds, steps=steps)
        rounds, peaks = pair.measure(one, flags.repeats)
        print(f'{name:<14} {said(pair, steps)}', flush=True)
        if flags.profile:
            rows = pair.sides['ours']('profile', directory=flags.profile, steps=min(steps, 5))
            print(f'{profiling.text(rows)}\n(trace of {name}: {flags.profile})', flush=True)
        return records(name, pair.about, here, rounds, peaks)


def made(name: str, overrides: Mapping[str, str], here: Machine) -> Pair:
    """Both sides of a model's training step."""
    args = {'model': name, 'overrides': dict(overrides)}
    return Pair('training', here, ('spec', 'optimizer', 'dtype'), **args)


def milliseconds(side: contest.Side, steps: int) -> float:
    """Of a step, the mean of so many, after one that is not timed: a virtual machine takes memory
    back that was free during the other side's turn, and gives it again slowly."""
    side('run', steps=1)
    return 1e3 * side('run', steps=steps)['seconds'] / steps


def warm_up(name: str, pair: Pair, steps: int) -> int:
    """Some steps of each; checks that both are the same. Returns the steps of a turn."""
    mine, theirs = pair.about, pair.peer
    if theirs and mine['parameters'] != theirs['parameters']:
        counts = f'{mine["parameters"]:,} and {theirs["parameters"]:,} parameters'
        raise UserError(f'{name}: the sides have {counts}; accepted: as many')
    losses = {side: told['losses'] for side, told in pair.each('run', steps=WARM_UP).items()}
    if theirs and mine['not_comparable']:
        print(f'{name:<14} losses are not compared: {mine["not_comparable"]}', flush=True)
    elif theirs:
        a, b = losses['ours'], losses['peer']
        if not math.isclose(a[0], b[0], rel_tol=CLOSE[mine['dtype']]):
            raise UserError(f'{name}: losses before the first update differ: {a[0]} and {b[0]}')
        after = f'after {WARM_UP - 1} updates {a[-1]:.5f} and {b[-1]:.5f}'
        print(f'{name:<14} loss {a[0]:.5f} and {b[0]:.5f}, {after}', flush=True)
    slowest = max(told['seconds'] for told in pair.each('run', steps=1).values())
    return steps or max(1, min(100, round(SECONDS / slowest)))


def said(pair: Pair, steps: int) -> str:
    """A line on what was run."""
    about = pair.about
    line = f'{about["parameters"]:,} parameters, {about["dtype"]}, {about["tokens"]:,} tokens and '
    line += f'{about["flops"]:.4g} FLOPs a step, {steps} steps a turn'
    return line + (f'; the peer: {pair.peer["adamw"]} AdamW' if pair.peer else '')


def records(
    name: str,
    about: dict[str, Any],
    here: Machine,
    rounds: contest.Rounds,
    peaks: contest.Rounds,
) -> list[dict[str, Any]]:
    """Of time, with tokens/s and MFU, and of memory."""
    medians, memory = rounds.medians, peaks.medians

    def each(of) -> list[float | None]:
        return [None if ms is None else of(ms / 1e3) for ms in medians]

    rates = {
        'tokens_per_second': each(lambda s: about['tokens'] / s),
        'flops': about['flops'],
        'flops_formula': FLOPS_FORMULA,
    }
    if about['scores_all']:  # the formula counts tokens that ours leaves out otherwise
        rates['mfu'] = each(lambda s: about['flops'] / s / here.peak)
        rates |= {'peak_flops': here.peak, 'peak_source': here.peak_source}
    common = {'machine': here.name, 'model': name, 'dtype': about['dtype']}
    more = common | {'spread': rounds.spread} | rates
    times = record.make(f'{name}, training step', *medians, 'ms', **more)
    how = {'temporaries': about['temporaries']} | common
    return [times, record.make(f'{name}, peak memory of it', *memory, 'MiB', **how)]


if __name__ == '__main__':
    cli.run(main)
