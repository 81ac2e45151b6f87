"""A connection between two processes: JSON lines, and the kernel's word that the other is there.

A process that dies, however it does, has its connections closed by the kernel: the other side reads
their end within milliseconds. Of a machine that is lost the keep-alive probes tell, after `LOST`
seconds. A process that is merely busy answers them all the same.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

LOST = 25


class Link:
    """Messages, dicts of what JSON knows, over a connected socket."""

    def __init__(self, connected: socket.socket):
        connected.settimeout(None)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        settings = {'TCP_KEEPIDLE': 5, 'TCP_KEEPINTVL': 5, 'TCP_KEEPCNT': (LOST - 5) // 5}
        settings |= {'TCP_USER_TIMEOUT': 1000 * LOST, 'TCP_NODELAY': 1}
        for name, value in settings.items():
            if hasattr(socket, name):  # not all on every system
                connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self._socket, self._sending = connected, threading.Lock()
        self._received = connected.makefile('rb')

    def send(self, message: dict[str, Any]) -> None:
        """Sends; if the other is gone, its end is read, not raised here."""
        line = json.dumps(message).encode() + b'\n'
        with contextlib.suppress(OSError), self._sending:
            self._socket.sendall(line)

    def receive(self, timeout: float | None = None) -> dict[str, Any] | None:
        """The next message; None if the connection has ended, or brings none in time."""
        self._socket.settimeout(timeout)
        try:
            line = self._received.readline()
            self._socket.settimeout(None)
            found = json.loads(line) if line.endswith(b'\n') else None
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def messages(self) -> Iterator[dict[str, Any]]:
        """All that come, until the connection ends."""
        while (message := self.receive()) is not None:
            yield message

    def end(self) -> None:
        """Ends the connection; whoever reads from it, here too, reads its end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends it and gives it back; nobody else may be reading."""
        self.end()
        self._received.close()
        self._socket.close()
