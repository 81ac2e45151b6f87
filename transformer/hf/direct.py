"""Tensors of a safetensors file read straight into memory that is there already.

The library hands out a copy of each tensor; into a parameter of many layers it would be copied
again. It opens, and so checks, the file first; here only its bytes are read.
"""

import json
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from transformer.errors import UserError

# safetensors' names of the types that parameters may have.
DTYPES = {
    'F64': np.dtype('float64'),
    'F32': np.dtype('float32'),
    'F16': np.dtype('float16'),
    'BF16': np.dtype(jnp.bfloat16),
}


class DirectFile:
    """One file, https://huggingface.co/docs/safetensors: 8 bytes of length, a JSON header, data.

    Args:
      path: of a file that `safetensors.safe_open` has opened without an error.
    """

    def __init__(self, path: Path):
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        length = int.from_bytes(os.pread(self._descriptor, 8, 0), 'little')
        header = json.loads(os.pread(self._descriptor, length, 8))
        self._begin = 8 + length
        self._spans = {n: tuple(e['data_offsets']) for n, e in header.items() if n[:2] != '__'}

    def read_into(self, name: str, out: np.ndarray) -> None:
        """Fills `out`, contiguous and of the tensor's type and size.

        Raises:
          UserError: the file has become shorter.
        """
        begin, end = self._spans[name]
        memory = memoryview(out.reshape(-1).view(np.uint8))
        if len(memory) != end - begin:
            raise ValueError(f'{name} has {end - begin} bytes, there is room for {len(memory)}')
        while memory:
            count = os.preadv(self._descriptor, [memory], self._begin + end - len(memory))
            if not count:
                raise UserError(f'{self._path} is truncated or corrupt: it ends within {name!r}')
            memory = memory[count:]

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)
