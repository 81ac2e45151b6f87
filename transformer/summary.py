"""The summary at the start of a run, and the arithmetic in it."""

import collections
import re
from typing import Any

import jax
import numpy as np

from transformer import hardware, paths
from transformer.config import EncoderDecoderConfig, StackConfig, VisionConfig
from transformer.schedule import schedule

FLOPS_FORMULA = (
    '6 N + 12 layers * heads * head_width * keys, N without position tables and idle experts'
)


def parameter_count(params: Any) -> int:
    """Number of scalars; what is shared counts once."""
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(params))


def by_module(params: Any) -> dict[str, int]:
    """Number of parameters of each part: the embedding, each kind of layer part, the head."""
    counts = collections.Counter()
    for path, x in zip(paths.names(params), jax.tree.leaves(params)):
        parts = path.split('/')
        name = '/'.join(p for p in parts[:-1][:5] if p not in ('repeat', 'shared'))
        counts[name] += int(np.prod(x.shape))
    return dict(counts)


def stacks(config: Any) -> dict[str, tuple[StackConfig, int]]:
    """Name of each stack of a model -> its config, and how many places it works on."""
    if isinstance(config, EncoderDecoderConfig):
        return {
            'encoder': (config.encoder, config.context),
            'decoder': (config.decoder, config.target_context),
        }
    length = config.patches.length if isinstance(config, VisionConfig) else config.context
    return {'stack': (config.stack, length)}


def flops_per_row(params: Any, config: Any) -> float:
    """FLOPs of a training step per sequence: `FLOPS_FORMULA` times its tokens, stack by stack.

    The embedding's table counts where the head reads it, in the last stack.
    """
    found = dict(zip(paths.names(params), jax.tree.leaves(params)))
    used = collections.Counter()
    names = list(stacks(config))
    for path, x in found.items():
        if '/positions/' in path or path.startswith('positions/'):
            continue
        owner = next((n for n in names if path.split('/')[0].startswith(n)), names[-1])
        used[owner] += float(np.prod(x.shape)) * _share(path, stacks(config)[owner][0])
    total = 0.0
    for name, (stack, length) in stacks(config).items():
        keys = sum(_products(block, length, config) for block in stack.pattern)
        total += length * (6.0 * used[name] + 12 * stack.repeats * keys)
    return total


def _share(path: str, stack: StackConfig) -> float:
    """How often a token uses a parameter: idle experts less, shared layers more than once."""
    block = re.match(r'\w+/(repeat|shared)/block_(\d+)/', path)
    if block is None:
        return 1.0
    mlp = stack.pattern[int(block[2])].mlp
    expert = '/mlp/' in path and '/router/' not in path and hasattr(mlp, 'experts')
    times = stack.repeats / stack.groups if stack.shared else 1.0
    return (mlp.top_k / mlp.experts if expert else 1.0) * times


def _products(block: Any, length: int, config: Any) -> float:
    """heads * head_width * keys of a block's attention; 0 for mixers that are not attention."""
    total = 0.0
    if hasattr(block.mixer, 'kv_heads'):
        window = block.mixer.window or length
        total += block.mixer.heads * block.mixer.head_width * min(window, length)
    if block.cross is not None:
        total += block.cross.heads * block.cross.head_width * config.context
    return total


def bytes_per_device(tree: Any) -> int:
    """Bytes that one device holds of a tree of arrays."""
    return sum(
        int(np.prod(x.sharding.shard_shape(x.shape))) * x.dtype.itemsize
        for x in jax.tree.leaves(tree)
    )


def pipeline_lines(stack: StackConfig, mesh: Any) -> list[str]:
    """A line on the schedule of a pipeline, if there is one."""
    if mesh.shape['stage'] == 1:
        return []
    plan = schedule(mesh.shape['stage'], stack.microbatches, stack.rounds)
    S, V, A = plan.when_SVA.shape
    micro = 'microbatch' if A == 1 else 'microbatches'
    turns = 'round' if V == 1 else 'rounds'
    return [f'pipeline       {S} stages, {A} {micro}, {V} {turns}: bubble {plan.bubble:.1%}']


def facts(params: Any) -> dict[str, Any]:
    """What is worth keeping beside a run's numbers: its size, and what it runs on."""
    return {
        'parameters': parameter_count(params),
        'platform': jax.default_backend(),
        'devices': jax.device_count(),
        'device': jax.devices()[0].device_kind,
        'versions': hardware.versions(),
    }


def describe(state: Any, config: Any, mesh: Any, rows: int, compiled: Any) -> str:
    """The summary, lines of text.

    Args:
      state: a `TrainState`.
      config: of the model.
      rows: of one step.
      compiled: the compiled training step.
    """
    gib = 2.0**30
    total = parameter_count(state.params)
    lines = [f'parameters     {total:,}']
    lines += [f'  {name:<28} {n:>14,}' for name, n in by_module(state.params).items()]
    memory = compiled.memory_analysis()
    work = f', {memory.temp_size_in_bytes / gib:.2f} GiB of temporaries' if memory else ''
    axes = ', '.join(f'{axis} {size}' for axis, size in mesh.shape.items())
    places = {name: length for name, (_, length) in stacks(config).items()}
    flops = flops_per_row(state.params, config) / sum(places.values())
    peak = hardware.peak_flops()
    dtype = next(iter(stacks(config).values()))[0].dtype
    backends = {
        part.backend
        for stack, _ in stacks(config).values()
        for block in stack.pattern
        for part in (block.mixer, block.cross)
        if hasattr(part, 'backend')
    }
    tokens = ' + '.join(f'{rows * length:,} ({name})' for name, length in places.items())
    lines += [
        f'FLOPs          {flops:.4g} a token ({FLOPS_FORMULA})',
        f'tokens         {tokens} a step, padding included',
        f'memory         {bytes_per_device(state.params) / gib:.3f} GiB of parameters, '
        f'{bytes_per_device(state.opt_state) / gib:.3f} GiB of optimizer state{work}, a device',
        f'types          parameters float32, compute {dtype}',
        f'attention      {", ".join(sorted(backends)) or "none"}',
        f'mesh           {axes}',
        *pipeline_lines(next(iter(stacks(config).values()))[0], mesh),
        f'devices        {jax.device_count()} x {jax.devices()[0].device_kind}'
        + (f', peak {peak / 1e12:.0f} TFLOP/s each' if peak else ', peak unknown: no MFU'),
        f'versions       {hardware.versions()}',
    ]
    return '\n'.join(lines)
