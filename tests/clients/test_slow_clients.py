"""A thousand slow clients, by slowhttptest: everybody else is served all the same.

`-H` sends heads that never end, `-B` bodies that hardly move, `-X` reads answers a few
octets at a time. The servers have their default settings, so the thousand fill a worker
(`--worker-connections`). The bystander is the load generator: a new connection for each
request at a set rate, and every answer checked. How fast it is answered is looked at in
the long form alone, on every class (`make soak ARGS='tests/clients -s'` shows the figures).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from canter.bench.load import finish, plan, raise_file_limit, start
from canter.bench.result import Result
from canter.testing import Server, serve
from tests.policy import get
from tests.programs import needed
from tests.wire.dialogue import Client, wait_for

SLOW = 1000
LARGE = 300_000
CLASSES = ["sync", "gthread", "gevent", "eventlet", "asyncio", "tornado"]
SHORT = ["gthread", "gevent", "asyncio"]
ATTACKS = {
    "H": ("-H", "/echo"),
    "B": ("-B", "-s", "8192", "/echo"),
    "X": ("-X", "-w", "1", "-y", "256", "-z", "5", f"/download?size={LARGE}"),
}
# On loopback the system would take nearly all of an answer at once, as no network does: large segments.
SMALL_BUFFERS = """
import socket

def post_fork(server, worker):
    for sock in worker.sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
"""


def connections(server: Server) -> int:
    """Established connections of a server."""
    address = f"0100007F:{server.port:04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(row[1] == address and row[3] == "01" for row in rows)


@contextmanager
def attack(server: Server, kind: str, seconds: int) -> Iterator[None]:
    """A thousand slow clients, all of them there when the block begins."""
    with Client(server) as client:
        client.ask(get())  # it serves: slowhttptest -X gets stuck where it is early
    *options, path = ATTACKS[kind]
    often = ["-n", "5"] if kind == "X" else ["-i", "5"]
    command = [needed("slowhttptest"), *options, *often, "-c", SLOW, "-r", SLOW, "-l", seconds, "-p", "60"]
    process = subprocess.Popen(
        [*map(str, command), "-u", f"{server.url}{path}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for(
            lambda: connections(server) >= 0.95 * SLOW or process.poll() is not None, "the slow ones are here"
        )
        yield
        assert process.poll() is None, "the slow ones left before the end"
    finally:
        process.kill()
        said = process.communicate()[0]
        print(re.sub(r"\x1b\[[0-9;]*m", "", said)[-400:])


def visit(worker_class: str, kind: str, seconds: int) -> Result:
    """What a bystander sees, on a server with its defaults."""
    raise_file_limit(2 * SLOW)  # the server and the slow clients inherit it
    app = "canter.bench.apps:asgi" if worker_class == "asyncio" else "canter.bench.apps:wsgi"
    given = {"check": "echo", "rate": 50, "connections": 100, "fresh": 1.0, "timeout": 100}
    with serve(app, worker_class, config=SMALL_BUFFERS) as server, attack(server, kind, 10 * seconds + 60):
        result = finish(start(plan(f"{server.url}/echo", duration=seconds, **given)))
        assert "Traceback" not in server.log
    assert not result.errors, result.examples
    assert result.answered == result.sent > 0
    return result


@pytest.mark.parametrize("kind", ATTACKS)
@pytest.mark.parametrize("worker_class", SHORT)
def test_everybody_else_is_answered(worker_class: str, kind: str) -> None:
    visit(worker_class, kind, seconds=4)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ATTACKS)
@pytest.mark.parametrize("worker_class", CLASSES)
def test_everybody_else_is_answered_soon(worker_class: str, kind: str) -> None:
    latency = visit(worker_class, kind, seconds=20).latency  # heads may take 30 s
    print(f"slow clients: {worker_class} -{kind}", latency.summary())
    assert latency.percentile(99) < 0.5, latency
