"""What others did meanwhile, told from figures that the test makes up."""

from __future__ import annotations

import os

import pytest

from canter.bench import neighbours
from canter.bench.neighbours import Neighbours


def seen(monkeypatch: pytest.MonkeyPatch, *, busy: float, ours: float, stolen: float) -> list[str]:
    """The notes after ten seconds in which the processors were busy for so long."""
    clock = iter((100.0, 110.0))
    processors = iter(((1000.0, 5.0), (1000.0 + busy, 5.0 + stolen)))
    used = iter((3.0, 3.0 + ours))
    monkeypatch.setattr("canter.bench.neighbours.monotonic", lambda: next(clock))
    monkeypatch.setattr(neighbours, "_processors", lambda: next(processors))
    monkeypatch.setattr(neighbours, "_ours", lambda: next(used))
    return Neighbours().notes()


def test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen(monkeypatch, busy=19, ours=18, stolen=0) == []


def test_beside_others(monkeypatch: pytest.MonkeyPatch) -> None:
    notes = seen(monkeypatch, busy=19, ours=12, stolen=2.0 * (os.cpu_count() or 1))
    assert notes == [
        "other programs kept 0.7 cores busy meanwhile: rates may be too low",
        "the hypervisor took 20% of the processors' time: rates may be too low",
    ]


def test_where_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_STAT", neighbours._STAT / "nothing")
    assert Neighbours().notes() == []


@pytest.mark.skipif(not neighbours._STAT.exists(), reason="there is no /proc/stat")
def test_this_machine_tells() -> None:
    found = neighbours._processors()
    assert found is not None
    assert found[0] > 0
    assert neighbours._ours() > 0
