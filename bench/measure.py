"""One server under one load, once: a dictionary of figures. Used by `cost` in turns.

The server has core 0 for itself, the load core 1. CPU time is what all of the
server's processes used between the first request of the load and the last answer,
divided by the answers. Every server first has to prove that it answers right: one
that sends something else, or holds back what it was asked to stream, is out.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from canter.bench import apps, hello, load, wrk
from canter.bench.hold import held
from canter.bench.peers import Environment, Peer
from canter.bench.plan import Load, Target
from canter.bench.server import Server, ServerFailed, Usage, free_port, get

SERVER_CPU, LOAD_CPU = 0, 1
MIB = 1024 * 1024
ACKNOWLEDGED = 0.04  # seconds: a client acknowledges after that at the latest (TCP_DELACK_MIN of Linux)
Figures = dict[str, float]


class Wrong(RuntimeError):
    """The server does not answer as it should; the text is one line that says how."""


@dataclass(frozen=True)
class Scenario:
    """What is asked of the servers in turn, and how that is measured."""

    name: str
    title: str
    servers: tuple[str, ...]
    kind: str = "cost"
    """``cost`` (wrk), ``idle`` (wrk beside idle connections), ``polls`` or ``messages`` (our generator)."""
    path: str = "/"
    hello: bool = True
    """The smallest applications; else those with paths."""
    check: str = "hello"
    headers: tuple[str, ...] = wrk.BROWSER
    connections: int = 32
    body: int = 0
    threads: int = 0
    """Threads of each server (0: its own number)."""
    access_log: bool = False
    notes: str = ""


@dataclass
class Bench:
    """Where the servers are and how long a load lasts."""

    ours: Environment
    theirs: Environment | None
    folder: Path
    seconds: float = 3.0
    warmup: float = 1.0
    idle: int = 10_000
    polls: int = 10_000
    raw: str = ""
    """The compiled ceiling, once it was asked for."""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def most_connections(self) -> int:
        """What a worker must be allowed to hold."""
        return max(self.idle + 1000, self.polls * 5 // 4)

    def environment(self, peer: Peer) -> Environment:
        """Where `peer` is installed; raises ServerFailed where it is not."""
        home = self.ours if peer.package == "canter" else self.theirs
        if home is None:
            raise ServerFailed("there is no environment with peers in it (make peers)")
        missing = home.missing(peer)
        if missing:
            raise ServerFailed(f"not installed: {', '.join(missing)}")
        self.versions[peer.name] = home.version(peer)
        return home


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A folder with the applications in it, for servers that know nothing of Canter."""
    with tempfile.TemporaryDirectory(prefix="canter-bench-") as folder:
        shutil.copy(apps.__file__, Path(folder) / "bench_apps.py")
        shutil.copy(hello.__file__, Path(folder) / "bench_hello.py")
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        yield Path(folder)


def build_raw(folder: Path) -> str:
    """Compile the raw epoll loop."""
    program = folder / "raw-hello"
    source = Path(__file__).parent / "raw" / "hello.c"
    try:
        subprocess.run(
            ["cc", "-O2", "-o", str(program), str(source)], check=True, capture_output=True, text=True
        )
    except FileNotFoundError:
        raise ServerFailed("there is no C compiler (cc)") from None
    except subprocess.CalledProcessError as error:
        raise ServerFailed(f"cc: {error.stderr.strip().splitlines()[0]}") from None
    return str(program)


def application(peer: Peer, hello: bool) -> str:
    """The name in ``apps`` of what `peer` is to serve."""
    smallest = hello and peer.interface in ("wsgi", "asgi")
    return f"bench_{'hello' if smallest else 'apps'}:{peer.interface}"


def command(bench: Bench, scenario: Scenario, peer: Peer, port: int) -> list[str]:
    """The command line that serves `scenario`."""
    if peer.interface == "raw":
        bench.raw = bench.raw or build_raw(bench.folder)
        return [bench.raw, str(port)]
    if scenario.access_log and not peer.access_log:
        raise ServerFailed("no access log is declared for it")
    home = bench.environment(peer)
    app = application(peer, scenario.hello)
    module, _, name = app.partition(":")
    log = {"log": bench.folder / "access.log"} if scenario.access_log else {}
    return peer.words(
        bin=home.bin,
        python=home.python,
        port=port,
        app=app,
        module=module,
        name=name,
        threads=scenario.threads or peer.threads,
        workers=1,
        connections=bench.most_connections,
        keep=600 if scenario.kind == "idle" else 5,
        **log,
    )


