"""From an experiment and a topology to the findings."""

import dataclasses
from collections.abc import Callable
from typing import Any

from transformer import sharding
from transformer.preflight import devices, gpu, program, report, task
from transformer.preflight.kinds import Topology
from transformer.preflight.report import text
from transformer.preflight.search import search

__all__ = ['Check', 'text']


@dataclasses.dataclass(frozen=True)
class Check:
    """Finds out whether an experiment fits.

    Attributes:
      writes: whether the step is one of decoding.
      vocab, classes: where the config does not say them; 0: as `task.task_of` assumes.
      assumed: what was assumed before, in words.
    """

    topology: Topology
    writes: bool = False
    vocab: int = 0
    classes: int = 0
    assumed: tuple[str, ...] = ()

    def __call__(self, experiment: Any) -> dict[str, Any]:
        """The findings: a dict that JSON holds; `report.text` writes it."""
        case = self._case(experiment)
        if not self.topology.compiles:
            return gpu.estimate(case)
        return report.of(case, program.compiled(case))

    def search(self, experiment: Any, say: Callable[[str], None]) -> tuple[dict, list[dict]]:
        """As of `search.search`."""
        mesh = sharding.make_mesh(experiment.mesh, experiment.model.experts, self._devices())
        unit = sharding.row_ways(mesh) * experiment.accumulation
        return search(experiment, unit, self, say)

    def _case(self, experiment: Any) -> program.Case:
        asked = task.task_of(experiment, self.vocab, self.classes)
        asked = dataclasses.replace(asked, assumed=(*self.assumed, *asked.assumed))
        return program.case(experiment, self.topology, asked, self._devices(), self.writes)

    def _devices(self) -> list[Any]:
        found = devices.tpus if self.topology.compiles else devices.stand_ins
        return found(self.topology)
