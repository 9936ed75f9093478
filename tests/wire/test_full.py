"""A worker that holds as many connections as it may: who gives way, and that the newest is served.

In order: who is idle, whose request does not come along, whose finished answer is not
taken. A request that is here is never given up for another one.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from canter.testing import Server
from tests.policy import get, post
from tests.wire.conftest import Family
from tests.wire.dialogue import Client, ask

BOUND = 6
HALF_A_HEAD = b"GET / HTTP/1.1\r\nHost: a\r\nX: "
HALF_A_BODY = post(b"Content-Length: 100", body=b"half")
LARGE = 3_000_000
# On loopback the system would take much more of an answer than on any network, for large segments.
SMALL_BUFFERS = """
import socket

def post_fork(server, worker):
    for sock in worker.sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
"""


@pytest.fixture(scope="module")
def full(worker: Family) -> Iterator[Server]:
    with worker.fresh(worker_connections=BOUND, config=SMALL_BUFFERS) as server:
        yield server


@pytest.fixture
def clients(full: Server) -> Iterator[list[Client]]:
    """As many connections as the worker holds; each has had one answer, so all are there."""
    with ExitStack() as stack:
        found = []
        for _ in range(BOUND):
            found.append(stack.enter_context(Client(full, receive_buffer=65536)))
            assert found[-1].ask(get()).status == 200
        yield found


def newcomer(server: Server) -> None:
    """Somebody else comes and is served."""
    with Client(server) as client:
        assert client.ask(get()).status == 200


def test_the_one_that_was_idle_longest_gives_way(full: Server, clients: list[Client]) -> None:
    newcomer(full)
    clients[0].expect_end("fin")
    for client in clients[1:]:
        assert client.ask(get()).status == 200


@pytest.mark.parametrize(
    ("begun", "rest"), [(HALF_A_HEAD, b"y\r\n\r\n"), (HALF_A_BODY, b"a" * 96)], ids=["head", "body"]
)
def test_the_slowest_request_gives_way(
    full: Server, clients: list[Client], begun: bytes, rest: bytes
) -> None:
    for client in clients:
        client.send(begun)
    newcomer(full)
    clients[0].expect_end()
    for client in clients[1:]:
        assert client.ask(rest).status == 200


def test_an_answer_that_nobody_takes_gives_way(full: Server, clients: list[Client]) -> None:
    for client in clients:
        client.send(ask("large", {"size": LARGE}))
    for client in clients:
        client.sock.recv(1, socket.MSG_PEEK)  # its answer has begun
    newcomer(full)
    full.wait_log(
        "takes nothing of its answer and gives way to a new connection; [0-9]+ octets are lost to it"
    )
    assert sum(client.answer().complete for client in clients) == BOUND - 1
