"""Bytes of one device: what the compiler measured, or said when it ran out.

Sizes of the state follow from its layout; the rest is the compiler's own analysis of the program.
"""

import dataclasses
import re
from typing import Any

import jax
import numpy as np

from transformer.preflight import hlo_buffers
from transformer.preflight.kinds import Kind

UNITS = {'': 1, 'K': 2**10, 'M': 2**20, 'G': 2**30, 'T': 2**40}


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of one device.

    Attributes:
      parameters, optimizer: of the state, by its layout, where they wait on the device.
      kept: caches of decoding.
      activations: what the loops over layers keep of the forward pass for the backward pass.
      temporaries: all else that the program makes and frees, at the peak: gradients, logits,
        working room.
      arguments: all that is given: state, caches, batch, as laid out.
      outputs: results that are not written over arguments.
      code: the program itself.
      host: of the host's memory, for this device.
      total: what the program takes of the device; where it does not fit, at least.
      capacity: what it may take.
      fits: whether the compiler found room; of an estimate, whether there is.
    """

    parameters: int
    optimizer: int
    kept: int
    activations: int | None
    temporaries: int | None
    arguments: int | None
    outputs: int | None
    code: int | None
    host: int
    total: int
    capacity: int
    fits: bool


def bytes_of(tree: Any, where: str = 'device') -> int:
    """Bytes that one device holds of a tree of laid out shapes, there or in the host's memory."""
    total = 0
    for x in jax.tree.leaves(tree):
        host = (x.sharding.memory_kind or '').endswith('host')
        if host == (where == 'host'):
            total += int(np.prod(x.sharding.shard_shape(x.shape))) * x.dtype.itemsize
    return total


def state_of(state: Any, kept: Any) -> dict[str, int]:
    """The part of `Memory` that follows from layouts: of a training state, or of parameters."""
    params, opt_state = getattr(state, 'params', state), getattr(state, 'opt_state', ())
    return {
        'parameters': bytes_of(params),
        'optimizer': bytes_of(opt_state),
        'kept': bytes_of(kept),
        'host': bytes_of((params, opt_state), 'host'),
    }


def measured(analysis: Any, text: str, state: dict[str, int], kind: Kind) -> Memory:
    """Of a compiled program: `analysis` is `compiled.memory_analysis()`, `text` its text.

    Temporaries are those at the peak. All that there are in the course of a step may be more than
    the device has.
    """
    a = analysis
    outputs = a.output_size_in_bytes - a.alias_size_in_bytes
    there = a.argument_size_in_bytes + outputs
    temporaries = max(0, a.peak_memory_in_bytes - there)
    code = a.generated_code_size_in_bytes
    host = a.host_argument_size_in_bytes + a.host_temp_size_in_bytes
    host += a.host_output_size_in_bytes - a.host_alias_size_in_bytes
    activations = min(hlo_buffers.kept_for_backward(text), temporaries)
    return Memory(
        **state | {'host': max(host, state['host'])},
        activations=activations,
        temporaries=temporaries - activations,
        arguments=a.argument_size_in_bytes,
        outputs=outputs,
        code=code,
        total=there + temporaries + code,
        capacity=int(kind.usable),
        fits=True,
    )


def ran_out(message: str, state: dict[str, int], kind: Kind) -> Memory:
    """Of a program for which the compiler found no room; what it does not say is None."""
    total, capacity = used(message)
    given = sum(state[name] for name in ('parameters', 'optimizer', 'kept'))
    temporaries = None
    if 'HLO temporaries' in message:  # what is given comes on top
        temporaries, total = total, total + given
    unknown = dict.fromkeys(('activations', 'arguments', 'outputs', 'code'))
    return Memory(
        **state,
        **unknown,
        temporaries=temporaries,
        total=max(total, given),
        capacity=capacity or int(kind.usable),
        fits=False,
    )


def used(message: str) -> tuple[int, int]:
    """Bytes that a program would take, and that there are, by the compiler's error; 0: unsaid."""
    size = r'([\d.]+)([KMGT]?)B?'
    forms = (
        rf'Used {size} of {size} hbm',
        rf'\({size}\) exceeds available HBM \({size}\)',
    )
    for form in forms:
        if found := re.search(form, message):
            needed, unit, there, other = found.groups()
            return int(float(needed) * UNITS[unit]), int(float(there) * UNITS[other])
    return 0, 0


def allocations(message: str, count: int = 5) -> list[hlo_buffers.Buffer]:
    """The largest buffers that the compiler's error names."""
    size = r'Size: ([\d.]+)([KMGT]?)B?\s'
    found = re.findall(rf'\d+\. {size}(.*?)(?=\n\s*=====|\n\s*\d+\. Size|\Z)', message, re.DOTALL)
    buffers = []
    for number, unit, rest in found[:count]:
        made_by = re.search(r'op_name="([^"]*)"', rest)
        shape = re.search(r'Shape: (\S+?)(?:\{|\s)', rest)
        made = made_by[1] if made_by else 'not named'
        buffers.append(
            hlo_buffers.Buffer(int(float(number) * UNITS[unit]), shape[1] if shape else '', made)
        )
    return buffers
