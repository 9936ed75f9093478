"""A server with two workers under the load that a fault must not disturb.

The load comes from a process of its own, at a rate the smallest machine carries: half new
connections and half kept ones, a tenth of POSTs of 16 KiB, one answer in twenty slow, every
request with an id of its own and a body that is hashed on both sides. Nothing is retried.

The short forms run with all other tests; `make soak` runs the long ones.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from canter.bench.load import finish, plan, start
from canter.bench.plan import Target
from canter.bench.result import Result
from canter.testing import Server, serve
from tests.processes import children as workers
from tests.processes import until

ASGI = "canter.bench.apps:asgi"
WSGI = "canter.bench.apps:wsgi"
CLASSES = ("sync", "gthread", "gevent", "eventlet", "asyncio", "tornado")


def request(path: str) -> bytes:
    return b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode()


def answer(client: socket.socket) -> bytes:
    octets = b""
    while received := client.recv(65536):
        octets += received
    return octets


def told(result: Result) -> Result:
    """The result, also said on the way: what a soak found is read with `make soak ARGS=-s`."""
    print(f"{result.sent} sent, {result.answered} answered, errors {result.errors or 'none'}", flush=True)
    return result


# Requests a second that keep about half of two workers busy: of 16 threads eight with a slow answer,
# of two slots of sync one; of a loop or hub half of what one processor does beside the load.
HALF = {"sync": 350, "gthread": 160, "tornado": 160}
HALF_OF_A_LOOP = 1000


class House:
    """A server and the load on it."""

    def __init__(self, server: Server, worker_class: str, more: Path) -> None:
        self.server = server
        self.worker_class = worker_class
        self.more = more  # more settings: the server reads them at every reload
        self._load: Popen[str] | None = None

    def load(self, seconds: float, rate: float = 60, slow_share: float = 0.05) -> None:
        """Begin to load the server, for so many seconds."""
        # Of 60 requests a second 3 are slow: with 1 s each they would need three slots, and sync has two.
        slow = 50 if self.worker_class == "sync" else 1000
        targets = (
            Target("/echo", method="POST", body=16384, check="echo", weight=0.10 / 0.85),
            Target(f"/echo?ms={slow}", check="echo", weight=slow_share / 0.85),
        )
        connections = 16 if rate <= 60 else 16 + int(rate / 5)  # the slow ones wait on theirs
        given = {"check": "echo", "targets": targets, "duration": seconds, "rate": rate, "fresh": 0.5}
        self._load = start(plan(f"{self.server.url}/echo", connections=connections, **given))

    @property
    def half(self) -> float:
        """The rate at which the server does half of what it can."""
        return HALF.get(self.worker_class, HALF_OF_A_LOOP)

    def result(self) -> Result:
        """Wait for the end of the load."""
        assert self._load is not None
        load, self._load = self._load, None
        return told(finish(load))

    def nothing_lost(self) -> None:
        result = self.result()
        assert result.errors == {}, (result.errors, result.examples)
        assert result.answered == result.sent > 0

    def end_load(self) -> None:
        if self._load is not None:
            self._load.kill()
            self._load.communicate()

    def says(self, pattern: str, count: int = 1) -> None:
        """Wait until the log has said it so often; counted, for one large pattern would be slow."""
        told = re.compile(pattern)
        until(lambda: len(told.findall(self.server.log)) >= count, f"{count} times {pattern}")

    def said(self, pattern: str) -> int:
        """How often the log has said it so far."""
        return len(re.findall(pattern, self.server.log))

    def connect(self) -> socket.socket:
        return socket.create_connection((self.server.host, self.server.port), timeout=60)

    def ask(self, path: str = "/") -> bytes:
        """The whole answer to a request on a connection of its own."""
        with self.connect() as client:
            client.sendall(request(path))
            return answer(client)

    def crowd(self, number: int, path: str) -> list[socket.socket]:
        """Connections, with a request sent on each."""
        clients = [self.connect() for _ in range(number)]
        for client in clients:
            client.sendall(request(path))
        return clients

    def workers(self, number: int = 2) -> set[int]:
        """The workers, once there are so many."""
        return set(until(lambda: len(found := workers(self.server.pid)) == number and found))

    def answers(self, master: int, pattern: str) -> str:
        """What the pattern finds, first, in the lines of one of several masters; waited for."""
        return str(until(lambda: re.findall(rf"\[{master}\] .*{pattern}", self.server.log))[0])


Begin = Callable[..., AbstractContextManager[House]]


@contextmanager
def open_house(worker_class: str, folder: Path, app: str = "", **settings: Any) -> Iterator[House]:
    more = folder / "more.py"
    more.write_text("")
    given = {"workers": 2, "threads": 1 if worker_class == "sync" else 8, "loglevel": "debug", **settings}
    given["config"] = given.get("config", "") + f"\nexec(open({str(more)!r}).read())\n"
    app = app or (ASGI if worker_class == "asyncio" else WSGI)
    with serve(app, worker_class, **given) as server:
        made = House(server, worker_class, more)
        made.says(r"worker \d+ is ready", int(str(given["workers"]).partition("-")[0]))
        try:
            yield made
        finally:
            made.end_load()


@pytest.fixture(params=CLASSES)
def worker_class(request: pytest.FixtureRequest) -> str:
    """Every worker class that is there."""
    name = str(request.param)
    needed = () if name in ("sync", "gthread", "asyncio") else (name,)
    if not all(find_spec(module) for module in (f"canter.workers.{name}", *needed)):
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture
def house(worker_class: str, tmp_path: Path) -> Begin:
    """Start a server of the class at hand: `with house(max_requests=100) as it`."""
    return lambda app="", **settings: open_house(worker_class, tmp_path, app, **settings)
