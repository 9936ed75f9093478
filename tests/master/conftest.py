"""A real master in a process of its own, with the small workers of `apps/fakes.py`."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from canter.testing import DEADLINE, Server, serve
from tests.processes import children, until

APPS = Path(__file__).with_name("apps")


class Answer(NamedTuple):
    pid: int
    age: int
    text: str


def ask(server: Server) -> Answer:
    """Which worker answers, and what."""
    with socket.create_connection((server.host, server.port), timeout=DEADLINE) as client:
        told = b""
        while received := client.recv(4096):
            told += received
    pid, age, text = told.decode().strip().split(" ", 2)
    return Answer(int(pid), int(age), text)


def workers(server: Server) -> set[int]:
    """Pids of the master's living children."""
    return children(server.pid)


def settled(server: Server, number: int) -> set[int]:
    """The workers, once there are so many and all of them are ready."""

    def found() -> set[int] | None:
        log, pids = server.log, workers(server)
        return pids if len(pids) == number and all(f"worker {pid} is ready" in log for pid in pids) else None

    return set(until(found, f"{number} workers are ready"))


@pytest.fixture
def run() -> Callable[..., AbstractContextManager[Server]]:
    """Start a server with fake workers: `with run("fakes:app", workers=2) as server`."""

    @contextmanager
    def start(app: str = "fakes:app", **settings: Any) -> Iterator[Server]:
        # These workers answer before anything is said, so the kernel must not wait for that.
        here = {"worker_class": "fakes:Fake", "cwd": APPS, "loglevel": "debug", "defer_accept": False}
        given = {**here, **settings}
        with serve(app, **given) as server:
            yield server

    return start
