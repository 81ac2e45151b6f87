"""Whether an experiment fits devices that are not here, and what it costs there.

    python preflight.py --config=configs/quickstart.py --topology=v5e:2x4
    python preflight.py --config=configs/llama.py:7b --topology=v5e:16x16
    python preflight.py --config=configs/quickstart.py --topology=v6e:1x1 --search
    python preflight.py --config=configs/llama.py:7b --topology=v5p:2x2x1 --decode \\
        --config.batch_size=16
    python preflight.py --config=configs/quickstart.py --topology=h100x8 --json

The step that train.py runs is compiled by the compiler for TPUs, which needs none:
pip install -e ".[tpu]". No data are read. For GPUs, which cannot be compiled for here, it says an
estimate. The exit code is 0 where the step fits, 1 where it does not, 2 where it could not be
found out. Known topologies: v4, v5e, v5p, v6e, tpu7x, each with the chips along the axes of its
network, *2 at the end for two slices; v100x8, t4x8, l4x8, a100x8, h100x8, h200x8.
"""

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

from transformer import cli
from transformer.errors import UserError


def main(argv: list[str] | None = None) -> int:
    parser = cli.parser(__doc__)
    cli.add_config(parser)
    add = parser.add_argument
    add('--topology', metavar='NAME', help='the devices, such as v5e:16x16')
    add('--decode', action='store_true', help='the step of decoding instead, caches full')
    add('--search', action='store_true', help='the largest batch and the lightest remat that fit')
    add('--vocab', type=int, default=0, help='tokens, where only the data tell')
    add('--classes', type=int, default=0, help='classes, where only the data tell')
    add('--json', action='store_true', help='prints one JSON object instead')
    try:
        flags, overrides = cli.parse(parser, argv)
        return run(flags, overrides)
    except UserError as error:
        print(f'error: {error}', file=sys.stderr, flush=True)
    except Exception:  # 1 would say that it does not fit
        traceback.print_exc()
    return 2


def run(flags: Any, overrides: dict[str, str]) -> int:
    for name in ('config', 'topology'):
        if not getattr(flags, name):
            raise UserError(f'--{name} is required (see --help)')
    if flags.search and flags.decode:
        raise UserError('--search: of --decode there is nothing to search: it has no remat')
    os.environ['JAX_PLATFORMS'] = 'cpu'  # accelerators that are here are left alone
    os.environ['TPU_SKIP_MDS_QUERY'] = '1'
    from transformer.preflight import check, kinds, task

    topology = kinds.topology(flags.topology)
    config = cli.load_config(flags.config)
    assumed = task.adopt(config, overrides)
    cli.override(config, overrides)
    from transformer.experiment import Experiment

    experiment = Experiment.from_config(config)
    how = check.Check(topology, flags.decode, flags.vocab, flags.classes, assumed)

    def say(line: str) -> None:
        print(line, file=sys.stderr if flags.json else sys.stdout, flush=True)

    if flags.search:
        found, tried = how.search(experiment, say)
        found |= {'tried': tried}
    else:
        found = how(experiment)
    print(json.dumps(found) if flags.json else check.text(found), flush=True)
    return 0 if found['fits'] else 1


OTHER_PROGRAM = '--config.unroll or another --config.model.attention may avoid it'
CRASHES = dict.fromkeys(('SIGSEGV', 'SIGABRT', 'SIGBUS', 'SIGILL', 'SIGFPE'), OTHER_PROGRAM)
CRASHES['SIGKILL'] = 'as the system does where memory runs out; compile on a machine with more'


def watched(run: Callable[[], int]) -> int:
    """The exit code of `run` in a process of its own, which the compiler may end without a word."""
    if not hasattr(os, 'fork'):
        return run()
    watching, watcher = os.pipe()  # at its end when this process is gone, whatever ended it
    child = os.fork()
    if not child:
        os.close(watcher)
        leave = lambda: (os.read(watching, 1), os._exit(2))  # noqa: E731
        threading.Thread(target=leave, daemon=True).start()
        sys.exit(run())
    os.close(watching)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to both
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    name = signal.Signals(-code).name if code < 0 else ''
    if name in CRASHES:
        print(f'error: the compiler ended by {name}; {CRASHES[name]}', file=sys.stderr, flush=True)
        return 2
    return code if code >= 0 else 128 - code


if __name__ == '__main__':
    sys.exit(watched(main))
