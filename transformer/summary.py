"""The summary at the start of a run, and the arithmetic in it."""

import collections
from typing import Any

import jax
import numpy as np

from transformer import hardware, paths
from transformer.config import TransformerConfig

FLOPS_FORMULA = '6 N + 12 layers * heads * head_width * context, N without position tables'


def parameter_count(params: Any) -> int:
    """Number of scalars; what is shared counts once."""
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(params))


def by_module(params: Any) -> dict[str, int]:
    """Number of parameters of each part: the embedding, each kind of layer part, the head."""
    counts = collections.Counter()
    for path, x in zip(paths.names(params), jax.tree.leaves(params)):
        parts = path.split('/')
        kernel_of = parts[:-1] if len(parts) > 1 else parts
        name = '/'.join(p for p in kernel_of[:5] if p not in ('stack', 'repeat'))
        counts[name] += int(np.prod(x.shape))
    return dict(counts)


def flops_per_token(params: Any, config: TransformerConfig) -> float:
    """FLOPs of a training step per token: `FLOPS_FORMULA`."""
    tables = [
        x
        for path, x in zip(paths.names(params), jax.tree.leaves(params))
        if path.startswith('positions/')
    ]
    n = parameter_count(params) - parameter_count(tables)
    attention = sum(
        12
        * block.mixer.heads
        * block.mixer.head_width
        * min(block.mixer.window or config.context, config.context)
        for block in config.pattern
        if hasattr(block.mixer, 'heads')
    )
    return 6.0 * n + config.repeats * attention


def bytes_per_device(tree: Any) -> int:
    """Bytes that one device holds of a tree of arrays."""
    return sum(
        int(np.prod(x.sharding.shard_shape(x.shape))) * x.dtype.itemsize
        for x in jax.tree.leaves(tree)
    )


def describe(state: Any, config: TransformerConfig, mesh: Any, tokens: int, compiled: Any) -> str:
    """The summary, lines of text.

    Args:
      state: a `TrainState`.
      tokens: of one step.
      compiled: the compiled training step.
    """
    gib = 2.0**30
    total = parameter_count(state.params)
    lines = [f'parameters     {total:,}']
    lines += [f'  {name:<28} {n:>14,}' for name, n in by_module(state.params).items()]
    memory = compiled.memory_analysis()
    work = f', {memory.temp_size_in_bytes / gib:.2f} GiB of temporaries' if memory else ''
    axes = ', '.join(f'{axis} {size}' for axis, size in mesh.shape.items())
    flops = flops_per_token(state.params, config)
    peak = hardware.peak_flops()
    lines += [
        f'FLOPs          {flops:.4g} a token ({FLOPS_FORMULA})',
        f'tokens         {tokens:,} a step',
        f'memory         {bytes_per_device(state.params) / gib:.3f} GiB of parameters, '
        f'{bytes_per_device(state.opt_state) / gib:.3f} GiB of optimizer state{work}, a device',
        f'types          parameters float32, compute {config.dtype}',
        f'mesh           {axes}',
        f'devices        {jax.device_count()} x {jax.devices()[0].device_kind}'
        + (f', peak {peak / 1e12:.0f} TFLOP/s each' if peak else ', peak unknown: no MFU'),
        f'versions       {hardware.versions()}',
    ]
    return '\n'.join(lines)
