"""Compile time of a deep model against a shallow one: depth runs under one scan.

    python -m benchmarks.compile
    python -m benchmarks.compile --json=compile.json

The training step of a small decoder with 12 and with 48 layers is compiled in turn, some times
each; the ratio is that of the medians. Unrolled, it would be about 4.
"""

import json
import platform
import statistics
import time
from pathlib import Path

from transformer import cli


def main() -> int:
    parser = cli.parser(__doc__)
    parser.add_argument('--layers', default='12,48', help='shallow,deep (12,48)')
    parser.add_argument('--repeats', type=int, default=5, help='compilations of each (5)')
    parser.add_argument('--json', type=Path, metavar='FILE', help='writes a list of one object')
    flags, overrides = cli.parse(parser)
    if overrides:
        parser.error(f'--config.{next(iter(overrides))}: this benchmark has its own model')
    depths = [int(n) for n in flags.layers.split(',')]

    import jax

    times = {depth: [] for depth in depths}
    for _ in range(flags.repeats):
        for depth in depths:
            times[depth].append(seconds(depth))
    for depth, found in times.items():
        spread = f'{min(found):.2f} to {max(found):.2f}'
        print(f'{depth:>4} layers  {statistics.median(found):.2f} s  ({spread})')
    medians = [statistics.median(times[depth]) for depth in depths]
    ratio = medians[-1] / medians[0]
    print(f'ratio       {ratio:.2f}')
    if flags.json:
        machine = f'{jax.devices()[0].device_kind}, {platform.machine()}, jax {jax.__version__}'
        name = f'compile time, {depths[-1]} layers against {depths[0]}'
        record = {'name': name, 'ours': medians[-1], 'peer': medians[0], 'ratio': ratio}
        flags.json.write_text(json.dumps([record | {'unit': 's', 'machine': machine}]) + '\n')
    return 0


def seconds(depth: int) -> float:
    """Time to trace and compile the training step of a decoder of that depth, from nothing."""
    import jax
    import jax.numpy as jnp

    from transformer import optim, restore, sharding, step
    from transformer.experiment import Experiment, MeshConfig, default_config

    config = default_config()
    config.model.depth = depth
    config.unroll = 1
    config.batch_size, config.context = 8, 64
    experiment = Experiment.from_config(config)
    mesh = sharding.make_mesh(MeshConfig())
    model, tx = restore.build_model(experiment, vocab=512), optim.make(experiment)
    abstract = step.abstract_state(step.init_fn(model, tx), tx, mesh)
    shardings = jax.tree.map(lambda x: x.sharding, abstract)
    tokens = jax.ShapeDtypeStruct((1, 8, 64), jnp.int32)
    names = ('inputs', 'targets', 'positions', 'segment_ids')
    batch = dict.fromkeys(names, tokens) | {'weights': jax.ShapeDtypeStruct((1, 8, 64), 'float32')}
    jax.clear_caches()
    begin = time.perf_counter()
    jitted = step.jit_train_step(step.train_step_fn(model, tx, experiment), shardings, mesh)
    jitted.lower(abstract, step.abstract_batch(batch, mesh)).compile()
    return time.perf_counter() - begin


if __name__ == '__main__':
    cli.run(main)
