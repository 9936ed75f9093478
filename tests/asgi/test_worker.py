"""The asyncio worker: boot, lifespan, plain WSGI, deadlines and the end."""

from __future__ import annotations

import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from canter.testing import serve
from tests.asgi.dialogue import connected

APPS = Path(__file__).with_name("apps")
LOOPS = ["asyncio", "uvloop"] if find_spec("uvloop") else ["asyncio"]


def running(app: str, **settings: Any) -> Any:
    return serve(f"lives:{app}", "asyncio", cwd=APPS, **settings)


def hello(port: int) -> bytes:
    with connected(port) as client:
        client.get("/")
        return client.answer().body


@pytest.mark.parametrize("mode", ["auto", "off"])
def test_application_without_lifespan(mode: str) -> None:
    with running("without", lifespan=mode) as server:
        assert hello(server.port) == b"hello"


@pytest.mark.parametrize(
    ("app", "settings", "why", "code"),
    [
        ("without", {"lifespan": "on"}, "lifespan is on, but the application raised AssertionError", 3),
        ("fails", {}, "the application's startup failed: no database", 3),
        ("takes_nothing", {}, "takes neither .environ, start_response. nor .scope, receive, send.", 4),
        ("plain", {"interface": "asgi"}, "--interface asgi: .* does not take .scope, receive, send.", 4),
        ("without", {"interface": "wsgi"}, "--interface wsgi: .* does not take .environ, start_response.", 4),
    ],
)
def test_boot_fails_with_a_line_that_says_why(
    app: str, settings: dict[str, str], why: str, code: int
) -> None:
    with running(app, boot_retries=0, **settings) as server:
        server.wait_log(why)
        assert server.wait() == code
        assert "Traceback" not in server.log


@pytest.mark.parametrize("loop", LOOPS)
def test_stop_waits_for_requests_and_tells_the_application(loop: str) -> None:
    with running("works", asyncio_loop=loop) as server, connected(server.port) as client:
        client.get("/while")
        server.wait_log("^waits")
        server.signal(signal.SIGTERM)
        server.wait_log("Handling signal: term")
        client.finish_sending()
        assert client.answer().body == b"hello"
        assert server.wait() == 0
        assert "shut down" in server.log


@pytest.mark.parametrize("loop", LOOPS)
def test_end_of_the_graceful_time_cancels(loop: str) -> None:
    with running("works", asyncio_loop=loop, graceful_timeout=1) as server, connected(server.port) as client:
        client.get("/wait")
        server.wait_log("^waits")
        server.signal(signal.SIGTERM)
        server.wait()
        server.wait_log("^cancelled")


def test_a_slow_shutdown_has_its_time_though_a_request_used_up_its_own() -> None:
    with running("ends_slowly", graceful_timeout=4) as server, connected(server.port) as client:
        client.get("/wait")
        server.wait_log("^waits")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert "requests are cut at the end of the graceful time-out" in server.log
        assert "shut down" in server.log
        assert "is killed" not in server.log


def test_quick_stop_does_not_wait() -> None:
    with running("works", graceful_timeout=3000) as server, connected(server.port) as client:
        client.get("/wait")
        server.wait_log("^waits")
        server.signal(signal.SIGINT)
        server.wait()


def test_request_over_its_deadline_is_answered_and_cancelled() -> None:
    with running("works", request_timeout=0.5) as server, connected(server.port) as client:
        client.get("/wait")
        assert client.head().status == 504
        server.wait_log("^cancelled")
        server.wait_log(r"Request timeout: GET /wait(?s:.)*asyncio.sleep\(3600\)")
        assert hello(server.port) == b"hello"


def test_plain_wsgi_runs_on_threads_and_sees_context_variables() -> None:
    with running("plain", threads=2) as server:
        for _ in range(4):
            body = hello(server.port).decode()
            assert body.startswith("kept True canter-")


def test_worker_that_blocks_is_aborted_and_replaced() -> None:
    hook = "def worker_abort(worker):\n    print('the hook ran', flush=True)\n"
    with running("works", timeout=1, config=hook) as server, connected(server.port) as client:
        client.get("/block")
        server.wait_log("the hook ran")
        assert client.rest() == b""
        assert hello(server.port) == b"hello"
        assert "never seen" not in server.log
