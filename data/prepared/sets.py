"""All sources of a config, prepared: what training and `data.prepare` share."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from data import encoders, tokenizers
from data.columns import Examples
from data.prepared import layout, store
from data.prepared.lock import locked
from data.prepared.progress import shown
from data.prepared.recipe import cache_directory, chosen, key, readable, recipe
from data.prepared.vocabulary import check_tokenizer, home_of, keep_tokenizer, tokenizer_recipe
from transformer.errors import UserError
from transformer.mixing import of_source


def root_of(config: Any, objective: Any, corpora: Mapping[str, Any], tokenizer: Any) -> Path | None:
    """Where the prepared data of a config lie; None where they are not kept.

    Below the user's cache directory the name has a key of all that the data are made of, the size
    and the time of each file included: after a change the data are others, at another place.

    Args:
      config: `DataConfig`.
      corpora: by the names of `config.sources`.
    """
    if config.prepared == 'memory' or objective.RECORDS == 'images':
        return None
    directory = chosen(config)
    if directory is not None:
        return directory
    made_of = _recipes(config, objective, corpora, tokenizer)
    name = f'{readable(config)}-{key([r.stats() for r in made_of.values()])}'
    return cache_directory() / name


def _recipes(config: Any, objective: Any, corpora: Mapping[str, Any], tokenizer: Any) -> dict:
    digest = tokenizers.digest(tokenizer)
    found = {}
    for name, source in config.sources.items():
        own = of_source(objective, source)
        encoder = encoders.encoder_of(own, tokenizer)
        found[name] = recipe(name, source, own, corpora[name], encoder, digest)
    return found


def examples(
    config: Any,
    objective: Any,
    corpora: Mapping[str, Any],
    tokenizer: Any,
    *,
    replace: bool = False,
    report: Callable[[str], None] = print,
) -> dict[str, dict[str, Examples]]:
    """The encoded records by source and split: prepared before, prepared now, or in memory.

    Args:
      config: `DataConfig`.
      corpora: by the names of `config.sources`.
      tokenizer: None for images, which are not prepared: the result is empty.
      replace: makes all anew; `tokenizer` is as of `tokenizer_of`.
      report: told what is done; nothing where all is there.

    Raises:
      UserError: the data were prepared from something else, or are damaged; the disk is full;
        records that cannot be encoded.
    """
    if objective.RECORDS == 'images':
        return {}
    root = root_of(config, objective, corpora, tokenizer)
    if root is None:
        return {
            name: _in_memory(
                of_source(objective, source), corpora[name], tokenizer, source.bad_records
            )
            for name, source in config.sources.items()
        }
    made_of = _recipes(config, objective, corpora, tokenizer)
    # What is whole is opened without a lock: the directory may be read-only.
    before = _manifests(root, made_of)
    if replace or not _whole(root, made_of, tokenizer):
        with locked(root, report):
            if replace and before != _manifests(root, made_of):
                # Another process has made them anew while this one waited.
                with contextlib.suppress(UserError):
                    replace = not _whole(root, made_of, tokenizer)
            _prepare(root, config, objective, corpora, tokenizer, made_of, replace, report)
    return {
        name: {split: store.open_split(root, name, split) for split in _splits(corpora[name])}
        for name in config.sources
    }


def _manifests(root: Path, names: Iterable[str]) -> list[int]:
    """When each was written."""
    paths = [layout.source_directory(root, name) / layout.MANIFEST for name in names]
    return [path.stat().st_mtime_ns if path.exists() else 0 for path in paths]


def there(config: Any, objective: Any, corpora: Mapping[str, Any], tokenizer: Any) -> bool:
    """Whether `examples` has nothing to make on disk; arguments and errors as there."""
    root = root_of(config, objective, corpora, tokenizer)
    made_of = {} if root is None else _recipes(config, objective, corpora, tokenizer)
    return root is None or _whole(root, made_of, tokenizer)


def _whole(root: Path, made_of: Mapping[str, Any], tokenizer: Any) -> bool:
    there = [store.check(root, name, one) for name, one in made_of.items()]
    return all(there) and check_tokenizer(root, tokenizer)


def _prepare(root, config, objective, corpora, tokenizer, made_of, replace, report) -> None:
    if not replace and not check_tokenizer(root, tokenizer):
        keep_tokenizer(root, tokenizer, None)
    for name, one in made_of.items():
        corpus, began = corpora[name], time.monotonic()
        source = config.sources[name]
        own, bad = of_source(objective, source), source.bad_records
        make = functools.partial(encoders.encoder_of, own, tokenizer, bad)
        with shown(name, corpus, report) as progress:
            done = store.prepare(
                root,
                name,
                one,
                corpus,
                make,
                replace=replace,
                progress=progress,
            )
        if done:
            where, seconds = layout.source_directory(root, name), time.monotonic() - began
            speed = progress.made / max(seconds, 1e-3)
            report(
                f'prepared {corpus.name}: {progress.made:,} tokens in {seconds:.1f} s, '
                f'{speed:,.0f} tokens/s: {where}'
            )
    if replace:
        trained = config.tokenizer in tokenizers.KINDS
        how = tokenizer_recipe(config, objective, corpora) if trained else None
        keep_tokenizer(root, tokenizer, how)
        if trained:
            keep_tokenizer(home_of(config, how), tokenizer, how)


def _in_memory(objective: Any, corpus: Any, tokenizer: Any, bad: str) -> dict[str, Examples]:
    make = functools.partial(encoders.encoder_of, objective, tokenizer, bad)
    return {split: encoders.in_memory(make(), getattr(corpus, split)) for split in _splits(corpus)}


def _splits(corpus: Any) -> list[str]:
    return [split for split in layout.SPLITS if getattr(corpus, split) is not None]
