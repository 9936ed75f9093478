"""-k tornado with an application of Tornado's own: its server, under our master."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
    """What runs is answered and its connection closed; what stays idle is closed after a moment."""
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


def test_requests_on_their_way_are_answered_at_a_stop(tmp_path: Path) -> None:
    """One on a kept connection, one that waits to be accepted: the worker sleeps while they are sent."""
    with tornado(tmp_path, keepalive=60) as stage, stage.client() as kept:
        pid = json.loads(kept.get("/").body)["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            stage.server.signal(signal.SIGTERM)
            stage.server.wait_log("stopping within")
            kept.send(get("/"))
            with stage.client() as fresh:
                fresh.send(get("/"))
                os.kill(pid, signal.SIGCONT)
                assert kept.answer().status == 200
                assert fresh.answer().status == 200
                assert (kept.rest(), fresh.rest()) == (b"", b"")
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        assert stage.server.wait() == 0


def test_stop_is_bounded(tmp_path: Path) -> None:
    with tornado(tmp_path, graceful_timeout=1) as stage, stage.client() as client:
        client.send(get("/wait/for-ever"))
        stage.seen("for-ever.begun")
        stage.server.signal(signal.SIGTERM)
        assert stage.server.wait() == 0
        assert client.rest() == b""


FORMAT = "said %(h)s %(m)s %(U)s %(q)s %(H)s %(s)s %(B)s %({x-test}i)s %({content-type}o)s"


def test_access_log(tmp_path: Path) -> None:
    """A line for each request, whichever way it ends."""
    settings = {"accesslog": "-", "access_log_format": FORMAT, "server_header": False}
    with tornado(tmp_path, **settings) as stage:
        with stage.client() as client:
            found = client.get("/?a=b", "X-Test: yes")
            size = len(found.body)
            assert "server" not in found.fields
            client.get("/nowhere")
        socket = websocket.create_connection(f"ws://127.0.0.1:{stage.server.port}/echo", timeout=30)
        socket.close()
        with stage.client() as client:
            client.send(get("/wait/never"))
            stage.seen("never.begun")
        for line in (
            f"GET / a=b HTTP/1.1 200 {size} yes application/json; charset=UTF-8",
            "GET /nowhere  HTTP/1.1 404 [0-9]+ - text/html; charset=UTF-8",
            "GET /echo  HTTP/1.1 101 0 - -",
            "GET /wait/never  HTTP/1.1 499 0 - -",
        ):
            stage.server.wait_log(f"^said 127.0.0.1 {line}$")
        assert stage.server.log.count("said ") == 4


HOOKS = """
def pre_request(worker, req):
    worker.log.info("pre %s %s %s", req.method, req.path, dict(req.headers).get("X-TEST"))
    if req.path == "/refused":
        raise PermissionError("not this one")

def post_request(worker, req, environ, resp):
    whole = resp.sent == resp.response_length
    worker.log.info("post %s %s %s %s", req.path, resp.status_code, resp.status, whole)
