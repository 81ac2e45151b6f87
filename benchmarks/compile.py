"""Compile time of a deep model against a shallow one: depth runs under one scan.

    python -m benchmarks.compile
    python -m benchmarks.compile --topology=v5e:1x1 --json=compile.json

The training step of a small decoder with 12 and with 48 layers is traced and compiled in turn, some
times each; the ratio is that of the medians. Unrolled, it would be about 4. It is compiled for the
devices here, or with `--topology` by the compiler for TPUs (pip install -e ".[tpu]").
"""

import functools
import os
import time
from typing import Any

from benchmarks import contest, record
from transformer import cli
from transformer.errors import UserError


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument('--layers', default='12,48', help='shallow,deep (12,48)')
    parser.add_argument('--repeats', type=int, default=5, help='compilations of each (5)')
    parser.add_argument('--topology', default='', metavar='NAME', help='TPUs, such as v5e:1x1')
    record.add_flag(parser)
    flags, overrides = cli.parse(parser)
    if overrides:
        parser.error(f'--config.{next(iter(overrides))}: this benchmark has its own model')
    words = flags.layers.split(',')
    if len(words) != 2 or not all(w.isdigit() and int(w) for w in words):
        parser.error(f'--layers={flags.layers}: accepted: two numbers, such as 12,48')
    if flags.repeats < 1:
        parser.error(f'--repeats={flags.repeats}: accepted: at least 1')
    shallow, deep = map(int, words)
    one = functools.partial(seconds, devices=devices(flags.topology))
    sides = {'ours': lambda: one(deep), 'peer': lambda: one(shallow)}
    rounds = contest.alternate(sides, flags.repeats, rest=0)
    name = f'compile time, {deep} layers against {shallow}'
    where = f'{flags.topology}, compiled on ' if flags.topology else ''
    machine = f'{where}{record.processor()}'
    found = record.make(name, *rounds.medians, 's', machine, spread=rounds.spread)
    record.finish([found], flags.json)
    return 0


def devices(topology: str) -> tuple[Any, Any] | None:
    """A topology and its devices; None for '', the devices here.

    Raises:
      UserError: there is no compiler for it.
    """
    if not topology:
        return None
    os.environ['JAX_PLATFORMS'] = 'cpu'  # accelerators that are here are left alone
    from transformer.preflight import devices, kinds

    found = kinds.topology(topology)
    if not found.compiles:
        raise UserError(f'--topology={topology}: accepted: TPUs, which have a compiler everywhere')
    return found, devices.tpus(found)


def seconds(depth: int, devices: tuple[Any, Any] | None) -> float:
    """Time to trace and compile the training step of a decoder of that depth, from nothing."""
    import jax

    from transformer import optim, restore, sharding, step
    from transformer.experiment import Experiment, MeshConfig, default_config
    from transformer.preflight import program, task

    config = default_config()
    config.model.depth = depth
    config.unroll = 1
    config.batch_size, config.context = 8, 64
    experiment = Experiment.from_config(config)
    made_up = task.task_of(experiment, vocab=512)
    jax.clear_caches()
    begin = time.perf_counter()
    if devices:
        case = program.case(experiment, devices[0], made_up, devices[1], writes=False)
        program.lowered_train(case)[0].compile()
        return time.perf_counter() - begin
    mesh = sharding.make_mesh(MeshConfig())
    model, tx = restore.build_model(experiment, vocab=512), optim.make(experiment)
    abstract = step.abstract_state(step.init_fn(model, tx), tx, mesh)
    shardings = jax.tree.map(lambda x: x.sharding, abstract)
    batch = step.abstract_batch(made_up.batch(8, 1), mesh)
    jitted = step.jit_train_step(step.train_step_fn(model, tx, experiment), shardings, mesh)
    jitted.lower(abstract, batch).compile()
    return time.perf_counter() - begin


if __name__ == '__main__':
    cli.run(main)
