"""How often the loops of a compiled program run, told from its text.

JAX's loops over layers and XLA's over the pieces of a product count from a constant to a constant;
both may be carried into the loop from outside.
"""

import dataclasses
import re

from transformer.preflight.hlo_text import Computation, Instruction, Program

SAME = ('copy', 'bitcast', 'convert', 'copy-start', 'copy-done')  # do not change a number


@dataclasses.dataclass(frozen=True)
class Frame:
    """A computation, and what is known of the values that it is given.

    Attributes:
      carried: of each place of the tuple that it is given, the number that stands there always.
    """

    computation: Computation
    carried: tuple[int | None, ...] = ()


def enter(program: Program, frame: Frame, loop: Instruction) -> tuple[Frame, int | None]:
    """The body of a `while` that stands in `frame`, and how often it runs; None: not known."""
    body = program.computations[loop.called('body')]
    condition = program.computations[loop.called('condition')]
    start = frame.computation.instructions[loop.operands[0]]
    if start.opcode != 'tuple' or body.root.opcode != 'tuple':
        return Frame(body), _said(loop)
    first = [constant(frame, name) for name in start.operands]
    same = unchanged(Frame(body))
    inner = Frame(body, tuple(value if kept else None for value, kept in zip(first, same)))
    return inner, _said(loop) or _counted(inner, Frame(condition, inner.carried), first)


def unchanged(body: Frame) -> list[bool]:
    """Of each value that a loop carries, whether its turns hand it on as it is."""
    root = body.computation.root
    return [_moved(Frame(body.computation), name, i) == 0 for i, name in enumerate(root.operands)]


def _said(loop: Instruction) -> int | None:
    known = re.search(r'known_trip_count\D+(\d+)', loop.rest)
    return int(known[1]) if known else None


def _counted(body: Frame, condition: Frame, first: list[int | None]) -> int | None:
    test = condition.computation.root
    if test.opcode != 'compare' or 'direction=LT' not in test.rest:
        return None
    place = _place(condition.computation, test.operands[0])
    last = constant(condition, test.operands[1])
    if place is None or last is None or first[place] is None:
        return None
    step = _moved(body, body.computation.root.operands[place], place)
    return max(0, -(-(last - first[place]) // step)) if step else None


def constant(frame: Frame, name: str) -> int | None:
    """The number that an instruction of the frame always has, if it can be told."""
    found = frame.computation.instructions[name]
    if found.opcode == 'constant':
        return int(found.inside) if re.fullmatch(r'-?\d+', found.inside) else None
    if found.opcode in SAME:
        return constant(frame, found.operands[0])
    if found.opcode == 'get-tuple-element':
        place = _place(frame.computation, name)
        return frame.carried[place] if place is not None and frame.carried else None
    if found.opcode == 'add':
        parts = [constant(frame, operand) for operand in found.operands]
        return None if None in parts else sum(parts)
    return None


def _place(computation: Computation, name: str) -> int | None:
    """Which of the values that a computation is given an instruction is."""
    found = computation.instructions[name]
    while found.opcode in SAME:
        found = computation.instructions[found.operands[0]]
    if found.opcode != 'get-tuple-element':
        return None
    given = computation.instructions[found.operands[0]].opcode == 'parameter'
    return int(re.search(r'index=(\d+)', found.rest)[1]) if given else None


def _moved(body: Frame, name: str, place: int) -> int | None:
    """c where an instruction is the value given at `place` plus c."""
    if _place(body.computation, name) == place:
        return 0
    found = body.computation.instructions[name]
    if found.opcode in SAME:
        return _moved(body, found.operands[0], place)
    if found.opcode != 'add':
        return None
    for one, other in (found.operands, found.operands[::-1]):
        moved, by = _moved(body, one, place), constant(body, other)
        if moved is not None and by is not None:
            return moved + by
    return None
