"""A class that breaks the contract gets a line that says how, at boot or as soon as it shows."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from canter.testing import serve

BROKEN = """
import sys
from canter import Worker
from canter.workers import base

base.FORGOTTEN = 0  # so that the test need not wait

class AsyncRun(Worker):
    async def run(self):
        pass

class NeedsMore(Worker):
    def serve(self, connection, flavour):
        pass

class ReturnsAtOnce(Worker):
    def run(self):
        pass

class ReturnsEarly(Worker):
    def run(self):
        for connection in self.accept():
            self.stop()
            return

class NeverServes(Worker):
    def run(self):
        for connection in self.accept():
            pass

class ServesTwice(Worker):
    def run(self):
        for connection in self.accept():
            self.serve(connection)
            self.serve(connection)
"""


@pytest.fixture
def where(tmp_path: Path) -> Path:
    (tmp_path / "broken.py").write_text(BROKEN)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("AsyncRun", r"broken:AsyncRun: run\(\) is async, but is called as a plain function"),
        ("NeedsMore", r"broken:NeedsMore: serve\(\) must take self and 1 more"),
    ],
)
def test_at_boot(where: Path, name: str, line: str) -> None:
    with serve("canter.contract_app:app", f"broken:{name}", cwd=where) as server:
        server.wait_log(line)
        assert server.wait() == 2


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("ReturnsAtOnce", r"ReturnsAtOnce\.run\(\) returned, though this worker was not told to stop"),
        ("ReturnsEarly", r"ReturnsEarly\.run\(\) returned before accept\(\) ended"),
        ("NeverServes", r"NeverServes: nobody called serve\(\)"),
        ("ServesTwice", r"serve\(\) is for a connection that accept\(\) gave, and for each of them once"),
    ],
)
def test_when_it_shows(where: Path, name: str, line: str) -> None:
    with serve("canter.contract_app:app", f"broken:{name}", cwd=where) as server:
        with socket.create_connection((server.host, server.port)) as client:
            client.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
            server.wait_log(line)
        server.kill()
