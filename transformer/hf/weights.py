"""Tensors of a checkpoint into parameters, one by one, straight to where they lie; and back."""

import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from transformer import paths
from transformer.errors import UserError
from transformer.hf import architecture as architectures
from transformer.hf import direct, files, table
from transformer.hf.architecture import Architecture
from transformer.hf.complete import complete
from transformer.hf.files import Tensors
from transformer.hf.rules import Piece, Rule, whole
from transformer.hf.settings import Settings
from transformer.models.assemble import Sizes

ALIGNMENT = 64  # bytes
READERS = 2  # threads; each holds at most one tensor
DTYPES = {'F32': 'float32', 'F16': 'float16', 'BF16': 'bfloat16', 'F64': 'float32'}


def common_dtype(tensors: Tensors) -> str:
    """The type of most tensors.

    Raises:
      UserError: one that no parameter has, such as that of a quantised checkpoint.
    """
    counts = Counter(tensors.dtype(name) for name in tensors.names())
    for name in tensors.names():
        kind = tensors.dtype(name)
        if kind not in DTYPES and kind not in ('BOOL', 'I64', 'U8'):
            accepted = ', '.join(DTYPES)
            raise UserError(f'tensor {name!r} has type {kind}; accepted: {accepted}')
    counts = Counter({DTYPES[k]: n for k, n in counts.items() if k in DTYPES})
    if not counts:
        raise UserError('the checkpoint has no tensors of floating-point numbers')
    return counts.most_common(1)[0][0]


def names_in(tensors: Tensors, architecture: Architecture) -> Callable[[str], str]:
    """From a table's names to those of the files: a base model's lack the prefix of the others."""
    family, head = architecture.family, architecture.head
    own = '' if head.base else head.prefix or family.prefix
    starts = tuple(filter(None, dict.fromkeys((own, *family.prefixes))))
    there = next((p for p in starts if any(n.startswith(p) for n in tensors.names())), '')
    if there == own:
        return lambda name: name
    if head.base:
        return lambda name: name if name in tensors else there + name
    return lambda name: there + name.removeprefix(own) if name.startswith(own) else name


def _names(rule: Rule) -> tuple[str, ...]:
    names = rule.theirs if isinstance(rule.theirs, tuple) else (rule.theirs,)
    return (*names, rule.also) if rule.also else names


def check(
    tensors: Tensors, pieces: Sequence[Piece], architecture: Architecture, fresh: bool = False
) -> tuple[list[Piece], list[str]]:
    """The pieces that the files hold, and the tensors of other heads that are passed over.

    Args:
      fresh: whether parameters of the head may be missing, or of another shape: they are not held.

    Raises:
      UserError: tensors that are missing, left over, or of the wrong shape, each named.
    """
    locate = names_in(tensors, architecture)
    complete(tensors, pieces, architecture.family, locate)
    held, missing, wrong, used = [], [], [], set()
    for piece in pieces:
        names = [locate(name) for name in piece.names.reshape(-1)]
        if piece.also and (second := locate(piece.also)) in tensors:
            used.add(second)
            if names[0] not in tensors:
                tensors.alias(names[0], second)
        absent = [name for name in names if name not in tensors]
        there = [name for name in names if name in tensors]
        misfits = [name for name in there if tensors.shape(name) != piece.their_shape]
        used.update(there)
        if fresh and piece.path.startswith('head/') and (absent or misfits):
            continue
        for name in there:
            if (kind := tensors.dtype(name)) not in DTYPES:
                accepted = ', '.join(DTYPES)
                raise UserError(f'tensor {name!r} has type {kind}; accepted: {accepted}')
        missing += absent
        wrong += [f'{n!r} is {tensors.shape(n)}, not {piece.their_shape}' for n in misfits]
        held.append(piece)
    for what, found in (('are missing', missing), ('have the wrong shape', wrong)):
        if found:
            raise UserError(f'{architecture.name}: tensors {what}: {_listed(found)}')
    left = [name for name in tensors.names() if name not in used]
    unused, own, others = _patterns(architecture, {p.path.split('/')[0] for p in pieces})
    left = [name for name in left if not unused.fullmatch(name)]
    over = [name for name in left if own.fullmatch(name) or not others.fullmatch(name)]
    if over:
        raise UserError(f'{architecture.name}: tensors are left over: {_listed(over)}')
    return held, left


def class_of(values: Mapping[str, Any], tensors: Tensors, allow: Iterable[str]) -> str:
    """The class of the family whose tensors are all in the files, and the most; '' for none."""
    fits: dict[str, int] = {}
    for name in table.family_of(values).heads:
        made = architectures.read(values, name, allow=allow)
        model = made.model(Sizes(vocab=0, context=made.longest()))
        try:
            _, left = check(tensors, made.pieces(architectures.shapes(model)), made)
        except UserError:
            continue
        fits[name] = len(left)
    return min(fits, key=fits.get, default='')


def _patterns(
    architecture: Architecture, parts: set[str]
) -> tuple[re.Pattern, re.Pattern, re.Pattern]:
    """Names, with or without the family's prefix, of tensors that hold no parameters, that this
    class has, and that any class of the family has.

    Args:
      parts: what the model has, such as 'embed' and 'stack'; a table may have rules for more.
    """
    family, settings = architecture.family, Settings(architecture.values)

    def any_of(patterns: list[str]) -> re.Pattern:
        prefixes = '|'.join(map(re.escape, family.prefixes))
        return re.compile('|'.join(['$^', *(f'(?:{prefixes})?(?:{p})' for p in patterns)]))

    def of(rules: Sequence[Rule]) -> list[str]:
        names = [name.removeprefix(family.prefix) for rule in rules for name in _names(rule)]
        return [re.sub(r'\\\{\w+\\\}', r'\\d+', re.escape(name)) for name in names]

    every = [rule for head in family.heads.values() for rule in family.rules_of(head, settings)]
    first = lambda rule: rule.ours if isinstance(rule.ours, str) else rule.ours[0]  # noqa: E731
    own = [rule for rule in architecture.rules if first(rule).split('/')[0] in parts]
    return any_of(list(family.unused)), any_of(of(own)), any_of(of(every))


