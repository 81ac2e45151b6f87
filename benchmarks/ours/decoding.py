"""Our side of decoding: what generate.py does with a trained decoder, without the text."""

import time
from pathlib import Path
from typing import Any

import jax

from benchmarks import memory, profiling
from benchmarks.ours import exported
from benchmarks.ours.setting import Setting
from transformer import paths, restore, summary, writer
from transformer.decode import Generator
from transformer.quantize import quantized
from transformer.sampling import Sampling

GREEDY = Sampling(temperature=0.0)


class Side:
    """A decoder with random parameters, made ready to write, on one device.

    They are written to `directory` for the peer. `about`: the number of parameters, bytes of them
    that a step of ours and of the peer reads, the type of the arithmetic.

    Args:
      model, overrides, directory, most: as of `training.Side`.
      quantize: '' or a key of `quantize.KINDS`, for ours alone.
    """

    def __init__(
        self, model: str, overrides: dict[str, str], directory: str, most: float, quantize: str
    ):
        setting = Setting.of(model, overrides)
        self._before = memory.resident()
        experiment, case = setting.experiment, setting.case
        built = restore.build_model(experiment, case.vocab, decode=True)
        params = fresh(built, experiment.seed)
        count = summary.parameter_count(params)
        exported.write(built, params, experiment, case, Path(directory) / 'model', count <= most)
        built, params = writer.ready(built, params)
        peer_bytes = bytes_read(params, built.config.head.tied)
        if quantize:
            built, params = quantized(built, params, quantize)
        self._generator = Generator(built, params, None, GREEDY)
        self.about = {
            'parameters': count,
            'bytes': bytes_read(params, built.config.head.tied),
            'peer_bytes': peer_bytes,
            'dtype': built.config.stack.dtype,
        }

    def run(self, prompts: list[list[int]], new: int) -> dict[str, Any]:
        """So many tokens for each prompt: `seconds`, prompts included, and `tokens`."""
        begin = time.perf_counter()
        tokens = self._generator.generate(prompts, new)
        return {'seconds': time.perf_counter() - begin, 'tokens': tokens}

    def forget(self) -> None:
        """The peak of memory begins anew."""
        memory.forget()

    def peak(self) -> int:
        """As of `training.Side`."""
        stats = jax.devices()[0].memory_stats()
        return stats['peak_bytes_in_use'] if stats else memory.peak() - self._before

    def profile(self, directory: str, prompts: list[list[int]], new: int) -> list[dict[str, Any]]:
        """Traces the same; the most expensive operations, times of one token."""
        with profiling.traced(directory):
            self.run(prompts, new)
        return profiling.top(directory, new)


def fresh(model: Any, seed: int) -> Any:
    """Parameters as training begins with them."""

    def init(key: jax.Array) -> Any:
        return model.init(key, model.example(), method='forward')['params']

    return jax.jit(init)(jax.random.key(seed))


def bytes_read(params: Any, tied: bool) -> int:
    """Bytes of the parameters that a step reads whole: of tables only that of a tied head."""
    tables = ('embed/positions/',) if tied else ('embed/positions/', 'tokens/')
    return sum(x.nbytes for n, x in paths.leaves(params).items() if not n.startswith(tables))
