"""The generator against a server that errs on purpose: each kind of error is told by its name."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import threading
import time

import pytest

from canter.bench import Load, Target, run_load
from canter.bench.background import Dribbler
from canter.bench.load import LoadFailed
from canter.bench.plan import PlanError, parse_url
from tests.bench import scripted

SMALL = {"connections": 4, "requests": 40, "duration": 30.0}


def everything(result) -> int:
    return result.answered + result.aborted + result.failed


def test_closed_loop_checks_every_echo() -> None:
    with scripted.serve(scripted.Request.echo) as url:
        result = run_load(f"{url}/echo", method="POST", body=5000, check="echo", **SMALL)
    assert (result.sent, result.answered, result.errors) == (40, 40, {}), result.examples
    assert result.statuses == {"200": 40}
    assert result.latency.count == 40
    assert (result.opened, result.in_flight) == (4, 4)


def test_ids_are_unique() -> None:
    seen: list[str] = []

    def script(request: scripted.Request) -> bytes:
        seen.append(request.ident)
        return request.echo()

    with scripted.serve(script) as url:
        run_load(url, check="echo", **SMALL)
    assert len(set(seen)) == len(seen) == 40


def test_open_loop_sends_at_its_rate() -> None:
    with scripted.serve(scripted.Request.echo) as url:
        result = run_load(f"{url}/echo", check="echo", rate=200, connections=50, duration=1.0, warmup=0.2)
    assert not result.errors, result.examples
    assert 239 <= result.sent <= 241
    assert 195 <= result.latency.count <= 205


def test_open_loop_counts_from_the_intended_time() -> None:
    """A server that stalls once for 400 ms makes some 40 of 100 requests late, not one."""
    stalled = threading.Event()
    lock = threading.Lock()

    def script(request: scripted.Request) -> bytes:
        with lock:
            if not stalled.is_set():
                stalled.set()
                time.sleep(0.4)
        return request.echo()

    with scripted.serve(script) as url:
        result = run_load(url, check="echo", rate=100, connections=1, duration=1.0)
    assert not result.errors, result.examples
    assert result.latency.percentile(75) > 0.1


def test_crosstalk_is_seen() -> None:
    last = ["none"]

    def script(request: scripted.Request) -> bytes:
        mixed, last[0] = last[0], request.ident
        return request.echo(mixed)

    with scripted.serve(script) as url:
        result = run_load(url, check="echo", **SMALL)
    assert result.errors == {"crosstalk": 40}
    assert "instead of" in result.examples["crosstalk"]


def test_a_changed_body_is_seen() -> None:
    def script(request: scripted.Request) -> bytes:
        request.body = request.body[:-1]
        return request.echo()

    with scripted.serve(script) as url:
        result = run_load(url, method="POST", body=100, check="echo", **SMALL)
    assert result.errors == {"body": 40}


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (None, "closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc", "truncated"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\nConnection: close\r\n\r\n", "malformed"),
        (scripted.answer(b"", "503 Service Unavailable"), "status-503"),
        (scripted.answer(b"abc"), "body"),
    ],
)
def test_each_kind_of_error(said: bytes | None, kind: str) -> None:
    with scripted.serve(lambda request: said) as url:
        result = run_load(url, check="length", length=1000, **SMALL)
    assert result.errors == {kind: 40}, result.examples
    assert everything(result) == result.sent == 40


def test_a_dead_server_is_refused_and_not_hammered() -> None:
    with scripted.serve(scripted.Request.echo) as url:
        pass
    result = run_load(url, connections=1, duration=0.5)
    assert set(result.errors) == {"refused"}
    assert result.failed <= 15


def test_time_out() -> None:
    release = threading.Event()

    def script(request: scripted.Request) -> bytes:
        release.wait(30)
        return request.echo()

    with scripted.serve(script) as url:
        result = run_load(url, connections=2, requests=2, duration=30.0, timeout=0.3)
        release.set()
    assert result.errors == {"timeout": 2}


def test_aborting_clients_are_counted_apart() -> None:
    with scripted.serve(scripted.Request.echo) as url:
        result = run_load(url, method="POST", body=2000, check="echo", abort=0.5, **SMALL)
    assert not result.errors, result.examples
    assert result.aborted > 0
    assert everything(result) == result.sent == 40


def test_fresh_connections() -> None:
    with scripted.serve(scripted.Request.echo) as url:
        result = run_load(url, check="echo", fresh=1.0, **SMALL)
    assert not result.errors, result.examples
    assert result.opened == 40


def test_mixed_targets() -> None:
    seen: list[str] = []

    def script(request: scripted.Request) -> bytes:
        seen.append(request.target)
        return request.echo()

    with scripted.serve(script) as url:
        targets = [Target("/slow", check="echo"), Target("/never", weight=0)]
        result = run_load(f"{url}/fast", check="echo", targets=targets, **SMALL)
    assert not result.errors, result.examples
    assert set(seen) == {"/fast", "/slow"}


def test_idle_connections_and_dribblers_beside_the_load() -> None:
    enough = threading.Event()
    slow: list[str] = []

    def script(request: scripted.Request) -> bytes:
        if "x-slow" in request.fields:
            slow.append(request.target)
            enough.set()
        elif request.target == "/" and request.ident != "-":
            enough.wait(30)
        return request.echo()

    with scripted.serve(script) as url:
        result = run_load(url, idle=10, dribblers=2, **SMALL)
    assert not result.errors, result.examples
    assert result.idle_held == 10
    assert slow


async def test_a_dribbler_ends_though_its_cancellation_was_swallowed() -> None:
    """As `wait_for` may do before Python 3.12; it would dribble on, and nothing would ever end."""

    class Swallows(Dribbler):
        async def _once(self) -> None:
            waiting.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    waiting = asyncio.Event()
    load = Load("127.0.0.1", 9, (Target("/"),), dribblers=1)
    dribbler = Swallows(asyncio.get_running_loop(), "127.0.0.1", load, 0)
    await asyncio.wait_for(waiting.wait(), 30)
    assert await asyncio.wait_for(dribbler.close(), 30) == 0


def test_pieces_are_timed_where_that_is_asked_for() -> None:
    with scripted.serve(scripted.Request.echo) as url:
        plain = run_load(f"{url}/a", **SMALL)
        timed = run_load(f"{url}/a", timed=True, **SMALL)
    assert (plain.first.count, timed.first.count) == (0, 40)


def test_events_and_stamps_are_timed() -> None:
    def script(request: scripted.Request) -> bytes:
        stamp = str(time.monotonic_ns()).encode()
        return scripted.answer(stamp if request.target == "/wait" else b"data: " + stamp + b"\n\n")

    with scripted.serve(script) as url:
        stamps = run_load(f"{url}/wait", check="stamp", **SMALL)
        events = run_load(f"{url}/events", check="events", **SMALL)
    assert not stamps.errors and not events.errors
    assert stamps.late.count == events.late.count == events.first.count == 40
    assert stamps.late.max < 30


def test_only_this_machine() -> None:
    with pytest.raises(LoadFailed, match="not this machine"):
        run_load("http://192.0.2.1:9/", duration=0.1)


@pytest.mark.parametrize(
    "settings",
    [{"connections": 0}, {"duration": 0}, {"fresh": 2}, {"rate": -1}, {"arrivals": "odd"}, {"targets": ()}],
)
def test_a_load_that_makes_no_sense(settings: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        Load(**{"host": "127.0.0.1", "port": 1, "targets": (Target(),), **settings})  # type: ignore[arg-type]


def test_a_load_survives_its_json() -> None:
    load = Load("127.0.0.1", 80, (Target("/a", headers=(("A", "b"),)), Target("/b", weight=2)), rate=5)
    assert Load.from_json(load.to_json()) == load


@pytest.mark.parametrize("url", ["https://localhost/", "http://", "http://localhost:99999/"])
def test_urls_that_cannot_be_loaded(url: str) -> None:
    with pytest.raises(PlanError):
        parse_url(url)


def command(*args: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "canter.bench.load", *args]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)


def test_command_line() -> None:
    with scripted.serve(scripted.Request.echo) as url:
        done = command(
            f"{url}/", "-n", "20", "-d", "30", "-H", "X-A: b", "--slow", "0.5:/slow", "--check", "echo"
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answered"] == 20


def test_command_line_errors_are_one_line() -> None:
    done = command("http://127.0.0.1:1/", "-c", "0")
    assert (done.returncode, done.stderr) == (2, "error: at least one connection is needed\n")
