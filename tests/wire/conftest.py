"""The matrix: every test that asks for `worker` runs once on each worker class.

A new class joins by its name in `WORKERS`, and must then say what all others say. The
asyncio class is three of them: it serves the applications of apps.py as they are, awaited
(asynchronous WSGI), and behind ASGI (bridge.py). Both of these leave out what is marked
`plain`, about what a thread can do; ASGI what is marked `wsgi`, about WSGI itself; the
awaited ones what is marked `early`, about running before the input is complete.
Servers are started when they are first asked for, one for each class and set of
settings, and stopped, gracefully and with the exit code looked at, when the tests
of that class are over.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from canter.testing import Server, serve
from tests.wire.dialogue import Tail

WORKERS = [
    "sync",
    "gthread",
    "gevent",
    "eventlet",
    "asyncio",
    "tornado",
    "asyncio-awaited",
    "asyncio-asgi",
]
APPS = {"asyncio-awaited": "apps:awaited", "asyncio-asgi": "bridge:app"}
LEFT_OUT = {"asyncio-awaited": {"plain", "early"}, "asyncio-asgi": {"plain", "wsgi"}}

HERE = Path(__file__).resolve().parent
# What the classes' own defaults would differ in, and everything that can be logged.
COMMON = {"keepalive": 30, "threads": 4, "loglevel": "debug"}


class Family:
    """The servers of one worker class, and of one kind of application."""

    def __init__(self, worker_class: str, stack: ExitStack) -> None:
        self.worker_class = worker_class
        self._stack = stack
        self._running: dict[str, Server] = {}
        self._tails: dict[int, Tail] = {}
        self.early = worker_class != "asyncio-awaited"  # runs before its input is complete

    def server(self, **settings: Any) -> Server:
        """A server of `apps:app` with these settings, shared by all who ask for the same."""
        key = repr(sorted(settings.items()))
        if key not in self._running:
            server = self._stack.enter_context(self.fresh(**settings))
            self._running[key] = server
            self._tails[server.pid] = self._stack.enter_context(Tail(server))
        return self._running[key]

    def tail(self, server: Server) -> Tail:
        """The log of a shared server."""
        return self._tails[server.pid]

    def fresh(self, app: str = "", **settings: Any) -> Any:
        """A context manager: a server of its own."""
        app = app or APPS.get(self.worker_class, "apps:app")
        return serve(app, **settings_of(self.worker_class, settings))


def settings_of(worker_class: str, settings: dict[str, Any]) -> dict[str, Any]:
    settings = {**COMMON, **settings}
    if worker_class == "sync":
        del settings["threads"]  # sync with several threads would be gthread
    return {"worker_class": worker_class.partition("-")[0], "cwd": HERE, **settings}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what an application of that kind can't be asked."""
    kept, left_out = [], []
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        foreign = LEFT_OUT.get(parameters.get("worker"), set())
        (left_out if foreign & {mark.name for mark in item.iter_markers()} else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.fixture(scope="session", params=WORKERS)
def worker(request: pytest.FixtureRequest) -> Iterator[Family]:
    with ExitStack() as stack:
        yield Family(request.param, stack)


@pytest.fixture
def server(worker: Family) -> Server:
    """The server that most tests share."""
    return worker.server()


@pytest.fixture
def tail(worker: Family, server: Server) -> Tail:
    """What `server` logs from now on."""
    tail = worker.tail(server)
    tail.skip()
    return tail
