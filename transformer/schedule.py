"""The schedule of a pipeline, as data: which microbatch each stage works on, and when.

The layers are dealt out in S * V groups of equal size; group g lies on stage g % S, so each of S
stages holds V groups, one for each round. A microbatch goes through the stages V times. With V > 1
this is the circular form of interleaved stages, https://arxiv.org/abs/2104.04473: the groups are
smaller, and so is the time in which stages wait for work.

S stages, A microbatches, V rounds, I iterations: the time of one group on one microbatch.
"""

import dataclasses

import numpy as np

from transformer.errors import ConfigError

IDLE = -1


@dataclasses.dataclass(frozen=True)
class Schedule:
    """What each stage does in each iteration.

    Attributes:
      micro_IS: int32, the microbatch, or `IDLE`.
      round_IS: int32, the round; 0 where idle.
      when_SVA: int32, the iteration in which a stage does a round of a microbatch.
    """

    micro_IS: np.ndarray
    round_IS: np.ndarray
    when_SVA: np.ndarray

    @property
    def bubble(self) -> float:
        """Share of the stages' iterations that are idle: (S - 1) / (V A + S - 1) where A >= S."""
        return float((self.micro_IS == IDLE).mean())


def schedule(stages: int, microbatches: int, rounds: int = 1) -> Schedule:
    """Stage 0 takes the microbatches in turn, then again for the next round; the others follow.

    A round of few microbatches waits until the first of them has been through all stages.
    """
    period = max(microbatches, stages) if rounds > 1 else microbatches
    starts_VA = period * np.arange(rounds)[:, None] + np.arange(microbatches)[None, :]
    when_SVA = np.arange(stages)[:, None, None] + starts_VA[None]
    micro_IS = np.full((int(when_SVA.max()) + 1, stages), IDLE, np.int32)
    round_IS = np.zeros_like(micro_IS)
    stage, turn, micro = np.indices(when_SVA.shape)
    micro_IS[when_SVA, stage] = micro
    round_IS[when_SVA, stage] = turn
    return Schedule(micro_IS, round_IS, when_SVA.astype(np.int32))


def check_layers(repeats: int, shared: bool, stages: int, rounds: int) -> None:
    """Raises a `ConfigError` where layers cannot be dealt out over stages."""
    if stages == 1:
        return
    if shared:
        raise ConfigError('mesh.stage', stages, '1, as all layers share their parameters')
    if repeats % (stages * rounds):
        near = [n for n in range(1, repeats + 1) if repeats % (n * rounds) == 0]
        near = sorted(sorted(near, key=lambda n: abs(n - stages))[:2])
        unit = f'the {repeats} repeats of the pattern of layers'
        unit += f' in config.rounds={rounds}' if rounds > 1 else ''
        such = f'such as {" or ".join(map(str, near))}' if near else 'or fewer rounds'
        raise ConfigError('mesh.stage', stages, f'what divides {unit}, {such}')


def check_use(stages: int, microbatches: int, rounds: int) -> None:
    """Raises a `ConfigError` where so many stages cannot, or need not, train in rounds."""
    if rounds > 1 and stages == 1:
        raise ConfigError('rounds', rounds, '1, as config.mesh.stage comes to 1')
    check_rounds(stages, microbatches, rounds)


def check_rounds(stages: int, microbatches: int, rounds: int) -> None:
    """Raises a `ConfigError` where a stage would wait in the middle of each round."""
    if rounds > 1 and stages > 1 and microbatches < stages:
        accepted = f'at least config.mesh.stage={stages}, as config.rounds={rounds}'
        raise ConfigError('accumulation', microbatches, accepted)