def _listed(found: list[str]) -> str:
    more = f' and {len(found) - 8} more' if len(found) > 8 else ''
    return ', '.join(found[:8]) + more


def load(
    tensors: Tensors,
    pieces: Sequence[Piece],
    architecture: Architecture,
    shardings: Mapping[str, Any],
    dtype: str | None,
) -> dict[str, jax.Array]:
    """Parameters by path. In memory at a time besides: one device's share of one, and two tensors.

    Args:
      pieces: as `check` gives them.
      shardings: of each parameter by path.
      dtype: of all; None means that of each one's tensors.
    """
    locate = names_in(tensors, architecture)
    found: dict[str, jax.Array] = {}
    with ThreadPoolExecutor(READERS) as pool:
        for group in _sharing(pieces):
            layouts = [shardings[piece.path] for piece in group]
            if len(group) > 1 and all(isinstance(x, SingleDeviceSharding) for x in layouts):
                found |= _fused(tensors, locate, dtype, pool, group, layouts)
            else:
                leaf = functools.partial(_leaf, tensors, locate, dtype, pool)
                found |= {p.path: leaf(p, layout) for p, layout in zip(group, layouts)}
    return found


def _sharing(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """The pieces by the tensors that they share."""
    groups: dict[tuple[str, ...], list[Piece]] = {}
    for piece in pieces:
        groups.setdefault(tuple(piece.names.reshape(-1)), []).append(piece)
    return list(groups.values())


def _fused(tensors, locate, dtype, pool, group, layouts) -> dict[str, jax.Array]:
    """Parameters that share their tensors, each of which is read once."""
    names = group[0].names
    first = tensors.dtype(locate(names.reshape(-1)[0]))
    kind = np.dtype(jax.numpy.dtype(dtype or DTYPES[first]))
    outs = [_aligned(piece.shape, kind) for piece in group]

    def read(at: tuple[int, ...]) -> None:
        tensor = tensors.borrow(locate(names[at]))
        for piece, out in zip(group, outs):
            out[at] = piece.take(tensor)

    list(pool.map(read, np.ndindex(names.shape)))
    made = {}
    for piece, out, layout in zip(group, outs, layouts):
        made[piece.path] = jax.make_array_from_callback(piece.shape, layout, lambda i, x=out: x[i])
    return made


def _leaf(tensors: Tensors, locate, dtype: str | None, pool, piece: Piece, sharding) -> jax.Array:
    depth = piece.names.ndim
    first = locate(piece.names.reshape(-1)[0])
    kind = np.dtype(jax.numpy.dtype(dtype or DTYPES[tensors.dtype(first)]))

    def share(index: tuple[slice, ...]) -> np.ndarray:
        names = np.asarray(piece.names[index[:depth]], object)
        shape = (*names.shape, *_length(piece.shape[depth:], index[depth:]))
        out = _aligned(shape, kind)
        whole = piece.as_it_is and shape[names.ndim :] == piece.shape[depth:]

        def read(at: tuple[int, ...]) -> None:
            name = locate(names[at])
            if whole and direct.DTYPES.get(tensors.dtype(name)) == kind:
                tensors.read_into(name, out[at])
            else:
                out[at] = piece.take(tensors.borrow(name))[index[depth:]]

        list(pool.map(read, np.ndindex(names.shape)))
        return out

    return jax.make_array_from_callback(piece.shape, sharding, share)


def _aligned(shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
    """Memory that the CPU backend takes over as it is, where others would copy it."""
    size = int(np.prod(shape)) * kind.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT
    return memory[begin : begin + size].view(kind).reshape(shape)


def _length(shape: tuple[int, ...], index: tuple[slice, ...]) -> tuple[int, ...]:
    return tuple(len(range(*i.indices(n))) for n, i in zip(shape, index))


def save(
    directory: Path,
    params: Any,
    pieces: Sequence[Piece],
    limit: int,
    copies: Mapping[str, Sequence[str]],
) -> None:
    """Writes parameters as the tensors of a checkpoint.

    Args:
      limit: bytes of a file.
      copies: other names under which a tensor is written again.
    """
    leaves = paths.leaves(params)
    parts: dict[str, list[tuple[Piece, tuple[int, ...]]]] = {}
    for piece in pieces:
        for at in np.ndindex(piece.names.shape):
            parts.setdefault(piece.names[at], []).append((piece, at))
        if piece.also:
            parts[piece.also] = [(piece, ())]
    for name, others in copies.items():
        parts |= {other: parts[name] for other in others if name in parts}

    def tensor(name: str) -> np.ndarray:
        found = sorted(parts[name], key=lambda item: item[0].part or 0)
        shares = [np.asarray(leaves[piece.path][at]) for piece, at in found]
        return whole([piece for piece, _ in found], shares)

    def size(name: str) -> int:
        piece = parts[name][0][0]
        return int(np.prod(piece.their_shape)) * leaves[piece.path].dtype.itemsize

    sizes = {name: size(name) for name in sorted(parts)}
    files.write_tensors(directory, sizes, lambda names: {n: tensor(n) for n in names}, limit)


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    """Writes a JSON object as the original does."""
    text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + '\n'
    file.write_text(text, encoding='utf-8')
