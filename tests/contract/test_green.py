"""gevent and eventlet: the application is patched before it is imported, and waits in greenlets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from canter.contract import Client, get
from canter.testing import Server, serve

HERE = Path(__file__).parent
HOOK = "def post_fork(server, worker):\n    import os\n    os.environ['HOOKED'] = worker.__class__.__name__\n"


@pytest.fixture(scope="module", params=["gevent", "eventlet"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serve("green_app:app", request.param, cwd=HERE, config=HOOK, keepalive=5) as server:
        server.kind = request.param
        yield server


def ask(server: Server, path: str) -> str:
    with Client(server) as client:
        found = client.get(path)
        assert found.status == 200
        return found.text


def test_patched_before_the_import(server: Server) -> None:
    assert ask(server, "/patched") == server.kind


def test_hooks_see_the_worker(server: Server) -> None:
    """As psycogreen's users patch their driver in post_fork."""
    assert ask(server, "/hooked") == {"gevent": "GeventWorker", "eventlet": "EventletWorker"}[server.kind]


def test_waiting_requests(server: Server) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(server)) for _ in range(200)]
        for client in clients:
            client.send(get("/gather"))
        assert [client.answer().text for client in clients] == ["True"] * 200


def test_locks_and_sockets(server: Server) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(server)) for _ in range(20)]
        for client in clients:
            client.send(get("/locked") + get("/talk"))
        for client in clients:
            assert [client.answer().text for _ in range(2)] == ["locked", "HELLO"]


def test_context_variables_end_with_their_request(server: Server) -> None:
    with Client(server) as client:
        assert [client.get("/context").text for _ in range(5)] == ["nobody"] * 5


@pytest.mark.parametrize("path", ["/exits", "/late"])
def test_what_ends_a_greenlet_ends_the_request(server: Server, path: str) -> None:
    with Client(server) as client:
        assert client.get(path).status == 500
    assert ask(server, "/talk") == "HELLO"


@pytest.mark.parametrize("worker_class", ["gevent", "eventlet"])
def test_worker_connections_bound_what_runs(worker_class: str) -> None:
    """At the bound further clients wait for their turn; none is lost."""
    settings = {"worker_connections": 10, "keepalive": 5}
    with serve("green_app:app", worker_class, cwd=HERE, **settings) as server, ExitStack() as stack:
        clients = [stack.enter_context(Client(server)) for _ in range(50)]
        for client in clients:
            client.send(get("/among", "Connection: close"))
        running = [int(client.answer().text) for client in clients]
        assert len(running) == 50
        assert 1 < max(running) <= 10


@pytest.mark.skipif(sys.platform != "linux", reason="preload_app needs Linux")
@pytest.mark.parametrize("worker_class", ["gevent", "eventlet"])
def test_preload(worker_class: str) -> None:
    """The process that imports the application is patched; the workers it forks have hubs of their own."""
    with serve("green_app:app", worker_class, cwd=HERE, preload_app=True, workers=2) as server:
        assert ask(server, "/patched") == worker_class
        assert ask(server, "/talk") == "HELLO"
