"""What takes a device's memory, read from a compiled program's text."""

import dataclasses
import functools

from transformer.preflight.hlo import walk
from transformer.preflight.hlo_loops import enter, unchanged
from transformer.preflight.hlo_text import Computation, Instruction, Program, parse

# What holds no memory of its own, or another's.
_NO_BUFFER = (
    *('parameter', 'get-tuple-element', 'tuple', 'bitcast', 'constant', 'while', 'call'),
    *('conditional', 'copy-done', 'after-all', 'partition-id', 'opt-barrier', 'async-done'),
)


@dataclasses.dataclass(frozen=True)
class Buffer:
    """Memory of one device: `bytes` with the filling of its layout, and what made it."""

    bytes: int
    shape: str
    made_by: str


def largest(text: str, count: int = 5) -> list[Buffer]:
    """The largest buffers in a device's main memory: arguments, and what the program makes.

    What is written over an argument, or over what a loop carries, takes no room of its own.
    """
    program, found = parse(text), []
    aliased = 'input_output_alias' in text.split('\n', 1)[0]
    for instruction, frame, _, fused in walk(program):
        here = frame.computation
        top = here.name == program.entry
        argument = top and instruction.opcode == 'parameter'
        if fused or (instruction.opcode in _NO_BUFFER and not argument):
            continue
        if instruction.name in _carried_on(here) and (aliased or not top):
            continue
        own = instruction.arrays
        if instruction.opcode.endswith('-start'):  # its tuple holds what it is given, too
            for given in (a for n in instruction.operands for a in here.instructions[n].arrays):
                if given in own:
                    own.remove(given)
        made_by = _maker(program, here, instruction)
        made_by = f'argument {made_by}'.replace("\\'", "'") if argument else made_by
        found += [Buffer(a.laid_out, a.text, made_by) for a in own if a.space == 0]
    distinct = dict.fromkeys(sorted(found, key=lambda buffer: -buffer.bytes))
    return list(distinct)[:count]


@functools.lru_cache(maxsize=4)
def _carried_on(computation: Computation) -> frozenset[str]:
    """Instructions whose results a computation returns, directly or as part of a tuple."""
    names = set(computation.root.operands)
    for name in computation.root.operands:
        found = computation.instructions[name]
        if found.opcode in ('get-tuple-element', 'bitcast', 'copy-done'):
            names.update(found.operands)
    return frozenset(names)


def _maker(program: Program, here: Computation, buffer: Instruction) -> str:
    """Which operation made a buffer, or writes into it in a loop, or made what it is a copy of."""
    if buffer.op_name:
        return buffer.op_name
    for loop in here.instructions.values():
        start = here.instructions[loop.operands[0]] if loop.opcode == 'while' else None
        if start is not None and buffer.name in start.operands:
            body = program.computations[loop.called('body')]
            written = body.root.operands[start.operands.index(buffer.name)]
            found = body.instructions[written]
            while found.opcode in ('get-tuple-element', 'bitcast'):
                found = body.instructions[found.operands[0]]
            if found.op_name:
                return found.op_name
    what = buffer.opcode.removesuffix('-start')
    while buffer.operands and not buffer.op_name:
        buffer = here.instructions[buffer.operands[0]]
    return f'{what} of {buffer.op_name}' if buffer.op_name else what


def kept_for_backward(text: str) -> int:
    """Bytes that loops over layers write in the forward pass and carry on: activations, mostly.

    They are the loops of a function that is differentiated (`jvp`, not yet transposed).
    """
    program, total = parse(text), 0
    for instruction, frame, _, _ in walk(program):
        name = instruction.op_name
        forward = 'jvp(' in name and 'transpose(' not in name and name.endswith('/while')
        if instruction.opcode != 'while' or not forward or name.count('/while') > _outer(name):
            continue
        body, _ = enter(program, frame, instruction)
        total += sum(
            array.laid_out
            for array, same in zip(instruction.arrays, unchanged(body))
            if array.space == 0 and not same
        )
    return total


def _outer(name: str) -> int:
    """How many loops an operation of a differentiated loop over layers stands in, itself too."""
    return name.split('jvp(')[0].count('/while') + 1
