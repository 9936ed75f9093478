"""The long forms of the faults, and a long day: `make soak`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from canter.bench.load import run_load
from canter.bench.plan import Target
from tests.processes import children as workers
from tests.processes import is_alive, until

from .conftest import Begin, House, request, told
from .test_faults import (
    BEGUN,
    broken_reload,
    broken_upgrade,
    cpu,
    crowded,
    grow,
    kill,
    killed_at_most,
    more_and_fewer,
    oldest,
    reload,
    share_of_a_core,
    upgrade,
)

pytestmark = pytest.mark.soak


def test_twenty_reloads(house: Begin) -> None:
    with house() as it:
        it.load(seconds=45, rate=it.half)
        for _ in range(20):
            reload(it)
            time.sleep(2)
        for _ in range(5):
            broken_reload(it)
        it.nothing_lost()


def test_ten_upgrades(house: Begin) -> None:
    with house() as it:
        it.load(seconds=60, rate=it.half)
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
        it.load(seconds=45, rate=it.half)
        more_and_fewer(it, 20)
        it.nothing_lost()


def test_a_socket_for_each_worker(house: Begin) -> None:
    """`--reuse-port`: successors inherit, siblings drain, a new master takes over."""
    with house(max_requests=50, reuse_port=True) as it:
        it.load(seconds=12)
        reload(it, 2)
        more_and_fewer(it, 2)
        new = upgrade(it, it.server.pid)
        it.nothing_lost()
        os.kill(new, signal.SIGTERM)
        until(lambda: not is_alive(new))


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
    with house(workers="1-3", worker_connections=16) as it:
        for _ in range(5):
            shrunk = it.said("scaling down: .* slots busy, requests waited")
            grow(it, seconds=6)
            it.load(seconds=18, rate=40)
            it.nothing_lost()
            it.says("scaling down: .* slots busy, requests waited", shrunk + 1)


def test_a_hundred_killed_workers(house: Begin) -> None:
    """One every 300 ms; each is followed within a second by one that is ready."""
    with house() as it:
        it.load(seconds=60)
        longest = 0.0
        for count in range(1, 101):
            kill(it, oldest(it.workers()))
            began = time.monotonic()
            it.says(r"worker \d+ is ready", 2 + count)
            longest = max(longest, time.monotonic() - began)
            time.sleep(max(0.0, 0.3 - (time.monotonic() - began)))
        print(f"ready again after {longest:.2f} s at most")
        killed_at_most(100 * 16, it.result())
        it.workers()
        assert longest < 1


def test_a_stopped_worker_is_replaced_in_time(house: Begin) -> None:
    with house(timeout=3) as it:
        for count in range(1, 4):
            began = time.monotonic()
            os.kill(min(it.workers()), signal.SIGSTOP)
            it.says(r"worker \d+ is ready", 2 + count)
            took = time.monotonic() - began
            print(f"replaced after {took:.2f} s")
            assert took < 3 + 1


def test_workers_leave_a_killed_master_in_time(house: Begin) -> None:
    with house() as it:
        orphans = it.workers()
        (client,) = it.crowd(1, "/block?ms=100000")
        it.ask()
        began = time.monotonic()
        os.kill(it.server.pid, signal.SIGKILL)
        until(lambda: not any(map(is_alive, orphans)))
        took = time.monotonic() - began
        client.close()
        print(f"gone after {took:.2f} s")
        assert took < 2


@pytest.mark.parametrize("path", ["/sleep", "/lock", "/spin"])
@pytest.mark.parametrize("app", ["hanging", "hanging_task"])
def test_a_hung_request_is_answered_in_time(
    house: Begin, worker_class: str, path: str, app: str, tmp_path: Path
) -> None:
    """Within 3 s where it may take 2; requests of the other worker go on."""
    if app == "hanging_task" and worker_class not in ("asyncio", "tornado"):
        pytest.skip(f"{worker_class} serves no ASGI application")
    begun = tmp_path / "begun"
    given = {"cwd": Path(__file__).parents[1] / "core", "config": BEGUN.format(path=str(begun))}
    with house(f"apps:{app}", request_timeout=2, **given) as it, it.connect() as hung:
        began = time.monotonic()
        hung.sendall(request(f"{path}?s=60"))
        until(lambda: begun.stat().st_size, "it hangs")
        hung.settimeout(0.001)
        answered = b""
        while not answered:
            assert it.ask().startswith(b"HTTP/1.1 200 ")
            with suppress(TimeoutError):
                answered = hung.recv(65536)
        took = time.monotonic() - began
        assert answered.startswith(b"HTTP/1.1 504 ")
        print(f"answered with 504 after {took:.2f} s")
        assert took < 3
        it.says(r"apps\.py\", line \d+, in (hanging|spin)")


def test_a_crash_at_import_for_a_minute(tmp_path: Path) -> None:
    """At most 30 forks, and less than 5 % of a core."""
    (tmp_path / "crashing.py").write_text("import os\nos._exit(1)\n")
    options = ["-b", "127.0.0.1:0", "-w", "2", "--boot-retries", "1000"]
    command = [sys.executable, "-m", "canter", *options, "crashing:app"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(60)
        share = cpu([process.pid]) / 60
        process.terminate()
        _, log = process.communicate(timeout=60)
    forks = log.count("Booting worker")
    print(f"{forks} forks, {share:.1%} of a core")
    assert 5 <= forks <= 30
    assert share < 0.05


def test_few_descriptors_for_a_minute(house: Begin) -> None:
    with house(worker_connections=1000) as it:
        before = it.workers()
        with crowded(it, 500):
            assert share_of_a_core(it, 60) < 0.2
        time.sleep(5)
        it.load(seconds=5)
        it.nothing_lost()
        assert it.workers() == before


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
