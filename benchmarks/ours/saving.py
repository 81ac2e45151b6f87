"""Our side of checkpoints: the Orbax checkpoints of train.py."""

import shutil
import time
from pathlib import Path
from typing import Any

import jax

from benchmarks.ours.setting import Setting, Training
from transformer import restore, summary
from transformer.checkpoint import Checkpoints


class Side:
    """The training state of a model. `about`: bytes of it, and the shapes of its arrays.

    Args:
      model, overrides: as of `training.Side`.
      directory: where checkpoints go.
    """

    def __init__(self, model: str, overrides: dict[str, str], directory: str):
        setting = Setting.of(model, overrides)
        case = setting.case
        built = restore.build_model(setting.experiment, case.vocab, case.classes, case.target)
        training = Training.of(built, setting)
        self._state, self._abstract = training.state, training.abstract
        self._directory = Path(directory) / 'ours'
        leaves = jax.tree.leaves(self._state)
        self.about = {
            'bytes': summary.bytes_per_device(self._state),
            'shapes': [list(x.shape) for x in leaves],
        }

    def save(self) -> dict[str, float]:
        """Seconds until training may go on (`blocking`), and until the checkpoint is whole."""
        shutil.rmtree(self._directory, ignore_errors=True)
        checkpoints = Checkpoints(self._directory)
        jax.block_until_ready(self._state)
        begin = time.perf_counter()
        checkpoints.save(1, self._state, {'step': 1})
        blocking = time.perf_counter() - begin
        checkpoints.wait()
        whole = time.perf_counter() - begin
        checkpoints.close()
        return {'blocking': blocking, 'whole': whole}

    def restore(self) -> dict[str, float]:
        """Seconds until all is on the device, checksums checked."""
        checkpoints = Checkpoints(self._directory, read_only=True)
        begin = time.perf_counter()
        state, _ = checkpoints.restore(self._abstract)
        jax.block_until_ready(state)
        seconds = time.perf_counter() - begin
        checkpoints.close()
        return {'whole': seconds}

    def same(self) -> bool:
        """Whether what is restored is what was saved."""
        checkpoints = Checkpoints(self._directory, read_only=True)
        state, _ = checkpoints.restore(self._abstract)
        checkpoints.close()
        pairs: Any = jax.tree.map(lambda a, b: bool((a == b).all()), state, self._state)
        return all(jax.tree.leaves(pairs))
