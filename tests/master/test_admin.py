"""`/livez` and `/readyz`, the drain before a stop, and strangers that ask badly."""

from __future__ import annotations

import re
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from canter.master import admin
from canter.master.admin import LONGEST, MOST, PATIENCE, Admin
from canter.master.sockets import Policy, open_all
from canter.testing import Server
from tests.processes import until

from .conftest import ask, settled


class House:
    """An admin listener in a loop of the test's own, with a clock of the test's own."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.why = ""
        self.now = 0
        (listener,) = open_all(["127.0.0.1:0"], Policy(), 1)
        self.address = listener.sockets[0].getsockname()
        self.admin = Admin(listener, self.selector, lambda: self.why, lambda: self.now)

    def turn(self, seconds: float = 30) -> None:
        for key, _ in self.selector.select(seconds):
            key.data()

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.address, timeout=30)
        self.turn()
        return client

    def ask(self, *pieces: bytes) -> bytes:
        with self.connect() as client:
            for piece in pieces:
                client.sendall(piece)
                self.turn()
            return client.recv(10000)


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.admin.close(unlink=True)
    made.selector.close()


def test_alive_and_ready(house: House) -> None:
    assert house.ask(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
    answer = house.ask(b"GET /readyz?verbose HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(
        b"\r\nContent-Length: 6\r\nCache-Control: no-store\r\nConnection: close\r\n\r\nready\n"
    )


def test_not_ready(house: House) -> None:
    house.why = "no worker is ready"
    assert house.ask(b"GET /livez HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")
    answer = house.ask(b"GET /readyz HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert answer.endswith(b"\r\n\r\nno worker is ready\n")


def test_in_pieces(house: House) -> None:
    assert house.ask(b"GET /li", b"vez HTTP/1.1\r\n", b"\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"POST /livez HTTP/1.1", b"405 Method Not Allowed"),
        (b"GET / HTTP/1.1", b"404 Not Found"),
        (b"nonsense", b"405 Method Not Allowed"),
        (b"", b"405 Method Not Allowed"),
    ],
)
def test_other_questions(house: House, request_line: bytes, status: bytes) -> None:
    assert house.ask(request_line + b"\r\n\r\n").startswith(b"HTTP/1.1 " + status)


def test_head_has_no_body(house: House) -> None:
    assert house.ask(b"HEAD /livez HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")


def test_too_long_a_question_is_no_question(house: House) -> None:
    with house.connect() as client:
        client.sendall(b"x" * LONGEST)
        until(lambda: not house.admin._asking or house.turn(0.1))
        assert client.recv(10) == b""


def test_who_says_nothing_is_dropped_after_a_while(house: House) -> None:
    with house.connect() as client:
        house.admin.expire(PATIENCE - 1)
        assert len(house.admin._asking) == 1
        house.admin.expire(PATIENCE)
        assert client.recv(10) == b""


def test_a_crowd_drops_the_oldest(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "MOST", 2)
    crowd = [house.connect() for _ in range(3)]
    assert crowd[0].recv(10) == b""
    assert len(house.admin._asking) == 2 < MOST
    for client in crowd:
        client.close()


def test_who_leaves_is_forgotten(house: House) -> None:
    house.connect().close()
    house.turn()
    assert not house.admin._asking


# -- on a real server ------------------------------------------------------------------


def question(server: Server, path: str) -> Callable[[], str]:
    """Asks a real server's admin listener; the status and the text."""
    host, port = server.wait_log(r"Answering /livez and /readyz at: http://([\d.]+):(\d+)").groups()

    def put() -> str:
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = client.recv(10000).decode()
            return f"{answer.split(' ')[1]} {answer.splitlines()[-1]}"

    return put


def test_a_server_is_ready_when_a_worker_is(run, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    config = (
        "import os, time\n"
        "def post_worker_init(worker):\n"
        f"    while os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
    )
    with run(admin="127.0.0.1:0", config=config) as server:
        ready = question(server, "/readyz")
        assert ready() == "503 no worker is ready"
        assert question(server, "/livez")() == "200 alive"
        gate.unlink()
        until(lambda: ready() == "200 ready")


def test_a_drain_fails_readiness_first_and_still_serves(run) -> None:
    with run(admin="127.0.0.1:0", drain_delay=1000) as server:
        settled(server, 1)
        ready = question(server, "/readyz")
        assert ready() == "200 ready"
        server.signal(signal.SIGTERM)
        until(lambda: ready() == "503 stopping")
        assert ask(server).text == "hello"
        server.signal(signal.SIGHUP)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert re.search(r"not ready any more; serving on for 1000 s \(drain_delay\)", server.log)


def test_a_drain_ends_by_itself(run) -> None:
    with run(drain_delay=0.5) as server:
        settled(server, 1)
        assert server.stop() == 0
        assert "stopping within" in server.log


def test_it_stays_over_an_upgrade(run) -> None:
    with run(admin="127.0.0.1:0") as server:
        settled(server, 1)
        ready = question(server, "/readyz")
        server.signal(signal.SIGUSR2)
        server.wait_log(r"the new master \(pid:\d+\) serves")
        assert len(set(re.findall(r"Answering .* at: (\S+)", server.log))) == 1
        for _ in range(4):
            assert ready() == "200 ready"
