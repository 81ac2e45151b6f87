"""Heads of encoder-decoders: whether they read the table of tokens is known from the tensors."""

from typing import Any

import numpy as np

TABLES = ('shared.weight', 'encoder.embed_tokens.weight', 'decoder.embed_tokens.weight')
COPIES = {TABLES[0]: TABLES[1:]}
HEAD = 'lm_head.weight'


def own_kernel(tensors: Any) -> bool:
    """Whether the head has a kernel that is not the table of tokens."""
    if HEAD not in tensors:
        return False
    table = next((n for name in TABLES for n in (name, f'model.{name}') if n in tensors), None)
    return table is None or not np.array_equal(tensors.read(table), tensors.read(HEAD))


def settle(values: dict[str, Any], tensors: Any) -> dict[str, Any]:
    """A head with a kernel of its own is not tied, whatever the config.json says."""
    return values | {'tie_word_embeddings': False} if own_kernel(tensors) else values
