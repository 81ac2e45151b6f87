"""PyTorch's side of decoding: `generate` of transformers with its cache."""

import time
from typing import Any

import torch

from benchmarks import memory
from benchmarks.peers import models


class Side:
    """The decoder in `directory`. `about`: the number of parameters.

    Args:
      directory: what `ours.exported` wrote.
      dtype: of parameters and arithmetic.
      device: 'cpu' or 'cuda'.
    """

    def __init__(self, directory: str, dtype: str, device: str):
        torch.manual_seed(0)
        self._device = device
        self._before = memory.resident()
        self._model = models.load(directory, device, dtype).eval()
        for name in ('eos_token_id', 'bos_token_id'):  # nothing ends a text
            setattr(self._model.generation_config, name, None)
        self.about = {'parameters': models.count(self._model)}

    def run(self, prompts: list[list[int]], new: int) -> dict[str, Any]:
        """So many tokens for each prompt: `seconds`, prompts included, and `tokens`."""
        begin = time.perf_counter()
        inputs_BP = torch.tensor(prompts, device=self._device)
        out_BT = self._model.generate(
            inputs_BP,
            attention_mask=torch.ones_like(inputs_BP),
            max_new_tokens=new,
            do_sample=False,
            pad_token_id=0,
        )
        tokens = out_BT[:, inputs_BP.shape[1] :].tolist()
        return {'seconds': time.perf_counter() - begin, 'tokens': tokens}

    def gap(self, row: list[int], tokens: list[int]) -> float:
        """By how much the scores of two tokens after a row differ, of the largest score."""
        with torch.no_grad():
            scores_V = self._model(torch.tensor([row], device=self._device)).logits[0, -1].float()
        one, other = scores_V[tokens]
        return float((one - other).abs() / scores_V.abs().max())

    def forget(self) -> None:
        """The peak of memory begins anew."""
        memory.forget()
        if self._device == 'cuda':
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        """As of `training.Side`."""
        if self._device == 'cuda':
            return torch.cuda.max_memory_allocated()
        return memory.peak() - self._before
