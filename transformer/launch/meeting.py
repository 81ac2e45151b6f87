"""All processes of a run meet: each calls process 0, at the coordinator's address.

JAX's own coordination service listens there afterwards. It ends a process that it cannot serve with
a stack trace, so who is missing, and whether the address can be reached, is found out before.
"""

import contextlib
import os
import socket
import sys
import time
from typing import Any

from transformer.errors import UserError
from transformer.launch.environment import Place
from transformer.launch.link import Link

REACH = 45  # seconds in which process 0 must answer
JOIN = 300  # ... in which all must have come
REMIND = 15  # ... after which process 0 says for whom it waits
GREETING = 'transformer'


def hello(place: Place) -> dict[str, Any]:
    """What a process says of itself."""
    return {
        'greeting': GREETING,
        'index': place.index,
        'count': place.count,
        'host': socket.gethostname(),
        'pid': os.getpid(),
    }


def gather(place: Place, join: float = JOIN) -> tuple[dict[int, Link], list[dict]]:
    """Process 0: waits for all others.

    Returns:
      A link to each of them, and what each process, this one first, says of itself.

    Raises:
      UserError: the port is taken, or not all came in time.
    """
    links: dict[int, Link] = {}
    said = {0: hello(place)}
    with _listener(place) as listener:
        deadline, remind = time.monotonic() + join, time.monotonic() + REMIND
        while len(said) < place.count and (now := time.monotonic()) < deadline:
            if now > remind:
                remind = float('inf')
                missing = _missing(place, said)
                print(f'waiting for {missing} at {place.coordinator}', file=sys.stderr, flush=True)
            listener.settimeout(min(1.0, deadline - now))
            with contextlib.suppress(TimeoutError):
                _welcome(place, Link(listener.accept()[0]), links, said)
    if len(said) < place.count:
        problem = (
            f'only {len(said)} of {place.count} processes came to {place.coordinator} within '
            f'{join:.0f} s; missing: {_missing(place, said)}'
        )
        for link in links.values():
            _refuse(link, problem)
        raise UserError(problem)
    peers = [said[index] for index in range(place.count)]
    for link in links.values():
        link.send({'peers': peers})
    return links, peers


def call(place: Place, reach: float = REACH) -> tuple[dict[int, Link], list[dict]]:
    """Any other process: calls process 0 and waits until all have come.

    Raises:
      UserError: process 0 cannot be reached, refuses this process, or gives up waiting.
    """
    deadline, problem = time.monotonic() + reach, 'no answer'
    while time.monotonic() < deadline:
        try:
            left = max(0.1, deadline - time.monotonic())
            link = Link(socket.create_connection(place.address, timeout=min(5, left)))
        except OSError as error:
            problem = error.strerror or str(error)
            time.sleep(0.2)
            continue
        link.send(hello(place))
        answer = link.receive(timeout=5)
        if answer and 'welcome' in answer:
            return {0: link}, _peers(place, link)
        link.close()
        if answer:
            raise UserError(answer.get('refused', f'{place.coordinator} answers {answer}'))
        problem = 'something else answers there'
        time.sleep(0.2)
    raise UserError(
        f'process 0 cannot be reached at {place.coordinator} within {reach:.0f} s ({problem}); '
        'accepted: the address of a machine on which process 0 has been started'
    )


def wait_for_port(place: Place, reach: float = REACH) -> None:
    """Returns once something listens at the coordinator's address."""
    deadline = time.monotonic() + reach
    while time.monotonic() < deadline:
        try:
            socket.create_connection(place.address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.02)


def _listener(place: Place) -> socket.socket:
    port = place.address[1]
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(('', port), family=family, dualstack_ipv6=both, backlog=1024)
    except OSError as error:
        raise UserError(
            f'--coordinator={place.coordinator}: process 0 cannot listen at port {port}: '
            f'{error.strerror}; accepted: a port that is free on its machine'
        ) from None


def _welcome(place: Place, link: Link, links: dict[int, Link], said: dict[int, dict]) -> None:
    """Takes a caller in, or tells it why not; whoever does not belong here is hung up on."""
    found = link.receive(timeout=5)
    if not found or found.get('greeting') != GREETING:
        link.close()
        return
    index = found['index']
    if found['count'] != place.count:
        problem = f'process {index} was told of {found["count"]} processes, process 0 of '
        _refuse(link, problem + f'{place.count}')
    elif index in said:
        other = said[index]
        problem = f'two processes are number {index} of {place.count}: process {found["pid"]} on '
        problem += f'{found["host"]}, and process {other["pid"]} on {other["host"]}'
        _refuse(link, problem)
    else:
        link.send({'welcome': index})
        links[index], said[index] = link, found


def _refuse(link: Link, problem: str) -> None:
    link.send({'refused': problem})
    link.close()


def _missing(place: Place, said: dict[int, dict]) -> str:
    missing = [str(i) for i in range(place.count) if i not in said]
    shown = ', '.join(missing[:8]) + (', ...' if len(missing) > 8 else '')
    return f'process{"es" if len(missing) > 1 else ""} {shown}'


def _peers(place: Place, link: Link) -> list[dict]:
    answer = link.receive() or {}
    if 'peers' in answer:
        return answer['peers']
    link.close()
    early = f'process 0 at {place.coordinator} ended before all processes had come'
    raise UserError(answer.get('refused', early))
