"""Loading a checkpoint: `hf.load` against `from_pretrained` of transformers, in turn.

    python -m benchmarks.load                      # GPT-2 XL, 1.5 B parameters, 6.2 GB
    python -m benchmarks.load --size=small --json=load.json

A directory with random parameters is made once (`--directory` keeps it). Each load is a process of
its own, with the file in the page cache; the time begins after the imports and ends when every
parameter is in memory and has been read once. Peak memory is the process's resident set, with the
libraries; what the weights alone take is printed beside it. Needs torch and transformers.

A virtual machine gives memory that nobody used lately to a process at 0.4 to 1 GB/s, which would be
all that is measured of whoever allocates. So, on both sides, another process touches as much memory
as the weights take right before the time begins; `--cold` leaves that out.
"""

import json
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from transformer import cli
from transformer.errors import UserError

SIZES = {
    'small': {'n_embd': 768, 'n_layer': 12, 'n_head': 12},
    'medium': {'n_embd': 1024, 'n_layer': 24, 'n_head': 16},
    'xl': {'n_embd': 1600, 'n_layer': 48, 'n_head': 25},
}


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument('--size', default='xl', choices=SIZES, help='of GPT-2 (xl)')
    parser.add_argument('--repeats', type=int, default=3, help='loads of each (3)')
    parser.add_argument('--directory', type=Path, help='where the checkpoint is, or is made')
    parser.add_argument('--json', type=Path, metavar='FILE', help='writes a list of objects')
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
        found = {'ours': [], 'peer': []}
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
    import torch
    import transformers

    config = transformers.GPT2Config(**SIZES[flags.size])
    with torch.device('meta'):
        model = transformers.GPT2LMHeadModel(config)
    model = model.to_empty(device='cpu')
    with torch.no_grad():
        for x in model.parameters():
            x.normal_(std=0.02)
    model.tie_weights()
    model.save_pretrained(flags.directory)
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


def peak() -> int:
    """Greatest resident set of this process so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def report(flags, found: dict[str, list[dict]]) -> None:
    """Prints medians, their ratio and the memory; writes the JSON."""
    gib = 2.0**30
    medians, extra = {}, {}
    for side, records in found.items():
        times = [record['seconds'] for record in records]
        medians[side] = statistics.median(times)
        worst = max(record['peak'] for record in records)
        above = max(r['peak'] - r['before'] - r['bytes'] for r in records)
        extra[side] = worst
        print(
            f'{side:<5} {medians[side]:.2f} s  ({min(times):.2f} to {max(times):.2f})  peak '
            f'{worst / gib:.2f} GiB, of which {records[0]["bytes"] / gib:.2f} GiB are weights and '
            f'{above / gib:.2f} GiB are neither weights nor libraries'
        )
    print(f'ratio {medians["ours"] / medians["peer"]:.2f} of time')
    if flags.json:
        machine = f'{platform.machine()}, {platform.python_version()}'
        common = {'machine': machine}
        name = f'load GPT-2 {flags.size}'
        records = [
            {'name': name, **medians, 'ratio': medians['ours'] / medians['peer'], 'unit': 's'},
            {
                'name': f'{name}, peak memory',
                **extra,
                'ratio': extra['ours'] / extra['peer'],
                'unit': 'bytes',
            },
        ]
        flags.json.write_text(json.dumps([r | common for r in records], indent=1) + '\n')


if __name__ == '__main__':
    cli.run(main)
