"""A stop loses no request that is on its way on a kept connection."""

from __future__ import annotations

import signal
import socket
import time

import pytest

from canter.testing import serve

CLASSES = ["sync", "gthread", "gevent", "eventlet", "asyncio", "tornado"]
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
IDLE = 2.3  # seconds: longer than a stopping worker keeps idle connections


@pytest.mark.parametrize("worker_class", CLASSES)
def test_a_connection_that_was_idle_for_long_is_still_answered_after_term(worker_class, here):
    with (
        serve("apps:hanging", worker_class, cwd=here, keepalive=30) as server,
        socket.create_connection((server.host, server.port), 60) as client,
    ):
        client.sendall(REQUEST)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        time.sleep(IDLE)  # what is tested is that time passed
        server.signal(signal.SIGTERM)
        server.wait_log("Handling signal: term")
        client.sendall(REQUEST)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert client.recv(65536) == b""  # in any case it is closed now
        assert server.wait() == 0


@pytest.mark.parametrize("worker_class", CLASSES)
def test_a_client_that_was_connected_but_silent_is_still_answered_after_term(worker_class, here):
    """The kernel held its connection back (TCP_DEFER_ACCEPT)."""
    with (
        serve("apps:hanging", worker_class, cwd=here) as server,
        socket.create_connection((server.host, server.port), 60) as client,
    ):
        server.signal(signal.SIGTERM)
        server.wait_log("stopping within")  # the master has closed its sockets
        client.sendall(REQUEST)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert server.wait() == 0


def test_a_second_term_changes_nothing(here):
    with (
        serve("apps:hanging", "sync", cwd=here, keepalive=30) as server,
        socket.create_connection((server.host, server.port), 60) as client,
    ):
        client.sendall(REQUEST)
        assert client.recv(65536)
        client.sendall(b"GET /sleep?s=2 HTTP/1.1\r\nHost: a\r\n\r\n")
        for count in (1, 2):
            server.signal(signal.SIGTERM)
            server.wait_log("(?s)" + "stopping within.*" * count)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert server.wait() == 0


@pytest.mark.parametrize("worker_class", CLASSES)
def test_an_idle_worker_beats_within_a_short_timeout(worker_class, here):
    """No `WORKER TIMEOUT` of a worker that has nothing to do."""
    with serve("apps:hanging", worker_class, cwd=here, timeout=1, keepalive=30) as server:
        with socket.create_connection((server.host, server.port), 60) as client:
            client.sendall(REQUEST)
            assert client.recv(65536)
            time.sleep(IDLE)  # what is tested is that time passed
            client.sendall(REQUEST)
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert "WORKER TIMEOUT" not in server.log
