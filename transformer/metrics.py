"""Where numbers go: `metrics.jsonl`, TensorBoard, Weights & Biases, the terminal."""

import json
import math
import os
from pathlib import Path
from typing import Any

from transformer import launch, workdir
from transformer.errors import UserError
from transformer.experiment import LogConfig


def read(path: Path) -> list[dict]:
    """The records of a `metrics.jsonl`; a line cut short by a crash is left out."""
    records = []
    if path.exists():
        for line in path.read_text(encoding='utf-8').splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                continue
    return records


class Writer:
    """Appends records `{step, split, name: value, ...}`, each step and split once.

    Every process of a run has the records; process 0 writes them.

    Args:
      directory: the work directory.
      config: what to write to besides `metrics.jsonl`.
      after: the step that the run goes on from; later records, of steps that will be done again,
        are taken out.
      settings: the whole config, for Weights & Biases.
    """

    def __init__(self, directory: Path, config: LogConfig, after: int, settings: dict):
        path = directory / workdir.METRICS
        self.records = [r for r in read(path) if r['step'] <= after]
        self._sinks: list[Any] = []
        self._file = self._wandb = None
        if launch.here().leads:
            workdir.write_atomically(path, ''.join(_line(r) for r in self.records))
            self._file = path.open('a', encoding='utf-8')
            self._open_sinks(directory, config, after, settings)

    def _open_sinks(self, directory: Path, config: LogConfig, after: int, settings: dict) -> None:
        if config.tensorboard:
            from tensorboardX import SummaryWriter

            self._sinks.append(
                SummaryWriter(str(directory / 'tensorboard'), purge_step=after + 1).add_scalar
            )
        if config.wandb:
            try:
                import wandb
            except ImportError:
                raise UserError(
                    'config.log.wandb=True needs the package: pip install -e ".[wandb]"'
                ) from None
            self._wandb = wandb.init(
                project=config.wandb_project,
                config=settings,
                dir=str(directory),
                id=directory.absolute().name,
                resume='allow',
            )
            self._sinks.append(lambda name, x, step: self._wandb.log({name: x}, step=step))

    def write(self, step: int, split: str, values: dict[str, float]) -> None:
        """Records the values; NaN and infinities are kept as JSON strings."""
        record = {'step': step, 'split': split, **values}
        self.records.append(record)
        if self._file is not None:
            self._file.write(_line(record))
            self._file.flush()
        for sink in self._sinks:
            for name, value in values.items():
                sink(f'{split}/{name}', value, step)

    def sync(self) -> None:
        """Returns once all records are on the disk; call it before a checkpoint is begun."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def best(self, split: str, name: str) -> tuple[int, float] | None:
        """(step, value) of the lowest finite value so far."""
        found = [
            (r[name], r['step'])
            for r in self.records
            if r['split'] == split and isinstance(r.get(name), float)
        ]
        if not found:
            return None
        value, step = min(found)
        return step, value

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._wandb is not None:
            self._wandb.finish()


def _line(record: dict) -> str:
    safe = {
        k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()
    }
    return json.dumps(safe) + '\n'
