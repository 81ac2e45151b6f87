"""All that a run reads: sources -> tokenizer -> integers -> rows. Scripts begin here."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data import feed, made_up, prepared, sources, tokenizers
from data.columns import Examples
from data.sources import Corpus
from transformer import mixing
from transformer.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What an experiment is trained and evaluated on.

    Attributes:
      corpora: records by source; a single source is called ''.
      tokenizer: None for images, and for what is made up.
      feed: rows, by split.
      directory: where the prepared data are; None: in memory.
      examples: encoded records by source and split; None: there are none to encode, as of images.
    """

    corpora: Mapping[str, Corpus]
    tokenizer: Any
    feed: feed.Feed
    directory: Path | None
    examples: Mapping[str, Mapping[str, Examples]] | None = None

    def records(self, split: str) -> list[Any]:
        """All records of a split, one source after the other."""
        found = (getattr(corpus, split) for corpus in self.corpora.values())
        return [record for records in found if records is not None for record in records]


def load(experiment: Any, tokenizer: Any = None, report: Callable[[str], None] = print) -> Loaded:
    """What the experiment asks for, prepared first where nobody has done so.

    Args:
      tokenizer: of a run that has begun; None: the one that the config asks for.
      report: told what takes time.

    Raises:
      ConfigError, UserError: whatever is wrong with sources, tokenizer or prepared data.
    """
    config, objective = experiment.data, experiment.objective
    if objective.RECORDS == 'none':
        made = made_up.feed(experiment)
        return Loaded({'': made_up.corpus(made)}, None, made, None)
    corpora = corpora_of(config, objective)
    if tokenizer is None:
        tokenizer = tokenizer_of(experiment, corpora, report)
    examples = directory = None
    if tokenizer is not None:
        examples = prepared.examples(config, objective, corpora, tokenizer, report=report)
        directory = prepared.root_of(config, objective, corpora, tokenizer)
    made = feed.load(experiment, corpora, tokenizer, examples, directory)
    return Loaded(corpora, tokenizer, made, directory, examples)


def corpora_of(config: Any, objective: Any) -> dict[str, Corpus]:
    """The records of each source; errors name the entry of the mixture."""
    found = {}
    for name, source in config.sources.items():
        try:
            # Lazily: what is prepared already needs no pass over the source.
            own = mixing.of_source(objective, source)
            found[name] = sources.load(source, own, lazy=True)
        except ConfigError as error:
            if not name or not error.field.startswith('data.'):
                raise
            field = error.field.rpartition('.')[-1]
            raise ConfigError(f'data.mixture.{name}.{field}', error.value, error.accepted) from None
    return found


def tokenizer_of(
    experiment: Any,
    corpora: Mapping[str, Corpus],
    report: Callable[[str], None] = print,
    replace: bool = False,
) -> Any:
    """The tokenizer that the config asks for, trained if nobody has done so; None for images.

    Args:
      replace: trains it in any case.
    """
    config, objective = experiment.data, experiment.objective

    def make() -> Any:
        allow = getattr(experiment.model, 'allow', ())
        names = mixing.special_tokens(objective, config.sources)
        return tokenizers.make(config, corpora, names, experiment.init, allow)

    return prepared.tokenizer_of(config, objective, corpora, make, replace=replace, report=report)
