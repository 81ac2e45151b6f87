"""PyTorch's side of a training step: AdamW with clipping, bfloat16 by autocast.

B rows, T tokens, V scores.
"""

import contextlib
import math
import time
from typing import Any

import torch

from benchmarks import batches, memory
from benchmarks.peers import models

IGNORED = -100  # a target that does not count
BATCHES = 4  # that the steps go round
KINDS = ('fused', 'foreach')  # of AdamW


class Side:
    """The training step of the model in `directory`; on a GPU compiled by `torch.compile`.

    `about`: the number of parameters, and which kind of AdamW was the faster here.

    Args:
      directory: what `ours.exported` wrote.
      spec: of `batches.make`.
      optimizer: rate, betas, eps, decay, clip (0: none).
      dtype: 'float32', or 'bfloat16' for autocast.
      device: 'cpu' or 'cuda'.
    """

    def __init__(self, directory: str, spec: dict, optimizer: dict, dtype: str, device: str):
        torch.manual_seed(0)
        torch.set_float32_matmul_precision('high')  # of effect on GPUs only
        self._device, self._o = device, optimizer
        self._batches = [self._tensors(b) for b in batches.make(spec, BATCHES)]
        self._before = memory.resident()
        model = models.load(directory, device, 'float32').train()
        model.config.use_cache = False
        self._parameters = list(model.parameters())
        self._model = model
        self._loss = torch.compile(self._of) if device == 'cuda' else self._of
        half = torch.autocast(device, torch.bfloat16)
        self._autocast = half if dtype == 'bfloat16' else contextlib.nullcontext()
        self._done = 0
        kind = self._choose()
        self._adamw = self._make(kind, optimizer['rate'])
        self.about = {'parameters': models.count(model), 'adamw': kind}

    def _tensors(self, batch: dict) -> dict[str, torch.Tensor]:
        """With names of transformers; targets that do not count are `IGNORED`."""
        found = {name: torch.tensor(x, device=self._device) for name, x in batch.items()}
        weights = found.pop('weights')
        found['targets'] = found['targets'].long().masked_fill(weights == 0, IGNORED)
        for ours, theirs in (('inputs', 'input_ids'), ('decoder_inputs', 'decoder_input_ids')):
            if ours in found:
                found[theirs] = found.pop(ours).long()
        if 'images' in found:
            found['pixel_values'] = found.pop('images').permute(0, 3, 1, 2).contiguous()
        return found

    def _make(self, kind: str, rate: float) -> torch.optim.Optimizer:
        """AdamW that decays matrices only, as ours does."""
        o = self._o
        groups = [
            {'params': [x for x in self._parameters if x.ndim > 1], 'weight_decay': o['decay']},
            {'params': [x for x in self._parameters if x.ndim < 2], 'weight_decay': 0.0},
        ]
        how = {'betas': tuple(o['betas']), 'eps': o['eps'], kind: True}
        return torch.optim.AdamW(groups, lr=rate, **how)

    def _choose(self) -> str:
        """The faster kind of AdamW, by some updates at rate 0, which change nothing."""
        self._backward(self._batches[0])
        seconds = dict.fromkeys(KINDS, math.inf)
        for kind in KINDS:
            adamw = self._make(kind, 0.0)
            for _ in range(4):  # the first makes the moments
                begin = self._now()
                adamw.step()
                seconds[kind] = min(seconds[kind], self._now() - begin)
        for x in self._parameters:
            x.grad = None
        return min(KINDS, key=seconds.get)

    def _backward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with self._autocast:
            loss = self._loss(batch)
        loss.backward()
        return loss.detach()

    def _of(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """The loss of a batch."""
        inputs = {name: x for name, x in batch.items() if name != 'targets'}
        return torch.nn.functional.cross_entropy(
            self._model(**inputs).logits.flatten(0, -2),
            batch['targets'].flatten(),
            ignore_index=IGNORED,
        )

    def _now(self) -> float:
        if self._device == 'cuda':
            torch.cuda.synchronize()
        return time.perf_counter()

    def run(self, steps: int) -> dict[str, Any]:
        """So many more steps: `seconds` for all, `losses` of each."""
        begin, losses = self._now(), []
        for _ in range(steps):
            losses.append(self._backward(self._batches[self._done % BATCHES]))
            if self._o['clip']:
                torch.nn.utils.clip_grad_norm_(self._parameters, self._o['clip'])
            self._adamw.step()
            self._adamw.zero_grad(set_to_none=True)
            self._done += 1
        seconds = self._now() - begin
        return {'seconds': seconds, 'losses': [float(x) for x in losses]}

    def forget(self) -> None:
        """The peak of memory begins anew."""
        memory.forget()
        if self._device == 'cuda':
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        """The most bytes since `forget`, less those before the model; on a GPU, its own."""
        if self._device == 'cuda':
            return torch.cuda.max_memory_allocated()
        return memory.peak() - self._before
