"""The long forms of the faults, and a long day: `make soak`."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from canter.bench.load import run_load
from canter.bench.plan import Target

from .conftest import Begin, House, is_alive, told, until, workers
from .test_faults import broken_reload, broken_upgrade, more_and_fewer, reload, upgrade

pytestmark = pytest.mark.soak


def test_twenty_reloads(house: Begin) -> None:
    with house() as it:
        it.load(seconds=45)
        for _ in range(20):
            reload(it)
            time.sleep(2)
        for _ in range(5):
            broken_reload(it)
        it.nothing_lost()


def test_ten_upgrades(house: Begin) -> None:
    with house() as it:
        it.load(seconds=60)
        for _ in range(3):
            broken_upgrade(it)
            until(lambda: len(workers(it.server.pid)) == 2)
        master = it.server.pid
        for _ in range(7):
            master = upgrade(it, master)
        it.nothing_lost()
        os.kill(master, signal.SIGTERM)
        until(lambda: not is_alive(master))


def test_twenty_times_more_and_fewer_workers(house: Begin) -> None:
    with house() as it:
        it.load(seconds=45)
        more_and_fewer(it, 20)
        it.nothing_lost()


def test_recycling_over_a_hundred_thousand_requests(house: Begin) -> None:
    with house(max_requests=500) as it:
        post = Target("/echo", method="POST", body=16384, check="echo", weight=0.1)
        given = {"requests": 100_000, "connections": 16, "fresh": 0.5, "rate": 1500, "duration": 1200}
        url = f"{it.server.url}/echo"
        result = told(run_load(url, check="echo", targets=[post], timeout=60, **given))
        assert result.errors == {}, (result.errors, result.examples)
        assert result.answered == 100_000
        assert it.server.log.count("is to be replaced: max requests") > 40


def test_scaling_up_and_down(house: Begin) -> None:
    with house(workers="1-3", threads=1) as it:
        for count in range(1, 6):
            it.load(seconds=12, rate=40)
            it.nothing_lost()
            result = told(run_load(f"{it.server.url}/block?ms=200", connections=48, duration=12, timeout=60))
            assert result.errors == {}, (result.errors, result.examples)
            if it.worker_class in ("sync", "gthread"):
                it.says("scaling up", count)
                it.says("scaling down", count)


def test_a_hundred_killed_workers(house: Begin) -> None:
    with house() as it:
        it.load(seconds=60)
        for _ in range(100):
            victim = min(it.workers())
            os.kill(victim, signal.SIGKILL)
            until(lambda victim=victim: victim not in workers(it.server.pid))
            time.sleep(0.3)
        result = it.result()
        assert result.errors.keys() <= {"closed", "reset", "stale", "truncated"}, result.errors
        assert sum(result.errors.values()) <= 100 * 16, result.errors
        it.workers()


def resident(it: House) -> int:
    """Kilobytes of all workers."""
    page = os.sysconf("SC_PAGE_SIZE")
    sizes = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in it.workers())
    return sum(int(pages) * page // 1024 for pages in sizes)


def test_two_million_requests_leave_nothing_behind(house: Begin) -> None:
    with house() as it:
        targets = (
            Target("/echo", method="POST", body=16384, check="echo", weight=0.1),
            Target("/stream?chunks=4&size=1000", weight=0.1),
        )
        given = {"connections": 32, "fresh": 0.1, "abort": 0.01, "duration": 7200, "timeout": 60}
        url = f"{it.server.url}/echo"
        run_load(url, check="echo", targets=targets, requests=100_000, **given)  # warm
        before = resident(it)
        result = told(run_load(url, check="echo", targets=targets, requests=2_000_000, **given))
        grown = resident(it) - before
        assert result.errors == {}, (result.errors, result.examples)
        print(f"{before} KB before, {grown} KB more after 2,000,000 requests")
        assert grown < 2000, f"{grown} KB more after 2,000,000 requests"
