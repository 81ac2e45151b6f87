"""A compiled program's text as computations and instructions. No device is needed."""

import dataclasses
import functools
import math
import re

BITS = {'pred': 8, 'token': 0, 'opaque': 0, 's2': 2, 'u2': 2, 's4': 4, 'u4': 4, 'f4e2m1fn': 4}
_ARRAY = re.compile(r'([a-z]\w*)\[([\d,<=]*)\](\{[^}]*\})?')
_INSTRUCTION = re.compile(r'\s+(ROOT )?%?([\w.\-]+) = ')
_HEADER = re.compile(r'(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{\s*$')


@dataclasses.dataclass(frozen=True)
class Array:
    """One array of a shape.

    Attributes:
      text: type and axes.
      bytes: of its elements.
      laid_out: bytes as it lies in memory, filled up to whole tiles.
      space: of the memory: 0 is the main one, 5 the host's; others are on the chip.
    """

    text: str
    bytes: int
    laid_out: int
    space: int


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line: `%name = shape opcode(operands), rest`."""

    name: str
    shape: str
    opcode: str
    operands: tuple[str, ...]
    rest: str
    root: bool
    inside: str  # the operands as written: the number of a constant or a parameter

    @property
    def arrays(self) -> list[Array]:
        return arrays(self.shape)

    @property
    def op_name(self) -> str:
        """Which operation of the traced program it comes from."""
        found = re.search(r'op_name="([^"]*)"', self.rest)
        return found[1] if found else ''

    def called(self, attribute: str) -> str | None:
        """Name of the computation that an attribute such as `body` holds."""
        found = re.search(rf'\b{attribute}=%?([\w.\-]+)', self.rest)
        return found[1] if found else None


@dataclasses.dataclass(frozen=True, eq=False)
class Computation:
    """Instructions by name, in order."""

    name: str
    instructions: dict[str, Instruction]

    @property
    def root(self) -> Instruction:
        return next(i for i in self.instructions.values() if i.root)


@dataclasses.dataclass(frozen=True)
class Program:
    """Computations by name; `entry` is the one that runs."""

    computations: dict[str, Computation]
    entry: str


@functools.lru_cache(maxsize=1 << 14)
def _sizes(dtype: str, dims: str, layout: str) -> Array:
    bits = BITS.get(dtype) if dtype in BITS else 8 * _itemsize(dtype)
    shape = [int(n.lstrip('<=')) for n in dims.split(',') if n]
    space = re.search(r'S\((\d+)\)', layout)
    tile = re.search(r'T\(([\d,]+)\)', layout)
    order = [int(n) for n in re.findall(r'\d+', layout.split(':')[0])]
    whole = list(shape)
    if tile and order:
        for size, axis in zip(reversed(tile[1].split(',')), order):
            whole[axis] = -(-shape[axis] // int(size)) * int(size)
    count, filled = math.prod(shape) * bits // 8, math.prod(whole) * bits // 8
    return Array(f'{dtype}[{dims}]', count, filled, int(space[1]) if space else 0)


def _itemsize(dtype: str) -> int:
    found = re.match(r'[a-z]+(\d+)', dtype)  # f8e4m3fn has 8 bits, bf16 has 16, c64 has 64
    return int(found[1]) // 8 if found else 0


def arrays(shape: str) -> list[Array]:
    """The arrays of a shape, which may be a tuple."""
    return [_sizes(d, dims, layout or '') for d, dims, layout in _ARRAY.findall(shape)]


def parse(text: str) -> Program:
    """The program that `compiled.as_text()` writes."""
    computations, entry, current = {}, '', {}
    for line in text.splitlines():  # what a kernel says of itself may take several lines
        if header := _HEADER.match(line):
            current = {}
            computations[header[2]] = Computation(header[2], current)
            entry = header[2] if header[1] else entry
        elif found := _INSTRUCTION.match(line):
            current[found[2]] = _instruction(found, line[found.end() :])
    return Program(computations, entry)


def _instruction(found: re.Match, line: str) -> Instruction:
    end = _closing(line, 0) + 1 if line.startswith('(') else line.index(' ')
    opening = line.index('(', end)
    closing = _closing(line, opening)
    inside = re.sub(r'/\*.*?\*/', '', line[opening + 1 : closing])
    operands = tuple(re.findall(r'%([\w.\-]+)', inside))
    return Instruction(
        name=found[2],
        shape=line[:end],
        opcode=line[end:opening].strip(),
        operands=operands,
        rest=line[closing + 1 :],
        root=bool(found[1]),
        inside=inside,
    )


def _closing(line: str, opening: int) -> int:
    """Where the parenthesis that opens there closes."""
    depth = 0
    for found in re.finditer(r'[()]', line[opening:]):
        depth += 1 if found[0] == '(' else -1
        if not depth:
            return opening + found.start()
    return len(line)
