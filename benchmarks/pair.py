"""Ours and the peer of one model, made alike, measured alike."""

import functools
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import contest
from benchmarks.contest import Rounds, Side
from benchmarks.machine import Machine

MIB = 2.0**20
EXPORTED = 2e9  # parameters: of larger models the peer has random ones


class Pair:
    """Both sides of a task, or ours alone where there is no peer. Use it in a `with` block.

    Args:
      task: a module of `benchmarks.ours` and `benchmarks.peers`.
      given: which entries of our `about` the peer's `Side` takes.
      args: of our `Side`.

    Attributes:
      about: what ours says of itself.
      peer: what the peer says of itself, or None.
      sides: the processes, by 'ours' and 'peer'.
    """

    def __init__(self, task: str, here: Machine, given: Sequence[str], **args: Any):
        self.sides: dict[str, Side] = {}
        self.peer: dict[str, Any] | None = None
        try:
            with tempfile.TemporaryDirectory() as directory:
                self._make(task, here, given, {'directory': directory} | args)
        except BaseException:
            self.close()
            raise

    def _make(self, task: str, here: Machine, given: Sequence[str], args: dict[str, Any]) -> None:
        args['most'] = 0 if here.no_peer else EXPORTED
        ours = Side('ours', f'benchmarks.ours.{task}', here.environment, **args)
        self.sides['ours'], self.about = ours, ours.about
        if not here.no_peer:
            passed = {name: ours.about[name] for name in given}
            passed |= {'directory': args['directory'], 'device': here.torch_device}
            self.sides['peer'] = Side('peer', f'benchmarks.peers.{task}', {}, **passed)
            self.peer = self.sides['peer'].about

    def each(self, call: str, **args: Any) -> dict[str, Any]:
        """What that method gives on each side."""
        return {name: side(call, **args) for name, side in self.sides.items()}

    def measure(self, one: Callable[[Side], float], repeats: int) -> tuple[Rounds, Rounds]:
        """Rounds of `one`, and the peak memory of each side during them, in MiB."""
        self.each('forget')
        calls = {name: functools.partial(one, side) for name, side in self.sides.items()}
        rounds = contest.alternate(calls, repeats)
        peaks = {name: (peak / MIB,) for name, peak in self.each('peak').items()}
        return rounds, Rounds(**peaks)

    def close(self) -> None:
        """Ends the processes."""
        for side in self.sides.values():
            side.close()

    def __enter__(self) -> 'Pair':
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()
