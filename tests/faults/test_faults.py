"""What operators and accidents do to a server, and that its clients do not notice."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from canter.bench.load import run_load
from canter.bench.result import Result
from canter.testing import DEADLINE
from tests.processes import children as workers
from tests.processes import is_alive, until
from tests.programs import needed

from .conftest import WSGI, Begin, House, answer, request, told


def reload(it: House, count: int = 1) -> None:
    for _ in range(count):
        done = it.server.log.count("Reload complete")
        it.server.signal(signal.SIGHUP)
        it.says("Reload complete", done + 1)


def broken_reload(it: House) -> None:
    for text in ("this is no python", "def post_worker_init(worker): raise OSError('no data base')"):
        off = it.server.log.count("Reload called off")
        it.more.write_text(text)
        it.server.signal(signal.SIGHUP)
        it.says("Reload called off", off + 1)
    it.more.write_text("")


def more_and_fewer(it: House, count: int = 1) -> None:
    for _ in range(count):
        ready = it.server.log.count("is ready after")
        ended = len(re.findall(r"ended .*: 2 workers are enough", it.server.log))
        it.server.signal(signal.SIGTTIN)
        it.says("is ready after", ready + 1)
        it.server.signal(signal.SIGTTOU)
        it.says(r"ended [^\n]*: 2 workers are enough", ended + 1)


def upgrade(it: House, old: int) -> int:
    """A new master takes over from the old one; its pid."""
    os.kill(old, signal.SIGUSR2)
    new = int(it.answers(old, r"the new master \(pid:(\d+)\) serves"))
    os.kill(old, signal.SIGTERM)
    until(lambda: not is_alive(old))
    return new


def broken_upgrade(it: House) -> None:
    it.more.write_text("raise SystemExit(1)")
    done = it.server.log.count("this one goes on")
    it.server.signal(signal.SIGUSR2)
    it.says("the new master [^\n]* ended: exit code 1; this one goes on", done + 1)
    it.more.write_text("")


def test_what_an_operator_does_loses_nothing(house: Begin) -> None:
    with house(max_requests=50) as it:
        it.load(seconds=9)
        reload(it, 2)
        broken_reload(it)
        more_and_fewer(it)
        broken_upgrade(it)
        new = upgrade(it, it.server.pid)
        it.nothing_lost()
        os.kill(new, signal.SIGTERM)
        until(lambda: not is_alive(new))
        assert "is to be replaced: max requests" in it.server.log


BEGUN = """
import os
begun = os.open({path!r}, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
def pre_request(worker, request):
    os.write(begun, b".")
"""


def test_a_stop_finishes_what_is_in_flight(house: Begin, tmp_path: Path) -> None:
    """200 requests of 2 s, on threads, greenlets and tasks, and what waits in the accept queue."""
    begun = tmp_path / "begun"
    with house(threads=100, config=BEGUN.format(path=str(begun))) as it:
        count = 2 if it.worker_class == "sync" else 200
        clients = it.crowd(count, "/echo?ms=2000")
        until(lambda: begun.stat().st_size == count, "all are in flight")
        clients += it.crowd(20, "/")
        it.server.signal(signal.SIGTERM)
        answers = [answer(client) for client in clients]
        for client in clients:
            client.close()
        assert [each[:13] for each in answers] == [b"HTTP/1.1 200 "] * (count + 20)
        print(it.answers(it.server.pid, r"stopping .* requests in flight"))
        assert it.server.wait() == 0


def test_killed_workers_are_replaced_and_only_their_connections_suffer(house: Begin) -> None:
    with house() as it:
        it.load(seconds=4)
        for _ in range(2):
            kill(it, oldest(it.workers()))
            it.workers()
        killed_at_most(2 * 16, it.result())


def oldest(pids: Iterable[int]) -> int:
    """Numbers of processes begin again at the end of their range."""
    return min(pids, key=lambda pid: int(fields_of(pid)[19]))


def fields_of(pid: int) -> list[str]:
    """What /proc/PID/stat says, from the state (field 3) on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def kill(it: House, victim: int) -> None:
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in workers(it.server.pid))


def killed_at_most(number: int, result: Result) -> None:
    """Nothing is lost but what the victims held: so many connections at most."""
    cut = sum(result.errors.values())
    assert result.errors.keys() <= {"closed", "reset", "stale", "truncated"}, result.errors
    assert cut <= number, (result.errors, result.examples)
    assert result.answered + cut == result.sent


@pytest.mark.parametrize("reuse_port", [False, True], ids=["one socket", "a socket each"])
def test_the_accept_queue_outlives_all_workers(house: Begin, reuse_port: bool) -> None:
    with house(reuse_port=reuse_port, timeout=0) as it:
        victims = it.workers()
        for victim in victims:
            os.kill(victim, signal.SIGSTOP)
            until(lambda victim=victim: set(states(victim)) == {"T"}, "it stands still")
        clients = it.crowd(40, "/")  # nobody accepts them
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        for client in clients:
            with client:
                assert answer(client).startswith(b"HTTP/1.1 200 ")
        assert not victims & it.workers()


def states(pid: int) -> list[str]:
    """Of each thread of a process."""
    found = Path(f"/proc/{pid}/task").glob("*/stat")
    return [each.read_text().rpartition(")")[2].split()[0] for each in found]


def test_a_stopped_worker_is_replaced(house: Begin) -> None:
    """At once: it could not say where it hangs."""
    with house(timeout=2) as it:
        victim = min(it.workers())
        os.kill(victim, signal.SIGSTOP)
        it.says(rf"WORKER TIMEOUT \(pid:{victim}\): no sign of life for")
        it.says(rf"worker \(pid:{victim}\) is killed: no sign of life for .*; it is stopped")
        until(lambda: victim not in workers(it.server.pid))
        it.workers()


