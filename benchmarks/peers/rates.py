"""Matrix rate and copy bandwidth by PyTorch. M rows and columns."""

import time

import torch

from benchmarks.contest import INSTALL

WIDTH = {'cpu': 2048, 'cuda': 8192}  # M
BYTES = {'cpu': 2**28, 'cuda': 2**31}  # that are copied


class Side:
    """`about`: why PyTorch cannot use the device, '' where it can.

    Args:
      device: 'cpu' or 'cuda'.
    """

    def __init__(self, device: str):
        blind = device == 'cuda' and not torch.cuda.is_available()
        problem = f'PyTorch {torch.__version__} sees no GPU, no peer: {INSTALL} (with CUDA)'
        self.about = {'problem': problem if blind else ''}
        self._device = device

    def matrix(self, dtype: str) -> float:
        """FLOP/s of one product."""
        M = WIDTH[self._device]
        a_MM = torch.randn(M, M, dtype=getattr(torch, dtype), device=self._device)
        return 2 * M**3 / self._seconds(lambda: a_MM @ a_MM)

    def copy(self) -> float:
        """Bytes/s of one copy, read and written."""
        x = torch.ones(BYTES[self._device] // 4, device=self._device)
        y = torch.empty_like(x)
        return 2 * 4 * x.numel() / self._seconds(lambda: y.copy_(x))

    def _seconds(self, work) -> float:
        """The third time."""
        for _ in range(3):
            begin = time.perf_counter()
            work()
            if self._device == 'cuda':
                torch.cuda.synchronize()
            seconds = time.perf_counter() - begin
        return seconds
