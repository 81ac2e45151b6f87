"""The table of docs/preflight.md: every shipped config on six topologies.

    python -m transformer.preflight.table --results=results.jsonl > docs/preflight.md

Each case is a process of `preflight.py`; what is in the file of results is not done again. A case
takes half a minute of two cores, the largest a few minutes. Run it from the top of the checkout.
"""

import ast
import contextlib
import itertools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from transformer import cli, hardware

TOPOLOGIES = ('v5e:1x1', 'v6e:1x1', 'v5e:2x4', 'v5e:16x16', 'v5p:4x4x4', 'tpu7x:2x2x1')
# Those whose sizes differ in more than what an experiment compares.
SIZED = ('gpt2', 'llama', 'multi30k', 'shakespeare_char', 'switch')
CRASHED = 'the compiler ended by'  # `preflight.watched` says so
INTRODUCTION = """# What fits where

`preflight.py` compiles the step that `train.py` runs, with the compiler for TPUs, on a machine that
has none (`pip install -e ".[tpu]"`), and says what it takes there:

    python preflight.py --config=configs/llama.py:7b --topology=v5e:16x16

Parameters, memory of a device against what it has, FLOPs, bytes exchanged by kind and by axis of
the mesh, the largest buffers, a verdict. The exit code is 0 where it fits, 1 where it does not, and
2 where it could not be found out. `--search` finds the largest batch and the lightest
rematerialisation that fit, `--decode` compiles a step of decoding, `--json` prints one object. GPUs
(`--topology=h100x8`) are estimated, and it says so.

What counts as memory of a device is all that the program has there: arguments (state and batch),
results that do not take their place, temporaries at the peak, code. The compiler refuses a program
that has more than the device; when it runs short it computes more again and keeps less, so that
what nearly fills a device may take long to compile, and may still fit with a larger batch.

## Every shipped config

GiB of a device, and in brackets the rows of a step: those of the config, or the next lower number
that the mesh divides, at least a row for each place. **Bold**: does not fit, at least so much
needed. {left}

{head}
{rows}

What only the data tell was assumed; the output of `preflight.py` says what:

{assumed}

Refused, or not found out:

{refused}

Made by `python -m transformer.preflight.table --results=results.jsonl`, {versions}. A device
of tpu7x is half a chip.
"""


def cases() -> list[str]:
    """All shipped configs, as `--config` names them, with the sizes of those in `SIZED`."""
    found = []
    for path in sorted(Path('configs').glob('*.py')):
        if path.stem != '__init__':
            sizes = [size for size in _sizes(path) if size] if path.stem in SIZED else []
            found += [f'configs/{path.name}', *(f'configs/{path.name}:{size}' for size in sizes)]
    return found


def _sizes(path: Path) -> list[str]:
    """What may follow the colon: the keys of tables that have ''."""
    found: dict[str, None] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Dict):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            found |= dict.fromkeys(keys if '' in keys else ())
    return list(found)


def preflight(config: str, topology: str, *more: str) -> dict[str, Any]:
    """The findings of a process of its own, or {'error': why}."""
    words = [sys.executable, 'preflight.py', f'--config={config}', f'--topology={topology}']
    done = subprocess.run([*words, '--json', *more], capture_output=True, text=True, check=False)
    if done.stdout:
        return json.loads(done.stdout)
    errors = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    return {'error': errors[-1].removeprefix('error: ') if errors else done.stderr[-300:]}


def fitted(config: str, topology: str) -> dict[str, Any]:
    """The findings, with the nearest number of rows that the mesh divides, the config's or fewer.

    A mesh with more places than the config has rows gets one for each place.
    """
    found = preflight(config, topology)
    unit = found.get('error', '').partition('a multiple of ')[2].partition(' ')[0].rstrip(',')
    if not unit.isdigit():
        return found
    rows = max(cli.load_config(config).batch_size // int(unit), 1) * int(unit)
    return preflight(config, topology, f'--config.batch_size={rows}')


def cell(found: dict[str, Any]) -> str:
    if 'error' in found:
        return 'refused'
    size = f'{found["hbm_gib"]:.3g}'
    return f'{size if found["fits"] else f"**{size}**"} ({found["batch_size"]:,})'


def page(found: dict[tuple[str, str], dict[str, Any]]) -> str:
    """The page, of findings by config and topology."""
    configs = list(dict.fromkeys(config for config, _ in found))
    left = ', '.join(
        f'{topology} {one["usable_hbm_gib"]:.2f}'
        for topology in TOPOLOGIES
        if (one := next((f for (_, t), f in found.items() if t == topology and 'fits' in f), None))
    )
    head = f'| config | {" | ".join(TOPOLOGIES)} |\n|{" --- |" * (len(TOPOLOGIES) + 1)}'
    rows, assumed = [], {}
    for config in configs:
        name = config.removeprefix('configs/').replace('.py', '')
        cells = [cell(found[config, topology]) for topology in TOPOLOGIES]
        rows.append(f'| {name} | {" | ".join(cells)} |')
        for phrase in found[config, TOPOLOGIES[0]].get('assumed', ()):
            assumed.setdefault(phrase, []).append(name)
    said = '\n'.join(f'- {", ".join(names)}: {phrase}' for phrase, names in assumed.items())
    refused = [
        f'- {config.removeprefix("configs/").replace(".py", "")} on {topology}: {one["error"]}'
        for (config, topology), one in found.items()
        if 'error' in one
    ]
    return INTRODUCTION.format(
        left=f'What a device has, in GiB: {left}.',
        head=head,
        rows='\n'.join(rows),
        assumed=said or '- nothing',
        refused='\n'.join(refused) or '- nothing',
        versions=hardware.versions(),
    )


def read(results: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Findings that are kept; a last line that was cut short is not."""
    found = {}
    for line in results.read_text(encoding='utf-8').splitlines() if results.is_file() else ():
        with contextlib.suppress(ValueError):
            config, topology, one = json.loads(line)
            found[config, topology] = one
    return found


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument('--results', type=Path, required=True, help='a file of findings, kept')
    parser.add_argument('--jobs', type=int, default=2, help='processes at a time (2)')
    flags, overrides = cli.parse(parser)
    if overrides:
        parser.error(f'--config.{next(iter(overrides))}: configs are taken as they are')
    found = read(flags.results)
    wanted = list(itertools.product(cases(), TOPOLOGIES))
    missing = [case for case in wanted if case not in found]
    with ThreadPoolExecutor(flags.jobs) as pool, flags.results.open('a', encoding='utf-8') as file:
        # In the order of `missing`, each as soon as it and those before it are there.
        for case, one in zip(missing, pool.map(lambda case: fitted(*case), missing)):
            found[case] = one
            if CRASHED not in one.get('error', ''):  # it may have been for want of memory here
                file.write(json.dumps([*case, one]) + '\n')
            file.flush()
            print(f'{" on ".join(case)}: {cell(one)}', file=sys.stderr, flush=True)
    print(page({case: found[case] for case in wanted}), end='')
    return 0


if __name__ == '__main__':
    cli.run(main)
