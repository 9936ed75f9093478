"""`--request-timeout`: an overdue request is answered, explained and ended."""

from __future__ import annotations

import re
import socket

import httpx
import pytest

from canter.deadlines import by_path
from canter.testing import serve

THREADED = ["sync", "gthread", "asyncio"]  # a thread can't be interrupted
GREENLETS = ["gevent", "eventlet"]


def get(server, path):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        return client.get(path)


def test_first_fitting_pattern_counts():
    seconds = by_path(2, [("/export/*", 600), ("/*/slow", 0)])
    assert [seconds(path) for path in ("/export/slow", "/a/slow", "/a")] == [600, 0, 2]


@pytest.mark.parametrize("worker_class", THREADED)
@pytest.mark.parametrize("path", ["/sleep", "/spin", "/lock"])
def test_hung_request_gets_504_and_its_stack_is_logged(worker_class, path, here):
    with serve(
        "apps:hanging", worker_class, cwd=here, workers=2, threads=4, request_timeout=1, graceful_timeout=20
    ) as server:
        answer = get(server, f"{path}?s=30")
        assert answer.status_code == 504
        found = server.wait_log(
            rf"Request timeout: GET {path}\?s=30 HTTP/1.1 after \d+\.\d+ s from 127\.0\.0\.1:\d+"
        )
        assert "answered with 504" in found.string
        server.wait_log(r"apps\.py\", line \d+, in hanging")
        server.wait_log("to be replaced: request deadline")
        assert get(server, "/").status_code == 200
        server.wait_log("leaving without 1 hung requests")


@pytest.mark.parametrize("worker_class", GREENLETS)
@pytest.mark.parametrize("path", ["/sleep", "/lock"])
def test_a_greenlet_that_waits_is_ended_and_its_worker_serves_on(worker_class, path, here):
    with serve("apps:hanging", worker_class, cwd=here, request_timeout=1) as server:
        pid = get(server, "/").text
        assert get(server, f"{path}?s=30").status_code == 504
        server.wait_log(rf"Request timeout: GET {path}")
        server.wait_log(r"apps\.py\", line \d+, in hanging")
        assert get(server, "/").text == pid
        assert "to be replaced" not in server.log


@pytest.mark.parametrize("worker_class", GREENLETS)
def test_a_greenlet_that_spins_has_its_worker_replaced(worker_class, here):
    with serve("apps:hanging", worker_class, cwd=here, workers=2, request_timeout=1) as server:
        assert get(server, "/spin?s=30").status_code == 504
        server.wait_log(r"apps\.py\", line \d+, in hanging")
        server.wait_log("to be replaced: request deadline")
        assert get(server, "/").status_code == 200


@pytest.mark.parametrize("worker_class", [*THREADED, *GREENLETS])
def test_an_answer_that_has_begun_is_cut(worker_class, here):
    with serve("apps:hanging", worker_class, cwd=here, threads=4, request_timeout=1) as server:
        with socket.create_connection((server.host, server.port), 60) as client:
            client.sendall(b"GET /late?s=3 HTTP/1.1\r\nHost: a\r\n\r\n")
            received = b""
            while piece := client.recv(65536):
                received += piece
        assert b"first" in received
        assert b"second" not in received
        assert not received.endswith(b"0\r\n\r\n")
        server.wait_log(r"Request timeout: GET /late.*\(cut\)")


def test_others_of_the_same_worker_are_untouched(here):
    with (
        serve("apps:hanging", "gthread", cwd=here, threads=4, request_timeout=2) as server,
        socket.create_connection((server.host, server.port), 60) as hung,
    ):
        hung.sendall(b"GET /sleep?s=30 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert get(server, "/").status_code == 200
        assert hung.recv(65536).startswith(b"HTTP/1.1 504 ")
        assert get(server, "/").status_code == 200


def test_a_path_may_have_its_own_limit(here):
    limits = [("/sleep", 0.5)]
    with serve(
        "apps:hanging", "gthread", cwd=here, threads=2, request_timeout=30, request_timeout_paths=limits
    ) as server:
        assert get(server, "/sleep?s=20").status_code == 504
        found = server.wait_log(r"after (\d+\.\d+) s")
        assert re.fullmatch(r"\d+\.\d+", found[1])


def test_a_request_that_waited_too_long_gets_503(here):
    with (
        serve("apps:hanging", "sync", cwd=here, queue_timeout=0.2, keepalive=5) as server,
        socket.create_connection((server.host, server.port), 60) as slow,
        socket.create_connection((server.host, server.port), 60) as waits,
    ):
        slow.sendall(b"GET /sleep?s=2 HTTP/1.1\r\nHost: a\r\n\r\n")
        server_is_busy(server)
        waits.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = waits.recv(65536)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in answer
        assert slow.recv(65536).startswith(b"HTTP/1.1 200 ")


def server_is_busy(server):
    """Wait until the worker's one request runs: it no longer accepts."""
    with socket.create_connection((server.host, server.port), 60) as probe:
        probe.settimeout(0.3)
        probe.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        try:
            assert probe.recv(100) == b"", "answered while the worker should be busy"
        except TimeoutError:
            pass
