"""The access log of a running server: it moves with its file when the server is told so."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.policy import get
from tests.wire.conftest import Family
from tests.wire.dialogue import Client, wait_for


def test_usr1_reopens_the_access_log(worker: Family, tmp_path: Path) -> None:
    path, old = tmp_path / "access", tmp_path / "access.1"
    with worker.fresh(accesslog=str(path)) as server, Client(server) as client:
        assert client.ask(get(target=b"/first")).status == 200
        wait_for(lambda: "/first" in path.read_text())
        path.rename(old)
        server.signal(signal.SIGUSR1)
        wait_for(path.exists, "the worker opens a new file")
        assert client.ask(get(b"Connection: close", target=b"/second")).status == 200
        wait_for(lambda: "/second" in path.read_text())
    assert "/second" not in old.read_text()
