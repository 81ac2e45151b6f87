"""Ours and a peer, each in a process of its own, in turns.

Both processes stay, each with its own runtime; while one works the other waits for a line on its
standard input, so that each has all cores. The order turns round with every round (ours peer, peer
ours, ...): a machine that becomes slower during a contest does so for both.
"""

import contextlib
import dataclasses
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

from transformer.errors import UserError

INSTALL = 'pip install torch==2.13.0 transformers'
# As `hardware.use_huge_pages` has them for train.py; peers as well. Other systems do not read it.
LARGE_PAGES = {'GLIBC_TUNABLES': 'glibc.malloc.hugetlb=1'}
REST = 0.3  # seconds: the threads of PyTorch's pool look for work for a while before they sleep


def missing_peer() -> str:
    """Why there is no peer, and what to install; '' where there is one."""
    lacks = [name for name in ('torch', 'transformers') if importlib.util.find_spec(name) is None]
    return f'{" and ".join(lacks)} not installed, no peer: {INSTALL}' if lacks else ''


class Side:
    """A process that has made something, and does what it is told.

    Args:
      name: 'ours' or 'peer', for messages.
      module: with a class `Side`, whose methods can be called; its `about` is this one's.
      environment: variables besides this process's.
      args: of that class.

    Raises:
      UserError: the process failed; the message is its last words.
    """

    def __init__(self, name: str, module: str, environment: Mapping[str, str], **args: Any):
        self._name = name
        self._errors = tempfile.TemporaryFile('w+')  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'benchmarks.worker', module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**LARGE_PAGES, **os.environ, **environment},
        )
        try:
            self.about = self._ask({'args': args})
        except BaseException:
            self.close()
            raise

    def __call__(self, call: str, **args: Any) -> Any:
        """What that method of the side gives."""
        return self._ask({'call': call, 'args': args})

    def _ask(self, request: dict) -> Any:
        line = ''
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + '\n')
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            raise UserError(f'{self._name} ended: {self._last_words()}')
        answer = json.loads(line)
        if 'error' in answer:
            raise UserError(f'{self._name}: {answer["error"]}')
        return answer['value']

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        killed = 'killed, for want of memory perhaps' if code == -9 else f'exit code {code}'
        return lines[-1] if lines and code != -9 else killed

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> 'Side':
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


@dataclasses.dataclass(frozen=True)
class Rounds:
    """What each round gave, in their order.

    Attributes:
      ours, peer: numbers; no `peer` where there is none.
    """

    ours: tuple[float, ...]
    peer: tuple[float, ...] = ()

    @property
    def medians(self) -> tuple[float, float | None]:
        """Of ours, of the peer's."""
        return statistics.median(self.ours), statistics.median(self.peer) if self.peer else None

    @property
    def spread(self) -> dict[str, list[float]]:
        """The least and the most of each side, and of the ratio within a round."""
        ratios = [a / b for a, b in zip(self.ours, self.peer)]
        named = {'ours': self.ours, 'peer': self.peer, 'ratio': ratios}
        return {name: [min(found), max(found)] for name, found in named.items() if found}


def alternate(sides: Mapping[str, Callable[[], float]], repeats: int, rest: float = REST) -> Rounds:
    """So many rounds, in each of which every side is called once.

    Args:
      sides: 'ours', and 'peer' where there is one.
      rest: seconds between calls.
    """
    found: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(repeats):
        for name in list(sides)[:: -1 if i % 2 else 1]:
            time.sleep(rest)
            found[name].append(sides[name]())
    return Rounds(**{name: tuple(values) for name, values in found.items()})
