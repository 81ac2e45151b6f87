"""What must be the same in all processes, found out before it does harm."""

import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformer.errors import UserError
from transformer.launch.pod import here

APPEARS = 10.0  # seconds in which a new file is seen on other machines


def check_same(values: Mapping[str, Any]) -> None:
    """Raises a `UserError`, in all processes, where a value is not that of process 0.

    Args:
      values: by what they are called, such as 'config.steps'; what `str` shows is compared.
    """
    pod = here()
    if pod.count == 1:
        return
    shown = {name: str(value) for name, value in values.items()}
    digest = hashlib.blake2b(json.dumps(shown, sort_keys=True).encode()).hexdigest()
    mine = pod.broadcast(digest) == digest
    found = pod.gather(None if mine else shown)  # few bytes where all is well
    if problem := pod.broadcast(_difference(shown, found) if pod.leads else ''):
        raise UserError(problem)


def _difference(shown: dict[str, str], found: list[dict[str, str] | None]) -> str:
    """The first value that a process has otherwise; '' where there is none."""
    for index, other in enumerate(found):
        if not other:
            continue
        for name in sorted(shown.keys() | other.keys()):
            first, second = shown.get(name, 'absent'), other.get(name, 'absent')
            if first != second:
                return (
                    f'{name} is {first} in {here().name(0)} and {second} in {here().name(index)}; '
                    'accepted: the same in all processes'
                )
    return ''


def check_shared(directory: Path) -> None:
    """Raises a `UserError`, in all processes, where they do not see the same directory."""
    pod = here()
    if pod.count == 1:
        return
    token = directory / f'.{pod.broadcast(secrets.token_hex(8))}'
    if pod.leads:
        token.touch()
    pod.meet()
    found = pod.gather(_appears(token))
    if pod.leads:
        token.unlink()
    blind = ', '.join(pod.name(i) for i, sees in enumerate(found or ()) if not sees)
    if blind := pod.broadcast(blind):
        raise UserError(
            f'--workdir={directory}: files of process 0 are not seen by {blind}; accepted: a '
            'directory on storage that all processes share'
        )


def _appears(path: Path) -> bool:
    deadline = time.monotonic() + APPEARS
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
