"""A trained or imported model with what it takes to read a text, an image or a row."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformer.errors import UserError
from transformer.inspect import reading
from transformer.inspect.batches import Batch
from transformer.objectives import Objective


@dataclasses.dataclass(frozen=True)
class Case:
    """Something that a model reads.

    Attributes:
      batch: one row, as `model.forward` reads it, with `weights` at the places that are scored and
        `targets` there, where they are given.
      labels: what stands at each place, by stack; memory is the encoder's.
      title: what was read, in a line.
    """

    batch: Batch
    labels: Mapping[str, tuple[str, ...]]
    title: str


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is looked into.

    Attributes:
      tokenizer: None for images and made-up tasks.
      classes: names of the classes or tags, if there are any.
      name: of the run or the checkpoint, with its step.
      experiment: of a run, or None.
    """

    model: Any
    params: Any
    objective: Objective
    tokenizer: Any = None
    classes: tuple[str, ...] = ()
    name: str = ''
    experiment: Any = None

    def read(self, text: str, target: str = '') -> Case:
        """A text as the model reads it.

        Args:
          target: what is to be said: of a decoder, what follows the text; of a masked model, what
            belongs at its [MASK]s; of an encoder-decoder the target, which it needs; of a
            classifier a class. '' means the next tokens of the text, or what the model finds
            likeliest.

        Raises:
          UserError: an empty text, one that is longer than the context, unknown characters or
            classes; a target of another number of tokens than there are places for it.
        """
        return reading.read_text(self, text, target)

    def image(self, path: Path, target: str = '') -> Case:
        """An image out of a file, which has the size that the model reads.

        Args:
          target: a class; '' means the likeliest.
        """
        return reading.read_image(self, path, target)

    def example(self, index: int) -> Case:
        """A row of the validation split of a run, with what is learnt there.

        Raises:
          UserError: no such row; a checkpoint, which has no data.
        """
        return reading.read_example(self, index)

    def piece(self, number: int) -> str:
        """What the head says by a number: the text of a token, or the name of a class."""
        return reading.piece(self, number)


def of_run(directory: Path | str, checkpoint: str = 'best') -> Subject:
    """The model of a work directory.

    Args:
      checkpoint: 'best', 'latest' or a step.

    Raises:
      UserError: no such run or checkpoint, or a damaged one.
    """
    from data import tokenizers
    from transformer import restore, workdir
    from transformer.experiment import Experiment

    directory = Path(directory)
    objective = Experiment.from_config(workdir.read_config(directory)).objective
    tokenizer = None
    if objective.reads_text:
        tokenizer = tokenizers.load(directory / workdir.TOKENIZER)
    run = restore.load(directory, tokenizers.digest(tokenizer), checkpoint)
    name = f'{directory}, step {run.step:,}'
    return Subject(run.model, run.params, objective, tokenizer, run.classes, name, run.experiment)


def of_checkpoint(path: Path | str) -> Subject:
    """The model of a Hugging Face directory, or of a hub id.

    Raises:
      UserError: it cannot be loaded, has no tokenizer, or no head that an objective has.
    """
    from data import tokenizers
    from transformer import hf
    from transformer.hf import runs
    from transformer.objectives import OBJECTIVES

    found = hf.load(path)
    made = found.architecture
    objective, tokenizer = OBJECTIVES[runs.objective_of(made)](), None
    if objective.reads_text:
        if found.tokenizer is None:
            raise UserError(f'{path} has no tokenizer.json')
        tokenizer = tokenizers.Pretrained(found.tokenizer, start=made.start)
    return Subject(found.model, found.params, objective, tokenizer, made.labels, str(path))
