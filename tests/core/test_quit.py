"""Ctrl-C while a request runs: the server ends at once, and blames nobody for it."""

from __future__ import annotations

import signal
import socket
from contextlib import suppress

import pytest

from canter.testing import serve


@pytest.mark.parametrize("worker_class", ["sync", "gthread", "gevent"])
def test_a_request_that_runs_is_cut_without_a_traceback(worker_class, here) -> None:
    with (
        serve("apps:hanging", worker_class, cwd=here, accesslog="-") as server,
        socket.create_connection((server.host, server.port), 30) as client,
    ):
        client.sendall(b"GET /late?s=60 HTTP/1.1\r\nHost: a\r\n\r\n")
        received = b""
        while b"first" not in received:
            received += client.recv(4096)
        server.signal(signal.SIGINT)
        assert server.wait() == 0
        with suppress(ConnectionResetError):
            received += client.recv(4096)
        assert b"second" not in received
        assert "Traceback" not in server.log
