"""Load with ids and hashes: every answer is the right one's, none is lost, whoever leaves meanwhile.

The short form of what `make soak` does at length. Each request has an id and a body of
its own; the application answers with the id, the length and the hash, and the generator
compares every octet. One request in twenty is given up by its client at some point.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from canter.bench import Target, run_load
from canter.testing import Server
from tests.wire.conftest import Family
from tests.wire.dialogue import wait_for

pytestmark = pytest.mark.plain
ECHO = {"method": "POST", "check": "echo"}
TARGETS = (
    Target("/echo", body=200_000, weight=0.1, **ECHO),
    Target("/echo", body=3000, chunked=True, weight=0.3, **ECHO),
    Target("/download?size=300000", check="length", length=300_000, weight=0.1),
    Target("/echo?ms=20", check="echo", weight=0.1),
    Target("/stream?chunks=10&size=1000", check="length", length=10_000, weight=0.2),
)


def load(server: Server, requests: int, **settings: Any) -> None:
    result = run_load(
        f"{server.url}/echo",
        targets=TARGETS,
        body=500,
        requests=requests,
        duration=3600,
        connections=24,
        fresh=0.1,
        abort=0.05,
        timeout=120,
        **ECHO,
        **settings,
    )
    assert not result.errors, result.examples
    assert result.answered + result.aborted == result.sent == requests
    assert result.aborted > 0


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.fixture
def loaded(worker: Family) -> Any:
    with worker.fresh("canter.bench.apps:wsgi", threads=8, loglevel="info") as server:
        yield server


def test_no_cross_talk_and_none_lost(loaded: Server) -> None:
    pid = int(loaded.wait_log(r"Booting worker with pid: (\d+)")[1])
    load(loaded, 200)  # once it serves it has opened what it needs
    before = descriptors(pid)
    load(loaded, 2000, dribblers=5)
    wait_for(lambda: descriptors(pid) <= before, "all descriptors are closed again")
    assert loaded.log.count("Booting worker") == 1
    assert "Traceback" not in loaded.log


@pytest.mark.soak
def test_at_length(loaded: Server) -> None:
    load(loaded, 200_000, dribblers=50)
