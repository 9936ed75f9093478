"""The service manager's side: socket activation and notifications (sd_listen_fds(3), sd_notify(3)).

Everything is told over one datagram socket whose name is in NOTIFY_SOCKET; without
it nothing is told. A datagram that cannot be sent is lost: the manager's trouble
must not become the server's.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping
from typing import Final

FIRST_FD: Final = 3
SECOND: Final = 1_000_000_000


def take_activated(environ: MutableMapping[str, str]) -> list[int]:
    """Descriptors of the sockets that were opened for this process. Taken once: workers see nothing of it."""
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    return list(range(FIRST_FD, FIRST_FD + int(count)))


class Notifier:
    """Tells the service manager how the server is."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self.interval = _watchdog_interval(environ)  # ns between signs of life; 0: none are wanted
        self.due = 0  # when the next sign of life is

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it. The time lets the manager tell it from an older message."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def main_pid(self, pid: int) -> None:
        """Another process is the server from now on."""
        self._send(f"MAINPID={pid}")

    def beat(self, now: int) -> None:
        """A sign of life, when one is due."""
        if self.interval and now >= self.due:
            self.due = now + self.interval
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            try:
                sender.sendto(message.encode(), address)
            except OSError:
                pass


def _watchdog_interval(environ: Mapping[str, str]) -> int:
    """A third of the time that the manager waits, so that one late beat is no death."""
    limit, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not limit.isdigit() or (pid and pid != str(os.getpid())):
        return 0
    return int(limit) * 1000 // 3
