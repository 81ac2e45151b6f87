"""PyTorch's side of checkpoints: torch.save and torch.load."""

import time
from pathlib import Path

import torch


class Side:
    """Tensors of random numbers.

    Args:
      shapes: of the tensors.
      directory: where checkpoints go.
      device: 'cpu' or 'cuda'.
    """

    def __init__(self, shapes: list[list[int]], directory: str, device: str):
        self._device = device
        self._tensors = {
            str(i): torch.randn(shape, device=device) for i, shape in enumerate(shapes)
        }
        self._file = Path(directory) / 'peer.pt'
        self.about = {}

    def save(self) -> dict[str, float]:
        """Seconds; training waits for all of it."""
        self._file.unlink(missing_ok=True)
        begin = time.perf_counter()
        torch.save(self._tensors, self._file)
        seconds = time.perf_counter() - begin
        return {'blocking': seconds, 'whole': seconds}

    def restore(self) -> dict[str, float]:
        """Seconds until all is on the device."""
        begin = time.perf_counter()
        found = torch.load(self._file, map_location=self._device, weights_only=True)
        if self._device == 'cuda':
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
        assert len(found) == len(self._tensors)
        return {'whole': seconds}
