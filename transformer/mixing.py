"""What each source of a mixture is read for: the run's objective, or one of its own."""

from collections.abc import Mapping
from typing import Any

from transformer.objectives import OBJECTIVES, Objective


def of_source(objective: Objective, source: Any) -> Objective:
    """The objective of a source: the run's, or its own with the defaults of that.

    Args:
      objective: of the run.
      source: a `SourceConfig`; entries of a mixture have `objective`, a kind.
    """
    kind = getattr(source, 'objective', '')
    return OBJECTIVES[kind]() if kind not in ('', objective.kind) else objective


def special_tokens(objective: Objective, sources: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of the run's objective and of all that its sources are read for, each once."""
    every = (objective, *(of_source(objective, source) for source in sources.values()))
    return tuple(dict.fromkeys(name for one in every for name in one.special_tokens))


def mix(one: Objective, other: Objective) -> bool:
    """Whether rows of both can be in a batch, and are scored alike."""
    kinds = [(o.SHAPE, o.HEAD, o.kind == 'prefix') for o in (one, other)]
    return kinds[0] == kinds[1]
