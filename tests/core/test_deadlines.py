"""`--request-timeout`: an overdue request is answered, explained and ended."""

from __future__ import annotations

import re
import socket
from contextlib import contextmanager
from time import monotonic
from types import SimpleNamespace

import httpx
import pytest
from greenlet import getcurrent, greenlet

from canter.deadlines import by_path
from canter.testing import serve
from canter.workers.greenlets import GreenletWorker

THREADED = ["sync", "gthread", "asyncio", "tornado"]  # of WSGI: a thread can't be interrupted
GREENLETS = ["gevent", "eventlet"]
TASKS = ["asyncio", "tornado"]  # of ASGI
YIELDING = [(each, "hanging") for each in GREENLETS] + [(each, "hanging_task") for each in TASKS]

LIMIT = {"request_timeout_paths": [("/?*", 1)]}  # "/" may take its time on a busy machine


def get(server, path, **fields):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        return client.get(path, headers=fields)


def test_first_fitting_pattern_counts():
    seconds = by_path(2, [("/export/*", 600), ("/*/slow", 0)])
    assert [seconds(path) for path in ("/export/slow", "/a/slow", "/a")] == [600, 0, 2]


@pytest.mark.parametrize("worker_class", THREADED)
@pytest.mark.parametrize("path", ["/sleep", "/spin", "/lock"])
def test_hung_request_gets_504_and_its_stack_is_logged(worker_class, path, here):
    with serve(
        "apps:hanging", worker_class, cwd=here, workers=2, threads=4, **LIMIT, graceful_timeout=20
    ) as server:
        answer = get(server, f"{path}?s=30", **{"X-Request-Id": "r-17"})
        assert answer.status_code == 504
        found = server.wait_log(
            rf"Request timeout: GET {path}\?s=30 HTTP/1.1 after \d+\.\d+ s from 127\.0\.0\.1:\d+, id r-17 "
        )
        assert "answered with 504" in found.string
        server.wait_log(r"apps\.py\", line \d+, in hanging")
        server.wait_log("to be replaced: request deadline")
        assert get(server, "/").status_code == 200
        server.wait_log("leaving without 1 hung requests")


