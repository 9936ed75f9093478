"""How many workers: soon more, late fewer, never swinging."""

from __future__ import annotations

import threading

import pytest

from canter.master.autoscale import DOWN_AFTER, SAMPLE, SECOND, UP_AFTER, Change, Sample, Scaler

from .conftest import ask, settled


class Day:
    """A server of workers with ten slots each, and a load."""

    def __init__(self, least: int = 2, most: int = 8) -> None:
        self.scaler = Scaler(least, most)
        self.target = least
        self.now = self.requests = self.waited = 0
        self.changes: list[Change] = []

    def work(self, seconds: float, busy: int, wait: float = 0.0) -> list[int]:
        """The targets that came of so many seconds of that load."""
        before = len(self.changes)
        for _ in range(int(seconds * SECOND / SAMPLE)):
            self.now += SAMPLE
            self.requests += 10
            self.waited += int(10 * wait * SECOND)
            figures = (min(busy, self.target * 10), self.target * 10, self.requests, self.waited)
            change = self.scaler.observe(Sample(self.now, self.target, *figures), self.target)
            if change:
                self.changes.append(change)
                self.target = change.target
        return [change.target for change in self.changes[before:]]


def test_a_crowd_gets_more_workers_up_to_the_most() -> None:
    day = Day()
    assert day.work(60, busy=1000) == [3, 4, 5, 6, 7, 8]
    assert day.changes[0].why == "scaling up: 20.0 of 20 slots busy, requests waited 0 ms, over 3 s"


def test_waiting_requests_get_more_workers_though_slots_are_free() -> None:
    day = Day()
    assert day.work(4, busy=5, wait=0.2) == [3]
    assert "requests waited 200 ms" in day.changes[0].why


def test_calm_gets_fewer_workers_late_down_to_the_least() -> None:
    day = Day()
    day.work(60, busy=1000)
    assert day.work(DOWN_AFTER / SECOND / 3, busy=1) == []
    assert day.work(120, busy=1) == [7, 6, 5, 4, 3, 2]
    assert day.changes[-1].why.startswith("scaling down: 1.0 of 30 slots busy")


@pytest.mark.parametrize("busy", range(0, 90, 3))
def test_a_constant_load_finds_its_number_and_stays(busy: int) -> None:
    day = Day()
    day.work(300, busy)
    assert day.work(300, busy) == []


def test_a_short_burst_changes_nothing() -> None:
    day = Day()
    for _ in range(20):
        assert day.work(UP_AFTER / SECOND / 2, busy=20) == []
        assert day.work(UP_AFTER / SECOND, busy=2) == []


def test_nothing_is_decided_while_a_worker_boots() -> None:
    scaler = Scaler(1, 4)
    for second in range(100):
        assert scaler.observe(Sample(second * SECOND, 1, 10, 10, second, 0), 2) is None


def test_no_slots_no_decision() -> None:
    assert Scaler(1, 4).observe(Sample(0, 1, 0, 0, 0, 0), 1) is None


def test_a_busy_server_grows(run, tmp_path) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    with run("fakes:busy", workers="1-2", env={"GATE": str(gate)}) as server:
        settled(server, 1)
        client = threading.Thread(target=ask, args=[server])
        client.start()
        server.wait_log(r"2 workers instead of 1, scaling up: \d\.\d of 1 slots busy")
        settled(server, 2)
        gate.unlink()
        client.join()
