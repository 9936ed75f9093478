"""Real WebSocket libraries over the socket that a worker hands over, with real clients."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
import socketio
import websocket

from canter.testing import Server, serve

HERE = Path(__file__).parent
WAIT = 30


@pytest.fixture(
    scope="module",
    params=["gthread threading", "gevent threading", "gevent gevent", "eventlet threading"],
)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    worker_class, mode = request.param.split()
    settings = {"threads": 16, "graceful_timeout": 1}  # a socket that a client left open is not waited for
    with serve("ws_app:app", worker_class, cwd=HERE, env={"MODE": mode}, **settings) as server:
        yield server


def test_flask_sock(server: Server) -> None:
    """Whoever ends it: the server, the client, or a connection that breaks."""
    for end in ("bye", "close", "break"):
        client = websocket.create_connection(f"ws://127.0.0.1:{server.port}/echo", timeout=WAIT)
        for text in ("one", "two", "x" * 300_000):
            client.send(text)
            assert client.recv() == text
        if end == "bye":
            client.send("bye")
            assert client.recv_data()[0] == websocket.ABNF.OPCODE_CLOSE
        if end != "break":
            client.close()
        client.sock and client.sock.close()
        with urlopen(server.url, timeout=WAIT) as answer:
            assert answer.read() == b"here"


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]], ids="+".join)
def test_flask_socketio(server: Server, transports: list[str]) -> None:
    for ends in ("client", "server"):
        heard, gone = threading.Event(), threading.Event()
        client = socketio.Client(reconnection=False)
        client.on("heard", lambda text, heard=heard: heard.set())
        client.on("disconnect", lambda *reason, gone=gone: gone.set())
        client.connect(server.url, transports=transports, wait_timeout=WAIT)
        assert client.transport() == transports[-1]
        assert client.call("shout", "hey", timeout=WAIT) == "shouted"
        assert heard.wait(WAIT)
        client.disconnect() if ends == "client" else client.emit("leave")
        assert gone.wait(WAIT)
        client.disconnect()
