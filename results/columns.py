"""Records of a run, few enough and short enough to be kept: columns of numbers by split."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

DIGITS = 6
TRAIN = 'train'
Columns = dict[str, dict[str, list]]  # split -> name -> values, with 'step' among the names


def thinned(
    records: Sequence[Mapping[str, Any]], keep: Sequence[str], points: int
) -> list[dict[str, Any]]:
    """All evaluations, and some training records with some of their fields, in order.

    Args:
      keep: fields of training records that stay.
      points: training records that stay, at most: evenly spread, the first and the last included.
    """
    steps = [r['step'] for r in records if r['split'] == TRAIN]
    chosen = {steps[i] for i in _spread(len(steps), points)}
    found = []
    for record in records:
        if record['split'] == TRAIN:
            if record['step'] not in chosen:
                continue
            record = {k: v for k, v in record.items() if k in ('step', 'split', *keep)}
        found.append({name: short(value) for name, value in record.items()})
    return found


def _spread(count: int, most: int) -> list[int]:
    """At most so many of the places 0 to count - 1."""
    if count <= most:
        return list(range(count))
    if most == 1:
        return [count - 1]
    return [i * (count - 1) // (most - 1) for i in range(most)]


def short(value: Any) -> Any:
    """The same with floats of `DIGITS` digits, at any depth; NaN and infinities by name."""
    if isinstance(value, dict):
        return {k: short(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [short(v) for v in value]
    if isinstance(value, float):
        return float(f'{value:.{DIGITS}g}') if math.isfinite(value) else str(value)
    return value


def pack(records: Sequence[Mapping[str, Any]]) -> Columns:
    """Records as columns; null where a record lacks a name that others of its split have."""
    packed: Columns = {}
    for split in dict.fromkeys(r['split'] for r in records):
        rows = [r for r in records if r['split'] == split]
        names = dict.fromkeys(name for row in rows for name in row if name != 'split')
        packed[split] = {name: [row.get(name) for row in rows] for name in names}
    return packed


def unpack(packed: Columns) -> list[dict[str, Any]]:
    """The records again, by step; training before evaluation."""
    records = []
    for split, columns in packed.items():
        for values in zip(*columns.values(), strict=True):
            row = {k: v for k, v in zip(columns, values) if v is not None}
            records.append({'step': row.pop('step'), 'split': split, **row})
    return sorted(records, key=lambda r: (r['step'], r['split'] != TRAIN))