@pytest.mark.parametrize(("worker_class", "app"), YIELDING)
@pytest.mark.parametrize("path", ["/sleep", "/lock"])
def test_one_that_waits_is_ended_and_its_worker_serves_on(worker_class, app, path, here):
    with (
        serve(f"apps:{app}", worker_class, cwd=here, **LIMIT) as server,
        socket.create_connection((server.host, server.port), 60) as hung,
    ):
        hung.sendall(b"GET %s?s=30 HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        pid = get(server, "/").text  # others of the same worker are untouched
        assert hung.recv(65536).startswith(b"HTTP/1.1 504 ")
        server.wait_log(rf"Request timeout: GET {path}")
        server.wait_log(rf"apps\.py\", line \d+, in {app}")
        assert get(server, "/").text == pid
        assert "to be replaced" not in server.log


@pytest.mark.parametrize(("worker_class", "app"), YIELDING)
def test_one_that_spins_has_its_worker_replaced(worker_class, app, here):
    """What it holds up meanwhile is cut, and logged as no fault of its own; another worker serves on."""
    settings = {"workers": 2, "request_timeout_paths": [("/sleep", 4), ("/?*", 1)]}
    with (
        serve(f"apps:{app}", worker_class, cwd=here, keepalive=60, **settings) as server,
        socket.create_connection((server.host, server.port), 60) as kept,
        connected_to(pid := pid_of(kept), server) as hung,
    ):
        kept.sendall(b"GET /sleep?s=60 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert ask(hung, b"/spin?s=60").startswith(b"HTTP/1.1 504 ")
        server.wait_log(
            r"Request timeout: GET /spin\S* HTTP/1.1 after \S+ s from \S+ id - \(answered with 504\)"
        )
        server.wait_log(r"apps\.py\", line \d+, in spin")
        server.wait_log("to be replaced: request deadline")
        assert get(server, "/").status_code == 200
        assert kept.recv(65536).startswith(b"HTTP/1.1 504 ")
        server.wait_log(r"Request timeout: GET /sleep.*held up by another request of its worker\)")
        server.wait_log("leaving without 2 hung requests")
        assert get(server, "/").text != pid


def ask(client, path):
    client.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    return client.recv(65536)


def pid_of(client):
    """Of the worker that has this connection."""
    return ask(client, b"/").rpartition(b"\r\n")[2].decode()


def connected_to(pid, server):
    """A connection to one of the workers."""
    until = monotonic() + 60
    while monotonic() < until:
        client = socket.create_connection((server.host, server.port), 60)
        if pid_of(client) == pid:
            return client
        client.close()
    raise AssertionError(f"none of many connections came to {pid}")


@pytest.mark.parametrize("worker_class", TASKS)
def test_a_task_that_does_not_hear_of_its_end_has_its_worker_replaced(worker_class, here):
    with serve("apps:hanging_task", worker_class, cwd=here, **LIMIT) as server:
        assert get(server, "/deaf?s=60").status_code == 504
        server.wait_log("interrupted but runs on: this worker asks to be replaced")
        server.wait_log("to be replaced: request deadline")
        assert get(server, "/").status_code == 200


@pytest.mark.parametrize(("worker_class", "app"), YIELDING)
def test_a_timeout_of_the_worker_shows_where_each_of_its_requests_is(worker_class, app, here):
    with (
        serve(f"apps:{app}", worker_class, cwd=here, timeout=2) as server,
        socket.create_connection((server.host, server.port), 60) as waits,
        socket.create_connection((server.host, server.port), 60) as spins,
    ):
        waits.sendall(b"GET /sleep?s=60 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert get(server, "/").status_code == 200  # it is answered after the other has begun to wait
        spins.sendall(b"GET /spin?s=60 HTTP/1.1\r\nHost: a\r\n\r\n")
        found = server.wait_log(r"WORKER TIMEOUT \(pid:\d+\): .*; in flight: (.*)")[1]
        assert "GET /sleep" in found
        assert "GET /spin" in found
        server.wait_log(
            rf"It was waiting in this worker:\n(?:  .*\n)*  File \"\S+apps\.py\", line \d+, in {app}"
        )
        server.wait_log(r"File \"\S+apps\.py\", line \d+ in spin")  # as faulthandler writes it
        assert get(server, "/").status_code == 200


class Lazy:
    """As lazy objects of frameworks are: asked for its class, it does what the application put off."""

    @property
    def __class__(self):
        raise AssertionError("the application's code must not run")


def test_the_search_for_greenlets_that_wait_runs_no_code_of_the_application():
    lazy = Lazy()
    waits = greenlet(lambda: getcurrent().parent.switch())
    waits.switch()
    worker = SimpleNamespace(idle=[], main=None)
    assert waits.gr_frame in list(GreenletWorker.asleep(worker))
    del lazy
    waits.switch()


@pytest.mark.parametrize("worker_class", [*THREADED, *GREENLETS])
def test_an_answer_that_has_begun_is_cut(worker_class, here):
    with serve("apps:hanging", worker_class, cwd=here, threads=4, **LIMIT) as server:
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
        serve("apps:hanging", "gthread", cwd=here, threads=4, **LIMIT) as server,
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


# Each with room for one request: what fills it, and the settings.
ONE_AT_A_TIME = [
    ("sync", "hanging", "/sleep", {}),
    ("gthread", "hanging", "/sleep", {"threads": 1}),
    ("asyncio", "hanging", "/sleep", {"threads": 1}),
    ("gevent", "hanging", "/sleep", {"worker_connections": 1}),
    ("asyncio", "hanging_task", "/spin", {}),
]


@pytest.mark.parametrize(("worker_class", "app", "path", "settings"), ONE_AT_A_TIME)
def test_a_new_client_that_waited_too_long_gets_503(worker_class, app, path, settings, here):
    """In the accept queue, or in the worker's own."""
    with (
        serve(f"apps:{app}", worker_class, cwd=here, queue_timeout=0.5, **settings) as server,
        warmed_up(server),
        socket.create_connection((server.host, server.port), 60) as slow,
    ):
        slow.sendall(b"GET %s?s=2 HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        server_is_busy(server)
        with socket.create_connection((server.host, server.port), 60) as waits:
            assert ask(waits, b"/").startswith(b"HTTP/1.1 503 ")
        assert slow.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("worker_class", ["sync", "gthread", "asyncio"])
def test_a_request_that_waited_too_long_gets_503(worker_class, here):
    settings = {} if worker_class == "sync" else {"threads": 1}
    with (
        serve("apps:hanging", worker_class, cwd=here, queue_timeout=0.5, keepalive=5, **settings) as server,
        warmed_up(server),
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


@contextmanager
def warmed_up(server):
    """The worker has booted: nothing that is sent from now on waits for that."""
    get(server, "/")
    yield


def server_is_busy(server):
    """Wait until the worker's one request runs: it no longer accepts."""
    with socket.create_connection((server.host, server.port), 60) as probe:
        probe.settimeout(0.3)
        probe.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        try:
            assert probe.recv(100) == b"", "answered while the worker should be busy"
        except TimeoutError:
            pass
