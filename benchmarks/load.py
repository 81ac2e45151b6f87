"""Loading a checkpoint: `hf.load` against `from_pretrained` of transformers, in turn.

    python -m benchmarks.load                      # GPT-2 XL, 1.5 B parameters, 6.2 GB
    python -m benchmarks.load --size=small --json=load.json

A directory with random parameters is made once (`--directory` keeps it). Each load is a process of
its own, with the file in the page cache; the time begins after the imports and ends when every
parameter is in memory and has been read once. Peak memory is the process's resident set, with the
libraries; what the weights alone take is printed beside it.

A virtual machine gives memory that nobody used lately to a process at 0.4 to 1 GB/s, which would be
all that is measured of whoever allocates. So, on both sides, another process touches as much memory
as the weights take right before the time begins; `--cold` leaves that out.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import contest, record
from benchmarks.memory import peak
from transformer import cli
from transformer.errors import UserError

SIZES = {
    'small': {'width': 768, 'depth': 12, 'heads': 12},
    'medium': {'width': 1024, 'depth': 24, 'heads': 16},
    'xl': {'width': 1600, 'depth': 48, 'heads': 25},
}


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument('--size', default='xl', choices=SIZES, help='of GPT-2 (xl)')
    parser.add_argument('--repeats', type=int, default=3, help='loads of each (3)')
    parser.add_argument('--directory', type=Path, help='where the checkpoint is, or is made')
    record.add_flag(parser)
    parser.add_argument('--cold', action='store_true', help='leaves memory as it is')
    parser.add_argument('--side', choices=('ours', 'peer', 'make'), help='one process of it')
    flags, overrides = cli.parse(parser)
    if overrides:
        parser.error(f'--config.{next(iter(overrides))}: this benchmark has its own model')
    if flags.side:
        print(json.dumps({'ours': ours, 'peer': peer, 'make': make}[flags.side](flags)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        directory = flags.directory or Path(temporary) / flags.size
        if not (directory / 'config.json').is_file():
            run('make', flags, directory)
        no_peer = contest.missing_peer()
        print(no_peer or f'{directory}: random parameters', flush=True)
        found = {'ours': []} | ({} if no_peer else {'peer': []})
        for _ in range(flags.repeats):
            for side, records in found.items():
                records.append(run(side, flags, directory))
    report(flags, found)
    return 0


def run(side: str, flags, directory: Path) -> dict:
    """One side's process; its last line is its result."""
    command = [sys.executable, '-m', 'benchmarks.load', f'--side={side}']
    command += [f'--size={flags.size}', f'--directory={directory}', *['--cold'] * flags.cold]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f'{side} failed: {done.stderr.strip().splitlines()[-1]}')
    return json.loads(done.stdout.strip().splitlines()[-1])


def make(flags) -> dict:
    """A random GPT-2 of the size, saved."""
    import jax

    from benchmarks import cases
    from benchmarks.ours import exported
    from transformer import restore

    sizes = {f'model.{name}': str(size) for name, size in SIZES[flags.size].items()}
    experiment, case = cases.experiment('gpt2', sizes), cases.CASES['gpt2']
    model = restore.build_model(experiment, case.vocab)
    init = jax.jit(lambda key: model.init(key, model.example(), method='forward')['params'])
    params = init(jax.random.key(0))
    exported.write(model, params, experiment, case, flags.directory, whole=True)
    return {}


def ours(flags) -> dict:
    import jax
    import numpy as np

    from transformer import hf

    jax.devices()
    warm(flags)
    before, begin = peak(), time.perf_counter()
    loaded = hf.load(flags.directory)
    total = sum(float(np.asarray(x).sum()) for x in jax.tree.leaves(loaded.params))
    seconds = time.perf_counter() - begin
    size = sum(x.nbytes for x in jax.tree.leaves(loaded.params))
    return {'seconds': seconds, 'peak': peak(), 'before': before, 'bytes': size, 'sum': total}


def peer(flags) -> dict:
    import torch
    import transformers

    warm(flags)
    before, begin = peak(), time.perf_counter()
    model = transformers.AutoModelForCausalLM.from_pretrained(flags.directory)
    with torch.no_grad():
        total = sum(float(x.sum()) for x in model.parameters())
    seconds = time.perf_counter() - begin
    size = sum(x.numel() * x.element_size() for x in model.parameters())
    return {'seconds': seconds, 'peak': peak(), 'before': before, 'bytes': size, 'sum': total}


def warm(flags) -> None:
    """Another process uses and frees as much memory as the weights take."""
    size = sum(file.stat().st_size for file in flags.directory.glob('*.safetensors'))
    touch = f'import mmap; m = mmap.mmap(-1, {size})\nfor i in range(0, {size}, 4096): m[i] = 1'
    if not flags.cold:
        subprocess.run([sys.executable, '-c', touch], check=True)


def report(flags, found: dict[str, list[dict]]) -> None:
    """Prints medians, their ratio and the memory; writes the JSON."""
    gib = 2.0**30

    def rounds(of) -> contest.Rounds:
        return contest.Rounds(**{side: tuple(map(of, runs)) for side, runs in found.items()})

    for side, runs in found.items():
        above = max(r['peak'] - r['before'] - r['bytes'] for r in runs)
        print(
            f'{side}: {runs[0]["bytes"] / gib:.2f} GiB of the peak are weights, {above / gib:.2f} '
            'GiB neither weights nor libraries'
        )
    times, peaks = rounds(lambda r: r['seconds']), rounds(lambda r: r['peak'] / gib)
    most = max(peaks.ours), max(peaks.peer, default=None)
    name = f'load GPT-2 {flags.size}'
    records = [
        record.make(name, *times.medians, 's', spread=times.spread),
        record.make(f'{name}, peak memory', *most, 'GiB', spread=peaks.spread),
    ]
    record.finish(records, flags.json)


if __name__ == '__main__':
    cli.run(main)
