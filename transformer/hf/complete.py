"""Tensors that files hold under another name, or lack because they can be made."""

from collections.abc import Iterator, Sequence

import numpy as np

from transformer.errors import UserError
from transformer.hf.files import Tensors
from transformer.hf.rules import Piece
from transformer.hf.table import Family


def complete(tensors: Tensors, pieces: Sequence[Piece], family: Family, locate) -> None:
    """Gives `tensors` what `pieces` ask for, by `Family.copies` and `Family.absent`.

    Args:
      locate: from a table's names to those of the files.

    Raises:
      UserError: copies of one tensor that differ.
    """
    shapes = {locate(name): piece.their_shape for piece in pieces for name in piece.names.flat}
    for name, shape in shapes.items():
        bare = next((name.removeprefix(p) for p in family.prefixes if name.startswith(p)), name)
        copies = list(_held(tensors, family, family.copies.get(bare, ())))
        if name in tensors:
            _compare(tensors, name, [copy for copy in copies if copy not in shapes])
        elif copies:
            tensors.alias(name, copies[0])
            _compare(tensors, name, copies[1:])
        elif bare in family.absent:
            tensors.add(name, family.absent[bare](shape))


def _held(tensors: Tensors, family: Family, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        for known in (name, *(prefix + name for prefix in family.prefixes)):
            if known in tensors:
                yield known


def _compare(tensors: Tensors, name: str, copies: Sequence[str]) -> None:
    for copy in copies:
        if not np.array_equal(tensors.read(name), tensors.read(copy)):
            raise UserError(f'tensors {name!r} and {copy!r} differ; accepted: one table of tokens')
