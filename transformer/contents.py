"""What a checkpoint says of the arrays in it: shapes, types, and sums of their words."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from transformer import paths, sharding
from transformer.errors import UserError


def describe(tree: Any) -> dict[str, dict]:
    """`shapes`, `types` and `checksums`, each by path."""
    return {'shapes': shapes(tree), 'types': types(tree), 'checksums': checksums(tree)}


def shapes(tree: Any) -> dict[str, list[int]]:
    """The shape of each array by path."""
    return {p: list(x.shape) for p, x in zip(paths.names(tree), jax.tree.leaves(tree))}


def types(tree: Any) -> dict[str, str]:
    """The type of each array's numbers by path."""
    return {p: str(x.dtype) for p, x in zip(paths.names(tree), jax.tree.leaves(tree))}


def check_shapes(tree: Any, meta: dict, items: Sequence[str], where: str) -> None:
    """Raises a `UserError` where the arrays of `items` are others: the model or optimizer is."""
    asked = shapes(tree)
    saved = {path: shape for path, shape in meta['shapes'].items() if path.split('/')[0] in items}
    for path in sorted(asked.keys() | saved.keys()):
        mine, theirs = asked.get(path, 'absent'), saved.get(path, 'absent')
        if mine != theirs:
            raise UserError(_other(where, path, theirs, mine))


def as_saved(tree: Any, meta: dict, where: str) -> Any:
    """`jax.ShapeDtypeStruct`s in the precision that they were saved in.

    Raises:
      UserError: where one holds floats and the other does not.
    """
    saved = meta.get('types', {})  # none in checkpoints of before: saved as asked for

    def one(path: str, x: Any) -> Any:
        theirs = jnp.dtype(saved.get(path, x.dtype))
        if theirs == x.dtype:
            return x
        if not all(jnp.issubdtype(kind, jnp.floating) for kind in (theirs, x.dtype)):
            raise UserError(_other(where, path, theirs, x.dtype))
        return jax.ShapeDtypeStruct(x.shape, theirs, sharding=x.sharding)

    leaves, structure = jax.tree.flatten(tree)
    return structure.unflatten(map(one, paths.names(tree), leaves))


def rounded(found: Any, asked: Any) -> Any:
    """The arrays in the precision that is asked for."""
    if types(found) == types(asked):
        return found
    layout = jax.tree.map(lambda x: x.sharding, asked)

    @jax.jit(out_shardings=layout)
    def cast(tree):
        return jax.tree.map(lambda x, like: x.astype(like.dtype), sharding.on_device(tree), asked)

    return cast(found)


def check_sums(tree: Any, meta: dict) -> None:
    """Raises a `ValueError` where a number is not the one that was saved."""
    for path, value in checksums(tree).items():
        if value != meta['checksums'][path]:
            raise ValueError(f'checksum of {path} is {value}, not {meta["checksums"][path]}')


def sealed(meta: dict) -> dict:
    """`meta` with a digest of itself."""
    return meta | {'seal': _seal(meta)}


def check_seal(meta: dict) -> None:
    """Raises a `ValueError` where `meta` is not what was sealed."""
    if 'seal' in meta and meta['seal'] != _seal(meta):  # not in checkpoints of before
        raise ValueError('it does not say of itself what was written')


def _seal(meta: dict) -> str:
    whole = json.dumps({k: v for k, v in meta.items() if k != 'seal'}, sort_keys=True)
    return hashlib.blake2b(whole.encode(), digest_size=16).hexdigest()


def _other(where: str, path: str, theirs: Any, mine: Any) -> str:
    return (
        f'checkpoint {where} is of another model or optimizer: {path} is {theirs} there and '
        f'{mine} here'
    )


def checksums(tree: Any) -> dict[str, int]:
    """For each array a sum of its words, weighted by place, modulo 2^32.

    Integer sums do not depend on their order, so neither mesh nor hosts change them.
    """
    return dict(zip(paths.names(tree), map(int, jax.device_get(_sums(jax.tree.leaves(tree))))))


@jax.jit
def _sums(leaves: list[jax.Array]) -> list[jax.Array]:
    def one(x: jax.Array) -> jax.Array:
        if x.dtype.itemsize > 4 or x.dtype == bool:
            x = x.astype(jnp.uint32)
        words = jax.lax.bitcast_convert_type(x, f'uint{8 * x.dtype.itemsize}').astype(jnp.uint32)
        place, stride = jnp.zeros(words.shape, jnp.uint32), 1
        for axis in reversed(range(words.ndim)):
            at = jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
            place += at * np.uint32(stride % 2**32)
            stride *= words.shape[axis]
        # Odd weights have inverses modulo 2^32: no change to a single word goes unseen.
        return (words * (2 * place + 1)).sum(dtype=jnp.uint32)

    return [one(x) for x in sharding.on_device(leaves)]
