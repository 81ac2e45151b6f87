"""What a compiled program exchanges between devices, read from its text.

found = collectives(compiled.as_text(), mesh.shape)
[c for c in found if c.kind == 'all-gather' and 'fsdp' in c.axes]
"""

import collections
import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from transformer.preflight.hlo_groups import axes_of, groups_of
from transformer.preflight.hlo_loops import Frame, enter
from transformer.preflight.hlo_text import Computation, Instruction, Program, parse

KINDS = (
    'all-gather',
    'all-reduce',
    'reduce-scatter',
    'all-to-all',
    'ragged-all-to-all',
    'collective-permute',
    'collective-broadcast',
)
BETWEEN = ' between slices'


@dataclasses.dataclass(frozen=True)
class Collective:
    """One exchange between devices.

    Attributes:
      kind: one of `KINDS`; between slices of TPUs it is followed by `BETWEEN`.
      bytes: that a device holds of it each time: the larger of what it gives and what it gets. Of
        an all-gather this is the whole, of a reduce-scatter what is summed.
      groups: devices that exchange, by their places in the mesh; of a permute pairs (from, to).
      axes: of the mesh, along which the devices of a group differ; () without a mesh.
      count: how often a run of the program does it.
      op_name: the operation of the traced program that it comes from.
    """

    kind: str
    bytes: int
    groups: tuple[tuple[int, ...], ...]
    axes: tuple[str, ...]
    count: int
    op_name: str


def collectives(text: str, mesh: Mapping[str, int] | None = None) -> list[Collective]:
    """All exchanges of a program between two devices or more, in the order of its text.

    Loops count as often as they run; one whose number of turns cannot be told counts once, and of
    the branches of a condition the last. The parts of an asynchronous exchange are one. XLA may
    make a gather or a scatter a ring of permutes, which stays one here; an all-reduce of which each
    device keeps a part is a reduce-scatter, one of parts among zeros an all-gather.

    Args:
      text: of `compiled.as_text()`.
      mesh: size of each of its axes, `mesh.shape`.
    """
    program, found, seen = parse(text), [], set()
    for instruction, frame, count, fused in walk(program):
        if instruction.opcode == 'send':
            found += _between_slices(instruction, count, mesh)
        if instruction.opcode.removesuffix('-start') not in KINDS:
            continue
        channel = re.search(r'channel_id=(\d+)', instruction.rest)
        if fused and channel:  # each part of an asynchronous fusion names it
            if (fused, channel[1]) in seen:
                continue
            seen.add((fused, channel[1]))
        groups = groups_of(instruction)
        if all(len(set(group)) == 1 for group in groups):
            continue
        axes = axes_of(groups, tuple(mesh.items())) if mesh else ()
        found += [
            Collective(kind, size, groups, axes, count, instruction.op_name)
            for kind, size in _parts(instruction, frame.computation)
        ]
    return found


def by_kind_and_axis(found: list[Collective]) -> dict[str, dict[str, int]]:
    """Bytes a run, by kind and by the axes as 'data+fsdp'; the largest first."""
    totals: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for one in found:
        totals[one.kind]['+'.join(one.axes) or 'all'] += one.bytes * one.count
    order = sorted(totals, key=lambda kind: -sum(totals[kind].values()))
    return {kind: dict(totals[kind].most_common()) for kind in order}


def walk(program: Program) -> Iterator[tuple[Instruction, Frame, int, str]]:
    """Every instruction that runs, where it stands, how often, and in whose fusion ('' in none)."""

    def inside(frame: Frame, count: int, fused: str):
        for instruction in frame.computation.instructions.values():
            yield instruction, frame, count, fused
            if instruction.opcode == 'while':
                body, turns = enter(program, frame, instruction)
                yield from inside(body, count * (1 if turns is None else turns), fused)
                continue
            fusion = fused or frame.computation.name * (instruction.opcode == 'fusion')
            for name in _called(instruction):
                yield from inside(Frame(program.computations[name]), count, fusion)

    yield from inside(Frame(program.computations[program.entry]), 1, '')


def _called(instruction: Instruction) -> list[str]:
    if instruction.opcode in ('fusion', 'async-start'):
        return [instruction.called('calls')]
    if instruction.opcode == 'call':
        return [instruction.called('to_apply')]
    if instruction.opcode == 'conditional':  # only one of them runs: the last here stands for all
        branches = re.search(r'branch_computations=\{([^}]*)\}', instruction.rest)
        names = branches[1].split(',') if branches else [instruction.called('true_computation')]
        return [name.strip().lstrip('%') for name in names][-1:]
    return []


def _between_slices(send: Instruction, count: int, mesh: Any) -> list[Collective]:
    """What a device sends over the slow network, by the host: slices are joined along `data`."""
    kind = re.search(r'_xla_megascale_transfer_type="(\w+)"', send.rest)
    if kind is None:
        return []
    name = kind[1].lower().replace('_', '-') + BETWEEN
    axes = ('data',) if mesh else ()
    return [Collective(name, send.arrays[0].bytes, (), axes, count, send.op_name)]


def _parts(instruction: Instruction, here: Computation) -> list[tuple[str, int]]:
    """What an instruction is an exchange of: kinds and bytes, those of an all-reduce apart."""
    kind = instruction.opcode.removesuffix('-start')
    if kind != 'all-reduce':
        return [(kind, _moved(instruction, here))]
    sizes = collections.Counter()
    scattered = here.name.startswith('all-reduce-scatter')
    for name, array in zip(instruction.operands, instruction.arrays):
        kind = 'reduce-scatter' if scattered else 'all-reduce'
        sizes['all-gather' if _among_zeros(here, name) else kind] += array.bytes
    return list(sizes.items())


def _among_zeros(here: Computation, name: str) -> bool:
    """Whether an array is a device's part, and zeros where those of others are."""
    made = here.instructions[name]
    if made.opcode != 'dynamic-update-slice':
        return False
    return here.instructions[made.operands[0]].opcode == 'broadcast'


def _moved(instruction: Instruction, here: Computation) -> int:
    given = sum(a.bytes for name in instruction.operands for a in here.instructions[name].arrays)
    got = sum(array.bytes for array in instruction.arrays)
    if instruction.opcode == 'all-gather-start':  # its tuple holds both
        return got - given
    return given if instruction.opcode.endswith('-start') else max(given, got)
