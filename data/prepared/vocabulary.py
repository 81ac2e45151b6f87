"""The tokenizer of prepared data: trained once, kept with what it was trained on.

Between it and a tokenizer that is trained again there is no difference; this one takes no time.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data import tokenizers
from data.prepared import layout
from data.prepared.lock import locked
from data.prepared.recipe import Recipe, cache_directory, chosen, key, readable, recipe
from transformer.errors import UserError
from transformer.mixing import of_source, special_tokens
from transformer.workdir import write_atomically

TOKENIZER, TOKENIZER_RECIPE = 'tokenizer.json', 'tokenizer.recipe.json'


def tokenizer_of(
    config: Any,
    objective: Any,
    corpora: Mapping[str, Any],
    make: Callable[[], Any],
    *,
    replace: bool = False,
    report: Callable[[str], None] = print,
) -> Any:
    """The tokenizer that was made by this config before; otherwise `make` makes it, and it is kept.

    Args:
      config: `DataConfig`.
      corpora: by the names of `config.sources`.
      replace: it is made anew, and kept when the data are whole (`data.prepared.examples`).

    Raises:
      UserError: `config.prepared` is a directory whose tokenizer was made otherwise.
    """
    if objective.RECORDS == 'images':
        return None
    if config.prepared == 'memory' or config.tokenizer not in tokenizers.KINDS or replace:
        return make()
    made_of = tokenizer_recipe(config, objective, corpora)
    home = home_of(config, made_of)
    found = _saved(home, made_of)
    if found is not None:
        return found
    with locked(home, report):
        found = _saved(home, made_of)  # of the process that had the lock
        if found is not None:
            return found
        made = make()
        if (home / TOKENIZER).exists():
            _refuse_another(home, made)
        keep_tokenizer(home, made, made_of)
        return made


def tokenizer_recipe(config: Any, objective: Any, corpora: Mapping[str, Any]) -> Recipe:
    """What a tokenizer is trained on, and how."""
    sources = [
        recipe(name, source, of_source(objective, source), corpora[name])
        for name, source in config.sources.items()
    ]
    how = {
        'kind of tokenizer': config.tokenizer,
        'size of the vocabulary': config.vocab,
        'lower-casing of the tokenizer': config.lowercase,
        'special tokens': list(special_tokens(objective, config.sources)),
    }
    settings = {k: v for source in sources for k, v in source.settings.items()}
    return Recipe(settings, tuple(f for source in sources for f in source.files), how)


def keep_tokenizer(home: Path, tokenizer: Any, made_of: Recipe | None) -> None:
    """Saves it; with no recipe, nobody takes it for one that a config asks for."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        (home / TOKENIZER_RECIPE).unlink(missing_ok=True)
        write_atomically(home / TOKENIZER, tokenizer.to_json())
    except OSError as error:
        raise layout.unwritable(home / TOKENIZER, error) from None
    if made_of is not None:
        layout.write_json(
            home / TOKENIZER_RECIPE,
            {'digest': tokenizers.digest(tokenizer), 'recipe': made_of.to_json()},
        )


def check_tokenizer(root: Path, tokenizer: Any) -> bool:
    """Whether a directory has this tokenizer; False where it has none.

    Raises:
      UserError: it has another one.
    """
    if not (root / TOKENIZER).exists():
        return False
    _refuse_another(root, tokenizer)
    return True


def home_of(config: Any, made_of: Recipe) -> Path:
    """Where the tokenizer that a config asks for is kept."""
    directory = chosen(config)
    if directory is not None:
        return directory
    name = f'{readable(config)}-{config.tokenizer}-{key(made_of.stats())}'
    return cache_directory().with_name('tokenizers') / name


def _saved(home: Path, made_of: Recipe) -> Any:
    saved = layout.read_json(home / TOKENIZER_RECIPE)
    if saved is None or not (home / TOKENIZER).exists():
        return None
    changes = made_of.changes(saved['recipe'])
    if changes:
        raise UserError(
            f'the tokenizer of {home} was made from something else: {"; ".join(changes)}. '
            f'Accepted: what it was made of; another directory for config.data.prepared; or '
            f'`{layout.AGAIN}`, which makes it and the data anew'
        )
    found = tokenizers.load(home / TOKENIZER)
    if tokenizers.digest(found) != saved['digest']:
        raise layout.damaged(home / TOKENIZER, 'its digest is another')
    return found


def _refuse_another(root: Path, tokenizer: Any) -> None:
    try:
        theirs = tokenizers.digest(tokenizers.load(root / TOKENIZER))
    except (UserError, json.JSONDecodeError) as error:
        raise layout.damaged(root / TOKENIZER, error) from None
    ours = tokenizers.digest(tokenizer)
    if theirs != ours:
        raise UserError(
            f'the data in {root} were prepared with another tokenizer ({theirs[:12]}, not '
            f'{ours[:12]}). Accepted: another directory for config.data.prepared; '
            f'config.data.tokenizer={root / TOKENIZER}; or `{layout.AGAIN}`, which makes the data '
            'anew'
        )
