"""Two workers each get work."""

from __future__ import annotations

import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from canter.testing import serve

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def ask(server, times):
    """Answers' pids, over one connection that is kept where the server keeps it."""
    pids = []
    client = None
    for _ in range(times):
        client = client or socket.create_connection((server.host, server.port), 60)
        client.sendall(REQUEST)
        head, _, body = client.recv(65536).partition(b"\r\n\r\n")
        pids.append(body)
        if b"Connection: close" in head:
            client.close()
            client = None
    if client:
        client.close()
    return pids


@pytest.mark.parametrize("worker_class", ["sync", "gthread"])
def test_neither_of_two_workers_answers_more_than_65_percent(worker_class, here):
    """Under a load of 64 connections (issue: at most 65 %)."""
    with (
        serve("apps:hanging", worker_class, cwd=here, workers=2, threads=4) as server,
        ThreadPoolExecutor(64) as pool,
    ):
        while len({pid for pids in pool.map(lambda _: ask(server, 1), range(64)) for pid in pids}) < 2:
            pass  # one is still booting
        found = Counter(pid for pids in pool.map(lambda _: ask(server, 40), range(64)) for pid in pids)
    assert sum(found.values()) == 64 * 40
    assert len(found) == 2
    assert max(found.values()) <= 0.65 * 64 * 40
