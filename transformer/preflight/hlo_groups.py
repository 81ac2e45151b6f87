"""Which devices exchange with one another, in every form that XLA writes it."""

import functools
import math
import re

import numpy as np

from transformer.preflight.hlo_text import Instruction

Groups = tuple[tuple[int, ...], ...]

_REPLICA_GROUPS = re.compile(
    r'replica_groups=('
    r'mesh\[[^{]*\{[^}]*\}|'  # mesh['x'=2,'y'=4] {'y'}
    r'\[[\d,]+\]<=\[[\d,]+\](?:T\([\d,]+\))?|'  # [2,4]<=[4,2]T(1,0)
    r'\{(?:\{[\d,]*\},?)*\})'  # {{0,1},{2,3}}
)


def groups_of(instruction: Instruction) -> Groups:
    """Devices that exchange, by their places in the mesh; of a permute pairs (from, to)."""
    pairs = re.search(r'source_target_pairs=\{(.*?)\}\}', instruction.rest)
    if pairs:
        return _lists(pairs[1])
    found = _REPLICA_GROUPS.search(instruction.rest)
    return _group_lists(found[1]) if found else ()


def _lists(text: str) -> Groups:
    lists = re.findall(r'\{([\d, ]+)', text)
    return tuple(tuple(int(n) for n in one.split(',')) for one in lists)


@functools.lru_cache(maxsize=1 << 10)
def _group_lists(text: str) -> Groups:
    """Groups as XLA writes them: in full, as a reshaped row of numbers, or by axes of a mesh."""
    if text.startswith('{'):
        return _lists(text)
    if text.startswith('['):
        shape, ids = text.split('<=')
        return tuple(map(tuple, _iota(ids).reshape(_numbers(shape[1:-1])).tolist()))
    named = re.match(r'mesh\[(.*?)\](?:, device_ids=\((.*?)\))?\s*\{(.*?)\}', text)
    axes = re.findall(r"'?([\w.]+)'?=(\d+)", named[1])
    sizes = [int(size) for _, size in axes]
    ids = _iota(named[2] or f'[{math.prod(sizes)}]')
    along = re.findall(r"'([\w.]+)'(?::\((\d+)\)(\d+))?", named[3])
    return _along(ids.reshape(sizes), [name for name, _ in axes], along)


def _iota(text: str) -> np.ndarray:
    """'[2,4]T(1,0)': 0, 1, ... as [2, 4], transposed, in a row."""
    dims, order = re.match(r'\[([\d,]+)\](?:T\(([\d,]+)\))?', text).groups()
    ids = np.arange(math.prod(_numbers(dims))).reshape(_numbers(dims))
    return (ids.transpose(_numbers(order)) if order else ids).reshape(-1)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(','))


def _along(ids: np.ndarray, names: list[str], along) -> Groups:
    """Groups along some axes of an array of devices; 'x':(2)4 is 4 parts of x after 2."""
    shape, chosen = [], []
    for name, size in zip(names, ids.shape):
        parts = [(int(before), int(part)) for n, before, part in along if n == name and part]
        for before, part in parts:
            chosen += [len(shape) + 1]
            shape += [before, part, size // before // part]
        if not parts:
            chosen += [len(shape)] * (name in [n for n, _, _ in along])
            shape.append(size)
    rest = [axis for axis in range(len(shape)) if axis not in chosen]
    grouped = ids.reshape(shape).transpose(rest + chosen)
    group = math.prod(shape[axis] for axis in chosen)
    return tuple(map(tuple, grouped.reshape(-1, group).tolist()))


@functools.lru_cache(maxsize=1 << 10)
def axes_of(groups: Groups, mesh: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    """Axes of the mesh along which the devices of a group differ."""
    shape = tuple(size for _, size in mesh)
    if not groups:  # all devices
        return tuple(name for name, size in mesh if size > 1)
    moved = np.zeros(len(shape), bool)
    for group in groups:
        places = np.stack(np.unravel_index(np.array(group), shape))
        moved |= (places != places[:, :1]).any(axis=1)
    return tuple(name for (name, _), differs in zip(mesh, moved) if differs)
