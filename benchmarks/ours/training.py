"""Our side of a training step: what train.py does between its data and its loop.

A microbatches, B rows, T tokens.
"""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import batches, cases, memory, profiling
from benchmarks.ours import exported
from benchmarks.ours.setting import Setting, Training
from transformer import hardware, restore, sharding, step, summary
from transformer.experiment import Experiment

BATCHES = 4  # that the steps go round


class Side:
    """The training step of a model, on one device.

    Its first state is written to `directory` for the peer. `about`: `spec` for `batches.make`, the
    optimizer's numbers, the number of parameters, tokens and FLOPs of a step, the type of the
    arithmetic, temporaries in bytes, whether all tokens are scored, and why losses cannot be
    compared, if so.

    Args:
      model: a key of `cases.CASES`.
      overrides: `--config.FIELD=VALUE`, by field.
      directory: an empty one.
      most: so many parameters are written there besides the config; of more, none.
    """

    def __init__(self, model: str, overrides: dict[str, str], directory: str, most: float):
        setting = Setting.of(model, overrides)
        self._before = memory.resident()
        c, case = setting.experiment, setting.case
        built = restore.build_model(c, case.vocab, case.classes, case.target)
        training = Training.of(built, setting)
        params = training.state.params
        count = summary.parameter_count(params)
        exported.write(built, params, c, case, Path(directory) / 'model', count <= most)
        spec = spec_of(c, built.config, case)
        self._batches = [
            sharding.put_batch(prepared(b, c.accumulation), setting.mesh)
            for b in batches.make(spec, BATCHES)
        ]
        self._step = compiled(built, training, setting, self._batches[0])
        hardware.give_back_memory()
        self._state, self._done = training.state, 0
        analysis = self._step.memory_analysis()
        stacks = summary.stacks(built.config).values()
        self.about = {
            'spec': spec,
            'optimizer': numbers(c),
            'parameters': count,
            'tokens': c.batch_size * sum(length for _, length in stacks),
            'flops': c.batch_size * summary.flops_per_row(params, built.config),
            'dtype': next(iter(stacks))[0].dtype,
            'temporaries': analysis.temp_size_in_bytes if analysis else 0,
            'scores_all': c.objective.HEAD != 'masked',
            'not_comparable': not_comparable(c, count <= most),
        }

    def run(self, steps: int) -> dict[str, Any]:
        """So many more steps: `seconds` for all, `losses` of each."""
        begin = time.perf_counter()
        losses = []
        for _ in range(steps):
            batch = self._batches[self._done % BATCHES]
            self._state, metrics = self._step(self._state, batch)
            losses.append(metrics['loss'])
            self._done += 1
        jax.block_until_ready(self._state)
        seconds = time.perf_counter() - begin
        return {'seconds': seconds, 'losses': [float(x) for x in jax.device_get(losses)]}

    def forget(self) -> None:
        """The peak of memory begins anew."""
        memory.forget()

    def peak(self) -> int:
        """The most bytes since `forget`, less what there was before the model; of a GPU or TPU,
        its own since the start."""
        stats = jax.devices()[0].memory_stats()
        return stats['peak_bytes_in_use'] if stats else memory.peak() - self._before

    def profile(self, directory: str, steps: int) -> list[dict[str, Any]]:
        """Traces so many steps; the most expensive operations, see `profiling.top`."""
        with profiling.traced(directory):
            self.run(steps)
        return profiling.top(directory, steps)


def compiled(model: Any, training: Training, setting: Setting, batch: dict) -> Any:
    """The step of train.py, for these shapes."""
    layout = jax.tree.map(lambda x: x.sharding, training.abstract)
    update = step.train_step_fn(model, training.tx, setting.experiment)
    jitted = step.jit_train_step(update, layout, setting.mesh)
    return jitted.lower(training.abstract, batch).compile()


def numbers(experiment: Experiment) -> dict[str, Any]:
    """Of the optimizer, for the peer's."""
    o = experiment.optimizer
    common = {'rate': experiment.learning_rate, 'betas': [o.b1, o.b2], 'eps': o.eps}
    return common | {'decay': o.weight_decay, 'clip': o.clip}


def not_comparable(experiment: Experiment, weights: bool) -> str:
    """Why the losses of both sides may differ; '' where they may not."""
    if not weights:
        return 'the model is large, and the peer has other random parameters'
    return 'there is dropout' if experiment.model.dropout else ''


def spec_of(experiment: Experiment, config: Any, case: cases.Case) -> dict[str, Any]:
    """What `batches.make` needs to know."""
    kinds = {'decoder': 'next_token', 'encoder': 'masked', 'vision': 'images'}
    shape = experiment.objective.SHAPE
    spec = {'kind': kinds.get(shape, shape), 'batch': experiment.batch_size}
    if shape == 'vision':
        patches = config.patches
        sizes = {'image': patches.image, 'channels': patches.channels}
        return spec | sizes | {'classes': case.classes}
    spec |= {'context': experiment.context, 'vocab': case.vocab}
    return spec | ({'target': experiment.target_context} if shape == 'encoder_decoder' else {})


def prepared(batch: dict[str, np.ndarray], accumulation: int) -> dict[str, np.ndarray]:
    """With the places and segments of rows that are one document each, as [A, B / A, ...]."""
    whole = dict(batch)
    for prefix in ('', 'decoder_'):
        if f'{prefix}inputs' in batch:
            inputs_BT = batch[f'{prefix}inputs']
            places_T = np.arange(inputs_BT.shape[1], dtype=np.int32)
            whole[f'{prefix}positions'] = np.broadcast_to(places_T, inputs_BT.shape)
            whole[f'{prefix}segment_ids'] = np.ones_like(inputs_BT)
    return {name: x.reshape(accumulation, -1, *x.shape[1:]) for name, x in whole.items()}