"""


def test_hooks(tmp_path: Path) -> None:
    with tornado(tmp_path, config=HOOKS) as stage, stage.client() as client:
        assert client.get("/", "X-Test: yes").status == 200
        stage.server.wait_log("pre GET / yes")
        stage.server.wait_log("post / 200 200 True")
        client.send(get("/refused"))
        assert client.rest() == b""
        stage.server.wait_log("not this one")
        with stage.client() as other:
            assert other.get("/").status == 200


def test_deadline(tmp_path: Path) -> None:
    """Nothing sent: a 504. Begun: the connection is cut. The handler hears of it as of a client that left."""
    limits = [("/wait/*", 0.5), ("/drip", 3)]  # time for its first piece
    with tornado(tmp_path, request_timeout_paths=limits, accesslog="-", access_log_format=FORMAT) as stage:
        with stage.client() as client:
            client.send(get("/wait/for-ever"))
            found = client.answer()
            assert (found.status, found.fields["connection"]) == (504, "close")
            assert client.rest() == b""
        stage.server.wait_log(r"Request timeout: GET /wait/for-ever HTTP/1.1 after .* \(answered with 504\)")
        stage.server.wait_log(r"tornado_site\.py\", line \d+, in get")
        stage.server.wait_log("^said 127.0.0.1 GET /wait/for-ever  HTTP/1.1 504 20 ")
        with stage.client() as client:
            client.send(get("/drip"))
            assert client.rest().endswith(b"5\r\nfirst\r\n")
        stage.server.wait_log(r"Request timeout: GET /drip HTTP/1.1 after .* \(cut\)")
        with stage.client() as client:
            client.send(get("/wait/for-ever").replace(b"GET", b"HEAD"))
            assert client.rest().startswith(b"HTTP/1.1 504 ")
        stage.server.wait_log("^said 127.0.0.1 HEAD /wait/for-ever  HTTP/1.1 504 0 ")
        stage.make("for-ever")
        with stage.client() as client:
            assert client.get("/").status == 200
        assert "Traceback" not in stage.server.log
        assert "to be replaced" not in stage.server.log


def test_no_descriptors_left(tmp_path: Path) -> None:
    """Accepting pauses, with one line in the log; it goes on when there are some again."""
    with tornado(tmp_path) as stage, stage.client() as kept:
        pid = json.loads(kept.get("/").body)["pid"]
        taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
        lowest = next(number for number in itertools.count() if number not in taken)
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, hard))
        with stage.client() as client:
            client.send(get("/"))
            stage.server.wait_log("WARNING.*accept failed: .*; pausing")
            for _ in range(20):
                assert kept.get("/").status == 200
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
            assert client.answer().status == 200
        assert stage.server.log.count("accept failed") == 1
        assert "Traceback" not in stage.server.log


@pytest.mark.parametrize("way", ["crash", "hang"])
def test_what_ran_is_named_when_its_worker_ends(tmp_path: Path, way: str) -> None:
    settings = {"timeout": 2} if way == "hang" else {}
    with tornado(tmp_path, **settings) as stage:
        with stage.client() as client:
            client.send(get(f"/{way}", "X-Request-Id: r-17"))
            assert client.rest() == b""
        stage.server.wait_log(rf"in flight: GET /{way} from 127.0.0.1 .*id r-17")
        with stage.client() as client:
            assert client.get("/").status == 200


@pytest.mark.parametrize("path", ["/hang", "/spin"])
def test_a_handler_that_blocks_the_loop_has_its_worker_replaced(tmp_path: Path, path: str) -> None:
    """It gets a 504, and so does what it holds up, at its own deadline; the log says where it is."""
    limits = [(path, 1), ("/wait/*", 6)]
    with tornado(tmp_path, request_timeout_paths=limits, accesslog="-", access_log_format=FORMAT) as stage:
        with stage.client() as client, stage.client() as held_up:
            held_up.send(get("/wait/for-ever"))
            stage.seen("for-ever.begun")
            client.send(get(path, "X-Request-Id: r-17"))
            found = client.answer()
            assert (found.status, found.fields["connection"]) == (504, "close")
            assert client.rest() == b""
            stage.server.wait_log(rf"Request timeout: GET {path} .*, id r-17 \(answered with 504\); stack:")
            stage.server.wait_log(r"tornado_site\.py\", line \d+, in get")
            stage.server.wait_log("runs on: this worker asks to be replaced")
            assert held_up.answer().status == 504
            stage.server.wait_log("Request timeout: GET /wait/.*held up by another request of its worker")
        with stage.client() as client:
            assert client.get("/").status == 200
        stage.server.wait_log("leaving without 2 hung requests")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 1001), (signal.SIGHUP, 1012)])
def test_stop_closes_websockets(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Each is told why, and its client's goodbye is waited for."""
    with tornado(tmp_path, graceful_timeout=60) as stage:
        socket = websocket.create_connection(f"ws://127.0.0.1:{stage.server.port}/echo", timeout=30)
        socket.send("hello")
        assert socket.recv() == "hello"
        stage.server.signal(number)
        opcode, data = socket.recv_data()
        assert opcode == websocket.ABNF.OPCODE_CLOSE
        assert int.from_bytes(data[:2], "big") == code
        socket.shutdown()
        if number == signal.SIGTERM:
            assert stage.server.wait() == 0
        else:
            stage.server.wait_log("Worker exiting")
        assert "are cut" not in stage.server.log


def test_settings_without_effect_are_named(tmp_path: Path) -> None:
    with tornado(tmp_path, write_timeout=5, ws_max_size=100) as stage:
        stage.server.wait_log("WARNING.*settings have no effect: write_timeout, ws_max_size$")
