"""What the data would ask of the model, without data: the vocabulary, the classes, one row.

A row's shapes follow from the objective and the config; they are read off what the objective makes
of a record that is made up here.
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

from data import feed, made_up, tokenizers
from data.sources import Corpus
from transformer import initial, workdir
from transformer.data_config import DataConfig
from transformer.errors import UserError
from transformer.experiment import MeshConfig
from transformer.models.imported import ImportedOptions
from transformer.models.table import all_models

VOCAB, CLASSES = 32_768, 10  # where nothing says how many there are
# What stands in for a checkpoint that is still to be given, by the config's family.
STAND_INS = {
    'decoder': ('gpt2', 'small'),
    'encoder': ('bert', 'base'),
    'encoder_decoder': ('t5', 'base'),
    'vision': ('vit', 'b16'),
}


@dataclasses.dataclass(frozen=True)
class Task:
    """What the data ask of the model.

    Attributes:
      vocab: tokens; 0 for images.
      classes: 0 where there are none.
      target: T of an encoder-decoder's targets, or 0.
      row: shape and type of each array of one row.
      sources: names of the sources of a mixture.
      assumed: what was taken for granted, in words.
    """

    vocab: int
    classes: int
    target: int
    row: dict[str, jax.ShapeDtypeStruct]
    sources: tuple[str, ...]
    assumed: tuple[str, ...]

    def batch(self, rows: int, accumulation: int) -> dict[str, jax.ShapeDtypeStruct]:
        """A batch of so many rows, as the feed makes them: arrays [A, B, ...]."""
        lead = (accumulation, rows // accumulation)
        return {
            name: jax.ShapeDtypeStruct((*lead, *x.shape), x.dtype) for name, x in self.row.items()
        }


def task_of(experiment: Any, vocab: int = 0, classes: int = 0) -> Task:
    """The task of an experiment; no data are read, none are downloaded.

    Args:
      vocab, classes: where the config does not say them; 0 means `VOCAB` and `CLASSES`.

    Raises:
      ConfigError, UserError: what the objective refuses; a tokenizer file that is missing.
    """
    objective, assumed = experiment.objective, []
    if objective.RECORDS == 'none':
        row, sources, vocab = made_up.feed(experiment).train.rows.at(0), (), objective.vocab
    else:
        row, sources = made_up_row(experiment)
    if objective.reads_text:
        known = vocab or _vocab(experiment)
        vocab = known or VOCAB
        if not known:
            what = f'config.data.tokenizer={experiment.data.tokenizer!r}'
            assumed.append(f'{vocab:,} tokens, as {what} tells only with the data (--vocab=)')
    if objective.RECORDS not in ('classes', 'tags', 'images'):
        classes = 0
    elif not classes:
        classes = CLASSES
        assumed.append(f'{classes} classes, which only the data tell (--classes=)')
    target = len(row['targets']) if 'decoder_inputs' in row else 0
    shapes = {name: jax.ShapeDtypeStruct(x.shape, x.dtype) for name, x in row.items()}
    return Task(vocab, classes, target, shapes, sources, tuple(assumed))


def made_up_row(experiment: Any) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """A row of a record that is made up, and the names of the sources of a mixture."""
    objective = experiment.objective
    names = tuple(experiment.data.sources)
    records = [_record(experiment)]
    corpus = Corpus('made up', records, records, classes=('0',))
    # Of the mixture only that it is one, and its names: nothing is drawn here.
    mixture = {name: {} for name in names if name}
    data = DataConfig(mixture=mixture, packing=experiment.data.packing, prepared='memory')
    small = {'steps': 1, 'batch_size': 1, 'accumulation': 1, 'rounds': 1, 'mesh': MeshConfig()}
    plain = dataclasses.replace(experiment, data=data, **small)
    bytewise = tokenizers.Bytes(objective.special_tokens)
    made = feed.load(plain, dict.fromkeys(names, corpus), bytewise)
    return made.train.rows.at(0), made.sources


def _record(experiment: Any) -> Any:
    """A record of the objective's kind, longer than a row."""
    text = 'word ' * max(experiment.context, experiment.target_context)
    if experiment.objective.RECORDS == 'images':
        m = experiment.model
        return np.zeros((m.image, m.image, m.channels), np.float32), 0
    said = [{'role': role, 'content': 'word'} for role in ('user', 'assistant')]
    return {
        'text': text,
        'pairs': (text, text),
        'classes': (text, 0),
        'tags': (('word', 'word'), (0, 0)),
        'chat': said,
    }[experiment.objective.RECORDS]


def _vocab(experiment: Any) -> int:
    """Tokens of the experiment's tokenizer; 0 where only the data tell."""
    data, model, names = experiment.data, experiment.model, experiment.objective.special_tokens
    if isinstance(model, ImportedOptions):
        return model.architecture(experiment.objective.HEAD, CLASSES).config.tokens.vocab
    if data.tokenizer == 'init':
        return workdir.read_task(Path(experiment.init))['vocab']
    if data.tokenizer == 'bytes':
        return tokenizers.Bytes(names).vocab_size
    if data.tokenizer in tokenizers.KINDS or data.vocab:
        return data.vocab
    return tokenizers.make(data, {}, names).vocab_size


def adopt(config: ml_collections.ConfigDict, overrides: dict[str, str]) -> tuple[str, ...]:
    """Gives a config the model of its `init`, in place, as training does; what was assumed.

    A checkpoint that the config file leaves to be given has a stand-in of its family.

    Raises:
      UserError: what the command line names is not there.
    """
    start = overrides.get('init', config.get('init', ''))
    if not start:
        return ()
    try:
        initial.adopt(config, start, Path(os.devnull))
    except UserError:
        if 'init' in overrides:
            raise
        name, size = STAND_INS[config.model.family]
        found = next(m for m in all_models() if (m.name, m.size) == (name, size))
        options = dataclasses.asdict(found.options)
        config.model = ml_collections.ConfigDict(options)
        config.init, config.data.tokenizer, config.data.vocab = '', 'bpe', found.sizes.vocab
        return (f'{name} {size} in place of config.init={start!r}, which is to be given',)
    return ()
