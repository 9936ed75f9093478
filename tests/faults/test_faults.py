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
from pathlib import Path

import pytest

from .conftest import WSGI, Begin, House, is_alive, open_house, until, workers


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
    with house(max_requests=150) as it:
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


def test_a_stop_finishes_what_is_in_flight(house: Begin) -> None:
    with house() as it:
        count = 2 if it.worker_class == "sync" else 16
        clients = [connect(it) for _ in range(count)]
        for client in clients:
            client.sendall(b"GET /block?ms=1500 HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.5)  # most of them are in flight; those that are not are answered just the same
        it.server.signal(signal.SIGTERM)
        for client in clients:
            with client:
                assert answer(client).startswith(b"HTTP/1.1 200 ")
        assert it.server.wait() == 0


def connect(it: House) -> socket.socket:
    return socket.create_connection((it.server.host, it.server.port), timeout=60)


def answer(client: socket.socket) -> bytes:
    octets = b""
    while received := client.recv(65536):
        octets += received
    return octets


def test_killed_workers_are_replaced_and_only_their_connections_suffer(house: Begin) -> None:
    with house() as it:
        it.load(seconds=6)
        for _ in range(3):
            victim = min(it.workers())
            os.kill(victim, signal.SIGKILL)
            until(lambda victim=victim: victim not in workers(it.server.pid))
            it.workers()
        result = it.result()
        cut = sum(result.errors.values())
        assert result.errors.keys() <= {"closed", "reset", "stale", "truncated"}, result.errors
        assert cut <= 3 * 16, (result.errors, result.examples)  # what the victims held, at most
        assert result.answered + cut == result.sent


def test_a_stopped_worker_is_replaced(house: Begin) -> None:
    with house(timeout=2) as it:
        victim = min(it.workers())
        os.kill(victim, signal.SIGSTOP)
        it.says(rf"WORKER TIMEOUT \(pid:{victim}\): no sign of life for")
        until(lambda: victim not in workers(it.server.pid))
        it.workers()


# -- whatever the worker class is ------------------------------------------------------


@pytest.fixture
def threads(tmp_path: Path) -> Begin:
    return lambda app="", **settings: open_house("gthread", tmp_path, app, **settings)


def test_a_full_disk_loses_no_request(threads: Begin) -> None:
    with threads(accesslog="/dev/full") as it:
        it.load(seconds=3)
        it.nothing_lost()


def test_a_closed_standard_error_loses_no_request(tmp_path: Path) -> None:
    launcher = (
        "import os, sys; os.close(2); os.close(0); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    path = tmp_path / "socket"
    command = [sys.executable, "-c", launcher, "-m", "canter", "-b", f"unix:{path}", WSGI]
    with subprocess.Popen(command) as process:
        try:
            until(path.exists)
            for _ in range(20):
                with socket.socket(socket.AF_UNIX) as client:
                    client.settimeout(60)
                    client.connect(str(path))
                    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    assert answer(client).endswith(b"\r\n\r\nHello, world!")
        finally:
            process.terminate()
        assert process.wait(60) == 0


def test_few_descriptors_and_many_connections(threads: Begin) -> None:
    """No spin, no exit, and all is well when the connections have gone."""
    with threads(worker_connections=1000) as it:
        for pid in it.workers():
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, 64))
        crowd = [connect(it) for _ in range(300)]
        before, began = cpu(it), time.monotonic()
        time.sleep(3)
        share = (cpu(it) - before) / (time.monotonic() - began)
        for client in crowd:
            client.close()
        assert share < 0.5, f"{share:.0%} of a core while nothing could be done"
        it.load(seconds=2)
        it.nothing_lost()
        assert len(it.workers()) == 2


def cpu(it: House) -> float:
    """Seconds of processor time that the workers have used."""
    ticks = 0
    for pid in workers(it.server.pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def test_a_crash_at_import_is_tried_again_ever_more_slowly(tmp_path: Path) -> None:
    (tmp_path / "crashing.py").write_text("import os\nos._exit(1)\n")
    options = ["-b", "127.0.0.1:0", "-w", "4", "--boot-retries", "3"]
    command = [sys.executable, "-m", "canter", *options, "crashing:app"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 3
    assert done.stderr.count("Booting worker") <= 4 + 3
    assert "giving up: 4 failed boots in a row" in done.stderr
