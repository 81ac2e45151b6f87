"""What runs were trained with, which their result keeps; and whether their arms still are that."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_collections

from results.paper import Arm, Paper, Run
from results.plan import SEED, arms_of
from transformer import cli, workdir

# What a run learns follows from these; not from where data lie, what is logged, or the machine.
TRAINS = ('accumulation', 'dtype', 'learning_rate', 'optimizer', 'rounds', 'steps')
FLAG = '--config.'


def kept(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The fields that a run is made by, with values as JSON has them, without its seed."""
    made_by = {*workdir.IDENTITY, *TRAINS} - {SEED}
    found = {
        field: value
        for field, value in workdir.flat(config).items()
        if field.split('.')[0] in made_by and not workdir.FREE.fullmatch(field)
    }
    return json.loads(json.dumps(found))


def of(arm: Arm, arms: Sequence[Arm]) -> dict[str, Any]:
    """The same of an arm as it is now.

    Args:
      arms: of the experiment; one of them may be what `arm` starts from.
    """
    return kept(_config(arm, arms))


def _config(arm: Arm, arms: Sequence[Arm]) -> ml_collections.ConfigDict:
    config = cli.load_config(arm.config)
    if arm.start:  # as `initial.adopt` of a run that is not there any more
        (start,) = (other for other in arms if other.name == arm.start)
        config.model = _config(start, arms).model
        config.data.tokenizer = 'init'
    cli.override(config, {field: str(value) for field, value in arm.changes.items()})
    return config


def outdated(paper: Paper, size: str, command: str, runs: Sequence[Run]) -> Iterator[str]:
    """Fields in which the arms are not any more what their runs were trained with, as sentences.

    Args:
      command: that made the result; what it sets is the user's.
    """
    arms = arms_of(paper, size)
    given = [w.removeprefix(FLAG).split('=')[0] for w in shlex.split(command) if FLAG in w]
    for arm in arms:
        now = of(arm, arms)
        for run in runs:
            if run.arm != arm.name:
                continue
            for field in sorted(now.keys() & run.config.keys()):
                asked, had = now[field], run.config[field]
                if asked != had and field not in given:
                    yield (
                        f'{arm.name}, seed {run.seed}, was trained with config.{field}={had!r}; '
                        f'{arm.config} now has {asked!r}'
                    )


def shared(runs: Sequence[Run]) -> dict[str, Any]:
    """The fields that all runs have alike: written once."""
    first, *others = (run.config for run in runs)
    same = lambda field: all(o.get(field, ...) == first[field] for o in others)  # noqa: E731
    return {field: value for field, value in first.items() if same(field)}


def own(config: Mapping[str, Any], alike: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not among those that all runs have alike."""
    return {field: value for field, value in config.items() if field not in alike}
