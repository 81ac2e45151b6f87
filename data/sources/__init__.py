"""Where records come from: files and TFDS data sets. One file a kind of record."""

from typing import Any

from data.sources import classes, images, pairs, tags, text
from data.sources.corpus import Corpus
from data.sources.files import read_text
from transformer.experiment import DataConfig

__all__ = ['Corpus', 'load', 'read_text']

LOADERS = {
    'text': text.load,
    'pairs': pairs.load,
    'classes': classes.load,
    'tags': tags.load,
    'images': images.load,
}


def load(config: DataConfig, objective: Any) -> Corpus:
    """The corpus that the config names, with the records that the objective needs.

    Args:
      objective: one of `transformer.objectives`.

    Raises:
      UserError: a file that is missing, empty, binary or badly encoded, or whose lines do not hold
        what they should; a data set that TFDS does not know, or that cannot be downloaded now.
    """
    return LOADERS[objective.RECORDS](config, objective)
