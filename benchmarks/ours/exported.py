"""A model of ours in the form of a peer's: config.json and, if wanted, its parameters."""

from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from transformer import hf
from transformer.experiment import Experiment
from transformer.hf import files, native, weights


def write(
    model: Any, params: Any, experiment: Experiment, case: Case, directory: Path, whole: bool
) -> None:
    """Into a directory, which is new or empty.

    Args:
      whole: with the parameters; else config.json alone.

    Raises:
      UserError: the model is of no family that has a peer.
    """
    classes = tuple(f'class {i}' for i in range(case.classes))
    made = native.architecture_of(model.config, experiment.objective.HEAD, classes)
    if whole:
        hf.save(hf.Pretrained(model, params, None, made), directory)
        return
    directory.mkdir(exist_ok=True)
    weights.write_json(directory / files.CONFIG, dict(made.values))