def test_a_killed_master_leaves_nobody_and_a_free_port(house: Begin) -> None:
    """Not even a worker whose application does not come back."""
    with house() as it:
        orphans = it.workers()
        (client,) = it.crowd(1, "/block?ms=100000")
        it.ask()
        os.kill(it.server.pid, signal.SIGKILL)
        until(lambda: not any(map(is_alive, orphans)), "the workers leave")
        client.close()
        socket.create_server((it.server.host, it.server.port)).close()


def test_a_busy_server_grows_and_loses_nothing(house: Begin) -> None:
    with house(workers="1-2", worker_connections=16) as it:
        grow(it, seconds=4)
        it.workers(2)


def grow(it: House, seconds: float) -> None:
    """Give it more to do than its workers can, until it has grown."""
    grown = it.said("scaling up: .* slots busy, requests waited")
    deadline = time.monotonic() + DEADLINE
    while it.said("scaling up: .* slots busy, requests waited") == grown:
        assert time.monotonic() < deadline, "it does not grow"
        url = f"{it.server.url}/echo?ms=200"
        result = told(run_load(url, check="echo", connections=48, fresh=1.0, duration=seconds, timeout=60))
        assert result.errors == {}, (result.errors, result.examples)


def test_a_full_disk_loses_no_request(house: Begin) -> None:
    with house(accesslog="/dev/full") as it:
        it.load(seconds=1)
        it.nothing_lost()


def test_a_closed_standard_error_loses_no_request(worker_class: str, tmp_path: Path) -> None:
    launcher = (
        "import os, sys; os.close(2); os.close(0); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    path = tmp_path / "socket"
    options = ["-k", worker_class, "-b", f"unix:{path}"]
    with subprocess.Popen([sys.executable, "-c", launcher, "-m", "canter", *options, WSGI]) as process:
        try:
            until(path.exists)
            for _ in range(20):
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(60)
                    client.connect(str(path))
                    client.sendall(request("/"))
                    assert answer(client).endswith(b"\r\n\r\nHello, world!")
        finally:
            process.terminate()
        assert process.wait(60) == 0


DAY = timedelta(days=1)


def test_a_clock_that_is_set_loses_nothing(house: Begin, tmp_path: Path) -> None:
    """A day on, a day back: no request is lost, and no worker taken for dead."""
    needed("faketime")
    clock = tmp_path / "clock"
    set_clock(clock, "+0")
    with house(env=fake_clock(clock), timeout=10) as it:
        before = it.workers()
        it.load(seconds=4, slow_share=0)  # libfaketime breaks sleep()
        for jump, days in (("+1d", 1), ("-1d", -1), ("+0", 0)):
            set_clock(clock, jump)
            until(lambda days=days: abs(date_of(it) - datetime.now(timezone.utc) - days * DAY) < DAY / 2)
        it.nothing_lost()
        assert it.workers() == before
        assert it.said("WORKER TIMEOUT|did not run for") == 0


def fake_clock(file: Path) -> dict[str, str]:
    """The environment of a server whose wall clock goes as the file says."""
    library = subprocess.check_output(["faketime", "-m", "-f", "+0", "printenv", "LD_PRELOAD"], text=True)
    return {
        "LD_PRELOAD": library.strip(),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def set_clock(file: Path, jump: str) -> None:
    """Never half written."""
    file.with_suffix(".new").write_text(jump)
    file.with_suffix(".new").rename(file)


def date_of(it: House) -> datetime:
    """The server's idea of the date."""
    (found,) = re.findall(rb"\r\nDate: (.*)\r\n", it.ask())
    return parsedate_to_datetime(found.decode())


def test_few_descriptors_and_many_connections(house: Begin) -> None:
    """No spin, no exit, and all is well when the connections have gone."""
    with house(worker_connections=1000) as it:
        with crowded(it, 300):
            assert any(share_of_a_core(it, 1) < 0.5 for _ in range(5)), "its workers spin"
        it.load(seconds=1)
        it.nothing_lost()
        assert len(it.workers()) == 2


@contextmanager
def crowded(it: House, crowd: int) -> Iterator[None]:
    """While there are more connections than the workers have descriptors."""
    for pid in it.workers():
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, 64))
    clients = [it.connect() for _ in range(crowd)]
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\n")  # the kernel holds back those that say nothing
    it.says("accept failed: Too many open files; pausing")
    yield
    for client in clients:
        client.close()


def share_of_a_core(it: House, seconds: float) -> float:
    """What the workers use."""
    before, began = cpu(it.workers()), time.monotonic()
    time.sleep(seconds)
    share = (cpu(it.workers()) - before) / (time.monotonic() - began)
    print(f"{share:.1%} of a core")
    return share


def cpu(pids: Iterable[int]) -> float:
    """Seconds of processor time that processes, and the children they have buried, have used."""
    ticks = 0
    for pid in pids:
        ticks += sum(map(int, fields_of(pid)[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def test_a_crash_at_import_is_tried_again_ever_more_slowly(tmp_path: Path) -> None:
    (tmp_path / "crashing.py").write_text("import os\nos._exit(1)\n")
    options = ["-b", "127.0.0.1:0", "-w", "4", "--boot-retries", "3"]
    command = [sys.executable, "-m", "canter", *options, "crashing:app"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 3
    assert done.stderr.count("Booting worker") <= 4 + 3
    assert "giving up: 4 failed boots in a row" in done.stderr
