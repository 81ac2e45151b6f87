"""Where records come from: files and data sets. One file a kind of record; `tables` reads files."""

from typing import Any

from data.sources import chat, classes, images, pairs, tags, text
from data.sources.corpus import SPLITS, Corpus
from data.sources.files import read_text
from data.sources.origin import SourceFile
from transformer.data_config import SourceConfig
from transformer.errors import UserError

__all__ = ['Corpus', 'SourceFile', 'load', 'read_text']

LOADERS = {
    'text': text.load,
    'pairs': pairs.load,
    'classes': classes.load,
    'tags': tags.load,
    'images': images.load,
    'chat': chat.load,
}


def load(config: SourceConfig, objective: Any, *, lazy: bool = False) -> Corpus:
    """The corpus that the config names, with the records that the objective needs.

    Args:
      objective: one of `transformer.objectives`.
      lazy: whether to leave for later what takes a pass over the data: to count the records of
        files of lines or the characters of a single document, and to leave out bad records. What
        is wrong there is then said when the records are used.

    Raises:
      UserError: a file that is missing, empty, binary or badly encoded, or whose lines do not hold
        what they should; a data set that TFDS does not know, or that cannot be downloaded now.
    """
    corpus = LOADERS[objective.RECORDS](config, objective)
    if not lazy:
        for split in SPLITS:
            records = getattr(corpus, split)
            if records is not None and not len(records):
                raise UserError(f'{corpus.name}: the {split} split has no records')
    return corpus
