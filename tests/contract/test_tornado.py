"""-k tornado with an application of Tornado's own: its server, under our master."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import websocket

from canter.contract import Stage, get, wait_for
from canter.testing import serve

HERE = Path(__file__).parent


@contextmanager
def tornado(folder: Path, **settings: Any) -> Iterator[Stage]:
    env = {"CONTRACT_FOLDER": str(folder)}
    with serve("tornado_site:app", "tornado", cwd=HERE, env=env, **settings) as server:
        yield Stage(server, folder)


def test_handlers_keep_alive_and_websockets(tmp_path: Path) -> None:
    with tornado(tmp_path) as stage:
        with stage.client() as client:
            for _ in range(3):
                found = client.get("/")
                assert found.status == 200
                assert found.fields["server"].startswith("TornadoServer/")
            assert client.get("/nowhere").status == 404
        socket = websocket.create_connection(f"ws://127.0.0.1:{stage.server.port}/echo", timeout=30)
        for text in ("one", "x" * 100_000):
            socket.send(text)
            assert socket.recv() == text
        socket.close()


@pytest.mark.parametrize(("trusted", "seen"), [("127.0.0.1", "192.0.2.7"), ("10.0.0.1", "127.0.0.1")])
def test_forwarded_fields_count_from_trusted_peers_alone(tmp_path: Path, trusted: str, seen: str) -> None:
    with tornado(tmp_path, forwarded_allow_ips=trusted) as stage, stage.client() as client:
        found = client.get("/", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: https")
        expected = {"peer": seen, "scheme": "https" if seen == "192.0.2.7" else "http"}
        assert expected.items() <= json.loads(found.body).items()


def test_max_requests(tmp_path: Path) -> None:
    with tornado(tmp_path, max_requests=3) as stage:
        pids: set[int] = set()

        def replaced() -> bool:
            with stage.client() as client:
                pids.add(json.loads(client.get("/").body)["pid"])
            return len(pids) >= 3

        wait_for(replaced, "the worker is not replaced", stage.server)


def test_graceful_stop(tmp_path: Path) -> None:
    """What runs is answered and its connection closed; what is idle is closed at once."""
    with tornado(tmp_path, keepalive=60) as stage, stage.client() as idle, stage.client() as client:
        assert idle.get("/").status == 200
        client.send(get("/wait/last"))
        stage.seen("last.begun")
        stage.server.signal(signal.SIGTERM)
        assert idle.rest() == b""
        stage.make("last")
        found = client.answer()
        assert (found.text, found.fields["connection"]) == ("last", "close")
        assert stage.server.wait() == 0


def test_stop_is_bounded(tmp_path: Path) -> None:
    with tornado(tmp_path, graceful_timeout=1) as stage, stage.client() as client:
        client.send(get("/wait/for-ever"))
        stage.seen("for-ever.begun")
        stage.server.signal(signal.SIGTERM)
        assert stage.server.wait() == 0
        assert client.rest() == b""
