"""`config.data`: where examples come from, how text becomes tokens, how tokens become rows."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformer.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """One source of records.

    Attributes:
      dataset: a TFDS data set: ours (`data/builders/`), any of TFDS's, or the folder of one;
        'sklearn_digits'; with `format='hf'` NAME or NAME:CONFIG of the Hugging Face hub. Used where
        there is no `path`.
      path: a file, a folder, an archive or a glob to use instead, here or as fsspec names it
        (`gs://`, `s3://`); several are separated by commas. What it holds depends on the objective
        (`data/sources`). A text file is one document; its end is the validation split.
      format: 'auto' (from the ends of the names), 'text', 'jsonl', 'parquet', 'arrow', 'tfds',
        'hf', or 'classes': a folder or a .zip with one file a class, one text a line, of which text
        is read without the classes, and pairs with the class as the target.
      documents: what a document is in text files: a 'file', a 'line', or a 'paragraph' (what is
        between blank lines).
      directory: where TFDS and Hugging Face keep data sets; '' means their own default.
      train_split: split to train on; of files, the beginning of their names.
      validation_split: split to evaluate on.
      test_split: split that `eval.py --split=test` evaluates on; '' means none.
      validation_fraction: share of what has no validation split that is kept for it: of the
        characters of a single document, of the records of anything else.
      text_field: name of the text among the fields of a record. Left at 'text' it means, for
        transcripts, `messages` or else `conversations`; for tagged words, `tokens` or else `words`.
      label_field: name of the class among them; left at 'label' it means, for tagged words, `tags`
        or else `ner_tags`.
      encoding: of files of lines and of text; binary columns of other files are UTF-8.
      encoding_errors: 'strict' refuses what is not of the encoding; 'replace' puts U+FFFD for each
        bad byte.
      prefix: put before the source text of each pair: it tells a model of several tasks which one
        is asked for, https://arxiv.org/abs/1910.10683.
      bad_records: 'refuse' those that cannot be read (a line that is not JSON, a field that is
        missing, one of several files that is no text), or 'skip' and count them.

    What is set where it would not be read is refused: `data/sources/options.py` says what is.
    """

    dataset: str = 'python_stdlib'
    path: str = ''
    format: str = 'auto'
    documents: str = 'file'
    directory: str = ''
    train_split: str = 'train'
    validation_split: str = 'validation'
    test_split: str = ''
    validation_fraction: float = 0.1
    text_field: str = 'text'
    label_field: str = 'label'
    encoding: str = 'utf-8'
    encoding_errors: str = 'strict'
    prefix: str = ''
    bad_records: str = 'refuse'

    # Where the fields lie, for messages.
    PREFIX = 'data'

    def __post_init__(self):
        known = ('auto', 'text', 'jsonl', 'parquet', 'arrow', 'tfds', 'hf', 'classes')
        self._one_of('format', known)
        self._one_of('documents', ('file', 'line', 'paragraph'))
        self._one_of('encoding_errors', ('strict', 'replace'))
        self._one_of('bad_records', ('refuse', 'skip'))
        self._require('validation_fraction', 0 < self.validation_fraction < 1, 'between 0 and 1')

    def _one_of(self, name: str, known: tuple[str, ...]) -> None:
        self._require(name, getattr(self, name) in known, f'one of {", ".join(known)}')

    def _require(self, name: str, holds: bool, accepted: str) -> None:
        if not holds:
            raise ConfigError(f'{self.PREFIX}.{name}', getattr(self, name), accepted)


@dataclasses.dataclass(frozen=True)
class MixedSource(SourceConfig):
    """An entry of `config.data.mixture`.

    Attributes:
      weight: its share of the rows is this over the sum of all; see `temperature`.
      epochs: passes over it at most, the others then share what is left; 0 means no limit.
      objective: what it is read for, a key of `objectives.OBJECTIVES`, with the defaults of that
        objective; '' means what `config.objective` says.
    """

    PREFIX = 'data.mixture.NAME'

    weight: float = 1.0
    epochs: float = 0.0
    objective: str = ''

    def __post_init__(self):
        super().__post_init__()
        self._require('weight', 0 <= self.weight < math.inf, 'a number of at least 0')
        self._require('epochs', 0 <= self.epochs < math.inf, 'a number of at least 0')


@dataclasses.dataclass(frozen=True)
class DataConfig(SourceConfig):
    """`config.data`.

    Attributes:
      mixture: several sources by name, instead of the one that the fields above describe.
      temperature: T > 0 makes the share of a source its number of rows to the power 1 / T (times
        its weight): 1 is by size, a large one evens them out, https://arxiv.org/abs/1910.10683,
        section 3.5.2. 0: by the weights alone.
      packing: how documents become rows: 'concat' (end to end, cut anywhere), or whole documents
        together, put by 'first_fit' or 'best_fit', https://arxiv.org/abs/2404.10830; only those
        that are longer than a row are cut.
      tokenizer: 'bpe' (byte-level), 'wordpiece', 'unigram', 'characters' or 'bytes', trained on the
        data; 'init': that of what `config.init` names; 'tiktoken:NAME'; or the path of a
        tokenizer.json, of a Hugging Face directory, or of a SentencePiece `.model`.
      vocab: tokens of a tokenizer that is trained; 0 where the vocabulary follows from the text, or
        of a tokenizer that is loaded.
      lowercase: whether a trained WordPiece lower-cases and strips accents.
      prepared: where tokens are kept: 'auto' (below $TRANSFORMER_DATA, or the user's cache
        directory), a directory, or 'memory' (nowhere: tokenised at each start).
      workers: processes that make batches; 0: a thread of the training process.
      prefetch: batches made ahead of the device.
    """

    mixture: Mapping[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    temperature: float = 0.0
    packing: str = 'concat'
    tokenizer: str = 'bpe'
    vocab: int = 4096
    lowercase: bool = False
    prepared: str = 'auto'
    workers: int = 0
    prefetch: int = 8

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, 'mixture', _entries(self.mixture))
        known = 'bpe, wordpiece, unigram, characters, bytes, init, tiktoken:NAME, or a path'
        self._require('tokenizer', _may_be_tokenizer(self.tokenizer), known)
        self._one_of('packing', ('concat', 'first_fit', 'best_fit'))
        self._require('prefetch', self.prefetch > 0, 'a whole number above 0')
        self._require('workers', self.workers >= 0, 'a whole number of at least 0')
        self._require('prepared', bool(self.prepared), "'auto', 'memory' or a directory")
        holds = self.temperature >= 0 and math.isfinite(self.temperature)
        self._require('temperature', holds, 'a number of at least 0')
        if not self.mixture:
            self._require('temperature', not self.temperature, '0, as there is no mixture')
            return
        weights = {name: entry.weight for name, entry in self.mixture.items()}
        if not any(weights.values()):
            accepted = 'weights of which one at least is above 0'
            raise ConfigError('data.mixture', weights, accepted)
        for field in dataclasses.fields(SourceConfig):
            holds = getattr(self, field.name) == field.default
            accepted = f'{field.default!r}: the sources are those of config.data.mixture'
            self._require(field.name, holds, accepted)

    def refuse_unread(self, records: str) -> None:
        """Refuses fields that are set and of no use for what an objective reads.

        Args:
          records: the objective's kind of them.

        Raises:
          ConfigError: the first of these fields, and what it may hold.
        """
        if records == 'none':
            self._refuse_all('as the rows of config.objective.kind are made up')
            return
        unread = {name: (PADDED[name], 'one to a row') for name in PADDED if records in ROW_EACH}
        if records == 'images':
            unread |= {
                name: (values, 'without a tokenizer') for name, values in UNTOKENISED.items()
            }
        for name, (values, how) in unread.items():
            accepted = ' or '.join(map(repr, values))
            accepted = f'{accepted}: {ROW_EACH[records]} are read {how}'
            self._require(name, getattr(self, name) in values, accepted)

    def _refuse_all(self, why: str) -> None:
        """Refuses every field but those that say how batches are made."""
        for field in dataclasses.fields(self):
            if field.name in ('workers', 'prefetch'):
                continue
            usual = {} if field.name == 'mixture' else field.default
            accepted = UNTOKENISED.get(field.name, (usual,))
            said = f'{" or ".join(map(repr, accepted))}, {why}'
            self._require(field.name, getattr(self, field.name) in accepted, said)

    @property
    def sources(self) -> dict[str, SourceConfig]:
        """The sources by name, in the order of their names; without a mixture one named ''."""
        return dict(self.mixture) or {'': self}


def _may_be_tokenizer(name: str) -> bool:
    kinds = ('bpe', 'wordpiece', 'unigram', 'characters', 'bytes', 'init')
    path = '/' in name or '.' in name or Path(name).exists()
    return name in kinds or name.startswith('tiktoken:') or bool(name and path)


# What is read one to a row, and padded; and what then may be set.
ROW_EACH = {'classes': 'texts with a class', 'tags': 'tagged words', 'images': 'images'}
PADDED = {'packing': ('concat',)}
# What may be set where there are no tokens.
UNTOKENISED = {
    'tokenizer': ('bpe', 'init'),  # the latter whenever there is a config.init
    'vocab': (4096, 0),
    'lowercase': (False,),
    'prepared': ('auto', 'memory'),
}


def source(**fields: Any) -> dict[str, Any]:
    """An entry for `config.data.mixture`, all its fields: `source(path='books', weight=2.0)`."""
    return dataclasses.asdict(MixedSource(**fields))


def source_fields(mixture: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """A mixture of which some fields are given, with all of them.

    Raises:
      ConfigError: a field that is not known or holds what it cannot.
    """
    return {name: dataclasses.asdict(entry) for name, entry in _entries(mixture).items()}


def _entries(mixture: Mapping[str, Any]) -> dict[str, MixedSource]:
    """Entries as `MixedSource`, by name; errors name the entry."""
    known, made = {field.name: field.default for field in dataclasses.fields(MixedSource)}, {}
    for name, entry in sorted(mixture.items()):
        if isinstance(entry, MixedSource):
            made[name] = entry
            continue
        where = f'data.mixture.{name}'
        if not name.isidentifier():
            raise ConfigError(where, entry, 'a name of letters, digits and underscores')
        if not isinstance(entry, Mapping):
            raise ConfigError(where, entry, "fields such as {'path': 'books', 'weight': 2.0}")
        for field, value in entry.items():
            if field not in known:
                accepted = f'no such field; known: {", ".join(known)}'
                raise ConfigError(f'{where}.{field}', value, accepted)
            kinds = (int, float) if isinstance(known[field], float) else str
            if not isinstance(value, kinds) or isinstance(value, bool):
                accepted = 'a string' if kinds is str else 'a number'
                raise ConfigError(f'{where}.{field}', value, accepted)
        try:
            made[name] = MixedSource(**entry)
        except ConfigError as error:
            field = error.field.rpartition('.')[-1]
            raise ConfigError(f'{where}.{field}', error.value, error.accepted) from None
    return made
