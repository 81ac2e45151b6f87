"""A trace for xprof or TensorBoard, and the operations in it that take the most time.

The trace is that of https://docs.jax.dev/en/latest/profiling.html. An operation is counted without
those that run inside it (a loop's body), so that shares add up; operations of one place in the
model (`op_name` in the compiled programs) are one, whichever the layer.
"""

import collections
import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.extend

TOP = 10


@contextlib.contextmanager
def traced(directory: str) -> Iterator[None]:
    """Writes a trace of what is done inside."""
    with jax.profiler.trace(directory):
        yield


def top(directory: str, steps: int) -> list[dict[str, Any]]:
    """The `TOP` operations of the newest trace below a directory, which this process wrote.

    Args:
      steps: that were traced.

    Returns:
      Dicts of `name`, `kind` (the instruction, such as 'dot' or 'fusion'), `milliseconds` a step,
      `share` of all operations' time, `count` a step.
    """
    file = max(Path(directory).rglob('*.xplane.pb'), key=lambda path: path.stat().st_mtime)
    planes = list(jax.profiler.ProfileData.from_file(str(file)).planes)
    devices = [p for p in planes if p.name.startswith('/device:') and 'CUSTOM' not in p.name]
    names = origins()
    times, counts = collections.Counter(), collections.Counter()
    for plane in devices or [p for p in planes if p.name == '/host:CPU']:
        for line in _lines(plane):
            for (module, operation), nanoseconds in own_times(_events(line)):
                key = names.get((module, operation), ''), _kind(operation)
                times[key] += nanoseconds
                counts[key] += 1
    total = sum(times.values())
    return [
        {
            'name': name,
            'kind': kind,
            'milliseconds': spent / 1e6 / steps,
            'share': spent / total,
            'count': counts[name, kind] / steps,
        }
        for (name, kind), spent in times.most_common(TOP)
    ]


def text(rows: list[dict[str, Any]]) -> str:
    """The operations as lines; times of operations that run side by side add up."""
    lines = [f'{"ms a step":>10} {"share":>6} {"count":>6}  operation']
    for r in rows:
        name = f'{r["kind"]}  {r["name"]}'
        lines.append(f'{r["milliseconds"]:>10.2f} {r["share"]:>6.1%} {r["count"]:>6.0f}  {name}')
    return '\n'.join(lines)


def origins() -> dict[tuple[str, str], str]:
    """(module, instruction) of this process's programs -> where in the model it comes from."""
    found = {}
    for program in jax.extend.backend.get_backend().live_executables():
        for module in program.hlo_modules():
            for instruction, name in op_names(module.to_string()).items():
                found[module.name, instruction] = name
    return found


def op_names(program: str) -> dict[str, str]:
    """Instruction -> where in the model it comes from, of a compiled program's text."""
    found = {}
    for line in program.splitlines():
        instruction = re.match(r'\s*(?:ROOT )?%?([\w.-]+) = ', line)
        origin = re.search(r'op_name="([^"]*)"', line)
        if instruction and origin:
            found[instruction[1]] = _place(origin[1])
    return found


def _place(name: str) -> str:
    """'jit(step)/transpose(jvp(Model.forward))/while/body/mlp/dot' -> 'backward mlp/dot'."""
    parts = name.split('/')
    way = 'backward ' if 'transpose(' in name else 'forward ' if 'jvp(' in name else ''
    idle = r'jit\(.*|.*\(jvp.*|jvp\(.*|while|body|cond|closed_call|checkpoint|rematted.*|\w+\.\w+'
    return way + '/'.join(part for part in parts if not re.fullmatch(idle, part))


def own_times(events: Iterable[tuple[Any, float, float]]) -> Iterator[tuple[Any, float]]:
    """(name, duration less that of the events inside), of (name, start, duration) of one thread."""
    open_events: list[list[Any]] = []  # [name, end, own time]
    for name, start, duration in sorted(events, key=lambda e: (e[1], -e[2])):
        while open_events and open_events[-1][1] <= start:
            done = open_events.pop()
            yield done[0], done[2]
        if open_events:
            open_events[-1][2] -= duration
        open_events.append([name, start + duration, duration])
    yield from ((name, own) for name, _, own in reversed(open_events))


def _lines(plane: Any) -> list[Any]:
    """Of a device that has a line of operations, that one; else all (threads, streams)."""
    lines = list(plane.lines)
    return [line for line in lines if line.name == 'XLA Ops'] or lines


def _events(line: Any) -> Iterator[tuple[tuple[str, str], float, float]]:
    for event in line.events:
        stats = dict(event.stats)
        operation = stats.get('hlo_op')
        if operation is None and line.name == 'XLA Ops':  # TPUs: the whole instruction
            operation = event.name.split(' = ')[0].lstrip('%')
        if operation is not None:
            name = str(stats.get('hlo_module', '')), str(operation)
            yield name, event.start_ns, event.duration_ns


def _kind(operation: str) -> str:
    return re.sub(r'\.\d+(\.clone)*$', '', operation)
