"""WebSockets on a real server, with the `websockets` library as the client."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("websockets")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from canter.testing import Server, serve
from tests.asgi.dialogue import connected

APPS = Path(__file__).with_name("apps")
HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve("sockets:app", "asyncio", cwd=APPS, ws_max_size=1_000_000, ws_max_queue=4) as server:
        yield server


def opened(server: Server, path: str, **more: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{server.port}{path}", open_timeout=30, close_timeout=30, **more)


def closed(client: ClientConnection) -> tuple[int | None, str | None]:
    """Code and reason with which the server closes."""
    try:
        while True:
            client.recv(timeout=30)
    except ConnectionClosed:
        return client.close_code, client.close_reason


@pytest.mark.parametrize("compression", ["deflate", None])
def test_echo(server: Server, compression: str | None) -> None:
    with opened(server, "/echo", compression=compression) as client:
        for message in ("text", "ümläut", "", b"bytes", b"", "x" * 200_000, bytes(500_000)):
            client.send(message)
            assert client.recv(timeout=30) == message
    server.wait_log("left 1000 \nOSError after the end")


def test_fragments_are_one_message(server: Server) -> None:
    with opened(server, "/echo") as client:
        client.send(["one", " ", "two"])
        assert client.recv(timeout=30) == "one two"


def test_pings_are_answered(server: Server) -> None:
    with opened(server, "/echo") as client:
        assert client.ping(b"one").wait(30)


def test_messages_sent_with_the_handshake_are_not_lost(server: Server) -> None:
    with connected(server.port) as client:
        client.say(HANDSHAKE % b"/echo" + b"\x81\x85\0\0\0\0early")
        assert client.head().status == 101
        assert client.exactly(7) == b"\x81\x05early"


def test_scope(server: Server) -> None:
    with opened(server, "/show?a=1", subprotocols=["one", "two"]) as client:
        scope = eval(client.recv(timeout=30))  # its own repr
    assert (scope["type"], scope["scheme"], scope["path"]) == ("websocket", "ws", "/show")
    assert scope["query_string"] == b"a=1"
    assert scope["subprotocols"] == ["one", "two"]
    assert "method" not in scope


def test_subprotocol_and_headers(server: Server) -> None:
    with opened(server, "/chosen", subprotocols=["one", "two"]) as client:
        assert client.subprotocol == "two"
        assert client.response is not None
        assert client.response.headers["X-One"] == "1"


def test_server_closes(server: Server) -> None:
    with opened(server, "/closes") as client:
        assert closed(client) == (4001, "because")
    server.wait_log("left 4001 because")


@pytest.mark.parametrize(("path", "code"), [("/returns_open", 1000), ("/raises_open", 1011)])
def test_application_ends_first(server: Server, path: str, code: int) -> None:
    with opened(server, path) as client:
        assert closed(client)[0] == code


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/refuses", 403, b""),
        ("/denies", 418, b"no socket"),
        ("/raises_before", 500, b"500 Internal Server Error\n"),
        ("/returns_before", 500, b"500 Internal Server Error\n"),
    ],
)
def test_handshake_is_denied(server: Server, path: str, status: int, body: bytes) -> None:
    with pytest.raises(InvalidStatus) as denied:
        opened(server, path)
    assert (denied.value.response.status_code, denied.value.response.body) == (status, body)


def test_handshake_that_is_wrong(server: Server) -> None:
    with connected(server.port) as client:
        client.say((HANDSHAKE % b"/echo").replace(b"Version: 13", b"Version: 12"))
        answer = client.answer()
    assert (answer.status, answer.fields["sec-websocket-version"]) == (400, "13")


def test_other_upgrades_are_ignored(server: Server) -> None:
    with connected(server.port) as client:
        client.get("/", "Upgrade: h2c", "Connection: Upgrade")
        assert client.answer().body == b"http"


def large(first: int) -> bytes:
    """A frame of 400 kB, whose first octet says what it is of."""
    return bytes((first, 0xFF)) + (400_000).to_bytes(8, "big") + bytes(4) + bytes(400_000)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x81\x81\0\0\0\0\xff", 1007),  # no UTF-8
        (b"\x83\x80\0\0\0\0", 1002),  # no such opcode
        (b"\x81\x01a", 1002),  # not masked
        (b"\x82\xff\0\0\0\0\0\x10\0\0\0\0\0\0", 1009),  # 1 MiB is announced
        (large(0x02) + large(0x00) + large(0x80)[:14], 1009),  # three fragments add up to more
    ],
)
def test_what_breaks_the_protocol_closes(server: Server, frames: bytes, code: int) -> None:
    with connected(server.port) as client:
        client.say(HANDSHAKE % b"/echo")
        assert client.head().status == 101
        client.say(frames)
        first, size = client.exactly(2)
        assert first == 0x88
        assert int.from_bytes(client.exactly(size)[:2], "big") == code
    server.wait_log(rf"left {code}")


def test_what_is_too_large_once_inflated_closes(server: Server) -> None:
    with opened(server, "/echo", compression="deflate") as client:
        client.send(bytes(2_000_000))  # 2 kB on the wire
        assert closed(client)[0] == 1009


def test_client_that_vanishes(server: Server) -> None:
    with connected(server.port) as client:
        client.say(HANDSHAKE % b"/echo")
        client.head()
        client.reset()
    server.wait_log("left 1006")


def test_client_that_left_is_no_error_of_the_application(server: Server) -> None:
    with opened(server, "/sends_on"):
        pass
    server.wait_log("left 1000 $")
    with opened(server, "/echo") as client:
        client.send("next")
        assert client.recv(timeout=30) == "next"
    assert "ClientDisconnected" not in server.log


def test_messages_wait_for_the_application(server: Server) -> None:
    with opened(server, "/slow") as client:
        client.send("begin")
        server.wait_log("^slow")
        for number in range(500):
            client.send(str(number))
        assert client.recv(timeout=30) == "500"


def test_a_client_that_sends_more_than_is_taken_has_to_wait(server: Server) -> None:
    """`ws_max_queue` messages are held, the system's buffers fill, and nothing is lost."""
    frame, limit, sent = large(0x82), 100_000_000, 0
    with connected(server.port) as client:
        client.say(HANDSHAKE % b"/holds" + b"\x81\x85\0\0\0\0begin")
        client.head()
        server.wait_log("^holds")
        client.sock.settimeout(2)
        try:
            while sent < limit:
                sent += client.sock.send(frame[sent % len(frame) :])
        except TimeoutError:
            pass
        assert sent < limit
        client.sock.settimeout(60)
        with connected(server.port) as other:
            other.get("/release")
            assert other.answer().body == b"http"
        client.say((frame[sent % len(frame) :] if sent % len(frame) else b"") + b"\x81\x83\0\0\0\0end")
        expected = b"%d" % -(-sent // len(frame))
        assert client.exactly(2 + len(expected)) == bytes((0x81, len(expected))) + expected


def test_sending_waits_for_the_client(server: Server) -> None:
    with opened(server, "/floods", max_queue=1) as client:
        for number in range(300):
            assert client.recv(timeout=30) == number.to_bytes(2, "big") * 50_000
    server.wait_log("flooded")


def test_silent_client_is_closed() -> None:
    settings = {"ws_ping_interval": 0.3, "ws_ping_timeout": 0.5}
    with serve("sockets:app", "asyncio", cwd=APPS, **settings) as server, connected(server.port) as client:
        client.say(HANDSHAKE % b"/echo")
        client.head()
        assert client.exactly(2) == b"\x89\0"  # a ping
        assert client.until(b"keepalive ping timeout")
        server.wait_log("left 1011 keepalive ping timeout")


def greet(client: ClientConnection) -> None:
    """Its server answers."""
    client.send("hello")
    assert client.recv(timeout=30) == "hello"


@contextmanager
def greeted() -> Iterator[tuple[Server, ClientConnection]]:
    """A server of its own, and a client that it has answered."""
    with (
        serve("sockets:app", "asyncio", cwd=APPS, graceful_timeout=60) as server,
        opened(server, "/echo") as client,
    ):
        greet(client)
        yield server, client


def test_stop_closes_sockets() -> None:
    with greeted() as (server, client):
        server.signal(signal.SIGTERM)
        assert closed(client)[0] == 1001
        assert server.wait() == 0


def test_a_reload_tells_sockets_that_the_service_restarts() -> None:
    with greeted() as (server, client):
        server.signal(signal.SIGHUP)
        assert closed(client)[0] == 1012
        with opened(server, "/echo") as other:
            greet(other)