@contextlib.contextmanager
def serving(bench: Bench, scenario: Scenario, peer: Peer) -> Iterator[Server]:
    """The server of one measurement, ready."""
    port = free_port()
    env = {**os.environ, "PYTHONPATH": str(bench.folder), "PYTHONUNBUFFERED": "1"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling would weigh on the memory of whom it meets
    with Server(
        command(bench, scenario, peer, port),
        port,
        env=env,
        cwd=str(bench.folder),
        cpus={SERVER_CPU},
        log=bench.folder / f"{peer.name}.log",
    ) as server:
        yield server


def once(bench: Bench, scenario: Scenario, peer: Peer) -> Figures:
    """One measurement. Raises ServerFailed or Wrong where there is nothing to measure."""
    with serving(bench, scenario, peer) as server:
        try:
            _CHECKS[scenario.check](server.port, scenario)
        except (OSError, http.client.HTTPException) as error:
            raise Wrong(f"{scenario.path}: {error}") from None
        return _KINDS[scenario.kind](bench, scenario, server)


# -- kinds of measurement ----------------------------------------------------------------


def _wrk(scenario: Scenario, server: Server, seconds: float) -> wrk.Counts:
    return wrk.run(
        f"http://127.0.0.1:{server.port}{scenario.path}",
        seconds=seconds,
        connections=scenario.connections,
        headers=scenario.headers,
        body=scenario.body,
        cpu=LOAD_CPU,
    )


def _used(server: Server) -> Usage:
    usage = server.usage()
    if usage is None:
        raise ServerFailed(f"it is gone: {server.log_end()}")
    return usage


def _figures(used: Usage, requests: int, seconds: float) -> Figures:
    if not requests:
        raise Wrong("no request was answered")
    return {
        "user": used.user / requests * 1e6,
        "system": used.system / requests * 1e6,
        "us": used.total / requests * 1e6,
        "rate": requests / seconds,
        "busy": used.total / seconds,
    }


def _cost(bench: Bench, scenario: Scenario, server: Server) -> Figures:
    _wrk(scenario, server, bench.warmup)
    before = _used(server)
    counts = _wrk(scenario, server, bench.seconds)
    used = _used(server) - before
    if counts.errors > counts.requests // 1000:
        raise Wrong(f"{counts.errors} of {counts.requests} requests failed")
    worker, everything = server.memory()
    figures = _figures(used, counts.requests, counts.seconds)
    return figures | {
        "p50_ms": counts.p50 * 1e3,
        "worker_mib": worker / MIB,
        "all_mib": everything / MIB,
    }


def _idle(bench: Bench, scenario: Scenario, server: Server) -> Figures:
    """The same load without and with idle connections beside it; what one of them weighs."""
    alone = _cost(bench, scenario, server)
    before = server.memory()[1]
    url = f"http://127.0.0.1:{server.port}{scenario.path}"
    with held(url, bench.idle, LOAD_CPU) as idle:
        weight = server.memory()[1] - before
        beside = _cost(bench, scenario, server)
        count = idle.let_go()
    if count < bench.idle:
        raise Wrong(f"{count} of {bench.idle} idle connections were held ({idle.count} could be opened)")
    return beside | {
        "alone_us": alone["us"],
        "idle_ratio": beside["us"] / alone["us"],
        "idle_kib": weight / count / 1024,
    }


def _polls(bench: Bench, _scenario: Scenario, server: Server) -> Figures:
    """Thousands of long polls at a set rate; how late each is woken, and what a waiting one weighs."""
    wait = 10.0
    before = server.memory()[1]
    target = Target(f"/wait?ms={wait * 1000:.0f}", check="stamp")
    process = load.start(
        Load(
            "127.0.0.1",
            server.port,
            (target,),
            connections=bench.polls * 5 // 4,
            rate=bench.polls / wait,
            warmup=wait + 1,
            duration=max(bench.seconds, 5.0),
            timeout=wait + 30,
            cpu=LOAD_CPU,
        )
    )
    try:
        time.sleep(wait + 2)
        weight = server.memory()[1] - before
        used = _used(server)
    finally:
        result = load.finish(process)
    if result.errors:
        raise Wrong(f"{result.failed} of {result.sent} long polls failed: {result.examples}")
    return {
        "rate": result.rate,
        "us": used.total / (bench.polls / wait * (wait + 2)) * 1e6,
        "wake_p50_ms": result.late.percentile(50) * 1e3,
        "wake_p99_ms": result.late.percentile(99) * 1e3,
        "waiting_kib": weight / bench.polls / 1024,
        "lag_p99_ms": result.lag.percentile(99) * 1e3,
    }


def _messages(bench: Bench, scenario: Scenario, server: Server) -> Figures:
    """WebSocket echoes."""
    target = Target("/", check="websocket", body=64)
    before = _used(server)
    result = load.run(
        Load(
            "127.0.0.1",
            server.port,
            (target,),
            connections=scenario.connections,
            duration=bench.seconds,
            cpu=LOAD_CPU,
        )
    )
    used = _used(server) - before
    if result.errors:
        raise Wrong(f"{result.failed} of {result.sent} messages failed: {result.examples}")
    return _figures(used, result.answered, result.seconds) | {"generator": result.cpu}


_KINDS: dict[str, Callable[[Bench, Scenario, Server], Figures]] = {
    "cost": _cost,
    "idle": _idle,
    "polls": _polls,
    "messages": _messages,
}


# -- checks of the answer ------------------------------------------------------------------


def _expect(port: int, path: str, wanted: bytes) -> None:
    status, body = get(port, path)
    if status != 200 or body != wanted:
        raise Wrong(f"{path} is answered with {status} and {body[:60]!r}")


def _check_hello(port: int, scenario: Scenario) -> None:
    _expect(port, scenario.path, apps.HELLO)


def _check_download(port: int, scenario: Scenario) -> None:
    _expect(port, scenario.path, bytes(MIB))


def _check_upload(port: int, scenario: Scenario) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", scenario.path, b"x" * scenario.body)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != 200 or body != str(scenario.body).encode():
        raise Wrong(f"an upload is answered with {answer.status} and {body[:60]!r}")


def _check_stream(port: int, scenario: Scenario) -> None:
    """A chunk leaves before the next is asked for: of two with a pause between, one comes early.

    Of many without a pause none waits until the client acknowledges the one before (Nagle).
    """
    _expect(port, scenario.path, b"s" * (16 * 4096))
    request = b"GET /stream?chunks=2&size=4096&ms=400 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(request)
        received, first = b"", 0.0
        while data := sock.recv(65536):
            received += data
            if not first and received.count(b"s" * 1024):
                first = time.monotonic()
        last = time.monotonic()
    if last - first < 0.2:
        raise Wrong("it holds back what it is asked to stream")
    if median(_stream_seconds(port, scenario.path, 7)) > ACKNOWLEDGED / 2:
        raise Wrong("it holds pieces of a stream back until the client acknowledges those before")


def _stream_seconds(port: int, path: str, times: int) -> Iterator[float]:
    """How long an answer takes on a connection that is kept."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        for _ in range(times):
            began = time.monotonic()
            connection.request("GET", path)
            connection.getresponse().read()
            yield time.monotonic() - began


def _check_wait(port: int, _scenario: Scenario) -> None:
    status, body = get(port, "/wait?ms=1")
    if status != 200 or not body.isdigit():
        raise Wrong(f"a long poll is answered with {status} and {body[:60]!r}")


def _check_nothing(port: int, _scenario: Scenario) -> None:
    """Messages are compared one by one while they are counted."""


_CHECKS: dict[str, Callable[[int, Scenario], None]] = {
    "hello": _check_hello,
    "download": _check_download,
    "upload": _check_upload,
    "stream": _check_stream,
    "wait": _check_wait,
    "nothing": _check_nothing,
}
