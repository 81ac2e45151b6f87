"""Matrix rate and copy bandwidth by JAX. M rows and columns."""

import time

import jax
import jax.numpy as jnp

from transformer import hardware

WIDTH = {'cpu': 2048, 'gpu': 8192, 'tpu': 8192}  # M
BYTES = {'cpu': 2**28, 'gpu': 2**31, 'tpu': 2**30}  # that are copied
PRECISION = {'float32': 'highest', 'bfloat16': 'default'}


class Side:
    """`about`: the platform, the kind of device, its type of arithmetic, its peak if known."""

    def __init__(self):
        device = jax.devices()[0]
        self._platform = device.platform
        self.about = {
            'platform': device.platform,
            'kind': device.device_kind,
            'dtype': hardware.resolve_dtype('auto'),
            'peak': hardware.peak_flops(),
        }
        self._copy = jax.jit(jnp.copy)

    def matrix(self, dtype: str) -> float:
        """FLOP/s of one product."""
        M = WIDTH[self._platform]
        a_MM = jax.random.normal(jax.random.key(0), (M, M), dtype)
        with jax.default_matmul_precision(PRECISION[dtype]):
            return 2 * M**3 / _seconds(lambda: a_MM @ a_MM)

    def copy(self) -> float:
        """Bytes/s of one copy, read and written."""
        x = jnp.ones(BYTES[self._platform] // 4)
        return 2 * x.nbytes / _seconds(lambda: self._copy(x))


def _seconds(work) -> float:
    """The third time."""
    for _ in range(3):
        begin = time.perf_counter()
        work().block_until_ready()
        seconds = time.perf_counter() - begin
    return seconds
