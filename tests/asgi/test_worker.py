"""The asyncio worker: boot, lifespan, plain WSGI, deadlines and the end."""

from __future__ import annotations

import asyncio
import logging
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from canter.config import Config
from canter.testing import serve
from canter.workers.asyncio import AsyncioWorker
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
    with running("ends_slowly", graceful_timeout=6) as server, connected(server.port) as client:
        client.get("/wait")
        server.wait_log("^waits")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert "requests are cut at the end of the graceful time-out" in server.log
        assert "shut down" in server.log
        assert "is killed" not in server.log


class Deaf:
    """Stands in for a driver whose one request does not end when it is cancelled."""

    def cancel_all(self) -> list[asyncio.Task[None]]:
        return [asyncio.ensure_future(asyncio.sleep(3600))]


class Told:
    """Stands in for a lifespan."""

    lasts = True
    seconds = -1.0

    async def stop(self, seconds: float) -> None:
        self.seconds = seconds


@pytest.mark.parametrize(("grace", "most"), [(None, 0.5), (0, 1.5)], ids=["TERM", "QUIT"])
def test_all_waits_together_end_before_the_master_aborts(grace: float | None, most: float) -> None:
    """It does a second after the graceful time-out, or two after a quick stop."""
    worker: Any = AsyncioWorker.__new__(AsyncioWorker)
    worker.cfg, worker.lifespan, worker.driver = Config(graceful_timeout=0), Told(), Deaf()
    worker.row, worker.log = {}, logging.getLogger()
    worker.poller = worker.context = worker.scoreboard = Mock()
    worker.stop(grace)

    async def end() -> None:
        worker.loop = asyncio.get_running_loop()
        await worker.end()

    asyncio.run(end())
    assert 0 <= worker.lifespan.seconds <= most / 2


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
