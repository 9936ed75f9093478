"""A server under test: started, found to be ready, weighed and stopped.

Weighing reads ``/proc`` for every process of the server's tree. CPU time is user and
system time of all of them, those that ended and were reaped included; memory is PSS,
which counts a page shared by N processes as one Nth in each. On a system without
``/proc`` the figures are missing (None), and everything else works.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
START_LIMIT = 30.0
"""Seconds a server may take until it answers."""
STOP_LIMIT = 3.0
"""Seconds it may take to stop before it is killed: nothing is measured of it any more."""

_BOOT = re.compile(r"failed to boot: (.+)")
_TELLING = re.compile(r"error\b|critical\b|canter: ", re.IGNORECASE)
_PREFIX = re.compile(r"(\[[^]]*\] ?)+")
"""What servers write before a line: time, process, level."""


class ServerFailed(RuntimeError):
    """The server does not run; the text is one line that says why."""


@dataclass(frozen=True)
class Usage:
    """CPU seconds used so far by a tree of processes."""

    user: float
    system: float

    @property
    def total(self) -> float:
        return self.user + self.system

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.user - other.user, self.system - other.system)


def free_port() -> int:
    """A port of the loopback interface that nobody uses at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def require_free(port: int) -> None:
    """Raises ServerFailed where somebody else listens: it would be taken for the server under test."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError as error:
            raise ServerFailed(f"port {port}: {error.strerror}") from None


def tree(root: int) -> list[int]:
    """`root` and its living descendants."""
    parents: dict[int, list[int]] = {}
    for path in _PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents.setdefault(int(_stat(path)[1]), []).append(int(path.parent.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def _stat(path: Path) -> list[str]:
    """Fields of a stat file from the third (state) on."""
    return path.read_text().rpartition(")")[2].split()


def usage(root: int) -> Usage | None:
    """CPU time of a tree of processes; None where there is no ``/proc`` or no such process."""
    if not (_PROC / str(root)).exists():
        return None
    user = system = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            fields = _stat(_PROC / str(pid) / "stat")
            user += int(fields[11]) + int(fields[13])
            system += int(fields[12]) + int(fields[14])
    return Usage(user / _TICKS, system / _TICKS)


def pss(pid: int) -> int:
    """Octets of memory of one process, its share of shared pages included; 0 where it is not known."""
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (_PROC / str(pid) / "cmdline").read_text().replace("\0", " ").strip()
    return ""


@final
class Server:
    """One server process and its descendants.

    Used as a context manager: entering starts it and waits until `probe` is answered,
    leaving stops the whole tree.
    """

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        *,
        probe: str = "/",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        cpus: set[int] | None = None,
        log: Path,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.command = list(command)
        self.port = port
        self._probe = probe
        self._env = env
        self._cwd = cwd
        self._cpus = cpus
        self._log = log
        self._pass_fds = pass_fds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Server:
        with self._log.open("wb") as log:
            try:
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,
                    pass_fds=self._pass_fds,
                )
            except OSError as error:
                raise ServerFailed(f"{self.command[0]}: {error.strerror}") from None
        if self._cpus is not None:
            os.sched_setaffinity(self._process.pid, self._cpus)
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def usage(self) -> Usage | None:
        return usage(self.pid)

    def memory(self) -> tuple[int, int]:
        """PSS of the largest process below the first (of the first where it is alone), and of all."""
        first, *rest = map(pss, tree(self.pid))
        return max(rest, default=first), first + sum(rest)

    def log_text(self) -> str:
        return self._log.read_text(errors="replace")

    def log_end(self) -> str:
        """The line of the log that tells why it ended."""
        return why(self.log_text())

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_LIMIT
        while time.monotonic() < deadline:
            if not self.alive():
                assert self._process is not None
                raise ServerFailed(f"it ended with {self._process.returncode}: {self.log_end()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                status = get(self.port, self._probe)[0]
                if status >= 500:
                    raise ServerFailed(f"{self._probe} is answered with {status}: {self.log_end()}")
                return
            time.sleep(0.05)
        raise ServerFailed(f"it answered nothing within {START_LIMIT:.0f} s: {self.log_end()}")

    def stop(self) -> None:
        """SIGTERM to the server, then SIGKILL to whatever is left of its tree. No error if it is gone."""
        process = self._process
        if process is None:
            return
        family = tree(process.pid) if _PROC.is_dir() else [process.pid]
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_LIMIT)
        for pid in family:
            if pid != process.pid and _session(pid) != process.pid:
                continue  # ended, and its number is another's by now
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


def why(log: str) -> str:
    """Of what a server wrote, the reason of its end: what failed to boot, the last error, the last line."""
    boot = _BOOT.search(log)
    if boot is not None:
        return boot[1][:300]
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.search(line)] or lines
    return _PREFIX.sub("", telling[-1])[:300] if telling else "it said nothing"


def _session(pid: int) -> int:
    with contextlib.suppress(OSError):
        return os.getsid(pid)
    return -1


def get(port: int, path: str, timeout: float = 10.0) -> tuple[int, bytes]:
    """Status and body of a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
