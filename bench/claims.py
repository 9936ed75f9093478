"""What Canter claims of its cost, as data, and whether recorded figures bear it out. Pure.

A claim compares one server of ours with the best of some peers (or with a fixed
number). Figures are medians over rounds; a ratio is always "how many times better
than the other", so more is better and `least` is what must be reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

Rounds = Sequence[Mapping[str, float]]
Recorded = Mapping[str, Mapping[str, Rounds]]
"""Scenario -> server -> figures of each round."""

NATIVE = ("freastal", "fastpysgi", "peregrine", "bjoern", "granian")
NATIVE_ASGI = ("freastal-asgi", "fastpysgi-asgi", "peregrine-asgi", "granian-asgi")


@dataclass(frozen=True)
class Claim:
    """`ours` against the best of `peers`, or against `limit`, by `metric`."""

    text: str
    scenario: str
    ours: str
    peers: tuple[str, ...] = ()
    metric: str = "us"
    """A figure of `measure`; less is better, but for ``rate``."""
    least: float = 1.0
    goal: float = 0.0
    limit: float = 0.0
    theirs_in: str = ""
    """The scenario of the peers' figures, where it is another."""


@dataclass(frozen=True)
class Verdict:
    """A claim with its figures."""

    claim: Claim
    ours: float
    theirs: float
    against: str
    ratio: float

    @property
    def held(self) -> bool:
        return self.ratio >= self.claim.least


CLAIMS: tuple[Claim, ...] = (
    Claim("hello, sync: fastest native server", "hello", "canter-sync", NATIVE, least=0.9, goal=1.1),
    Claim("hello, sync: gunicorn sync, which closes", "hello", "canter-sync", ("gunicorn-sync",), least=20),
    Claim("hello, both closing: gunicorn sync", "close", "canter-sync", ("gunicorn-sync",), least=8),
    Claim("hello, sync: raw epoll loop", "hello", "canter-sync", ("raw",), least=0.55, goal=0.7),
    Claim("new connection for each request: best peer", "close", "canter-sync", NATIVE),
    Claim("1 MiB response: best peer", "download", "canter-sync", NATIVE),
    Claim("1 MiB upload: best peer", "upload", "canter-sync", NATIVE),
    Claim("16 x 4 KiB streamed: best peer", "stream", "canter-sync", NATIVE),
    Claim("memory of a worker: gunicorn's", "hello", "canter-sync", ("gunicorn-sync",), "worker_mib"),
    Claim("beside 10,000 idle connections, sync", "idle", "canter-sync", metric="idle_ratio", limit=1.15),
    Claim("memory of an idle connection, sync (KiB)", "idle", "canter-sync", metric="idle_kib", limit=2.5),
    Claim(
        "with an access log: without", "log", "canter-sync", ("canter-sync",), least=0.8, theirs_in="hello"
    ),
    Claim("hello, gthread: fastest native server", "hello", "canter-gthread", NATIVE, least=0.75, goal=1.0),
    Claim("hello: gunicorn gthread", "hello", "canter-gthread", ("gunicorn-gthread",), least=15),
    Claim(
        "20 ms blocking, 64 threads: 3,200/s",
        "block",
        "canter-gthread",
        metric="rate",
        limit=3200,
        least=0.95,
    ),
    Claim("20 ms blocking, 64 threads: granian", "block", "canter-gthread", ("granian",), "rate", least=0.95),
    Claim(
        "beside 10,000 idle connections, gthread",
        "idle",
        "canter-gthread",
        metric="idle_ratio",
        limit=1 / 0.85,
    ),
    Claim("memory of an idle connection, gthread (KiB)", "idle", "canter-gthread", (), "idle_kib", limit=2.5),
    Claim("hello, gevent: fastest native server", "hello", "canter-gevent", NATIVE, least=0.65, goal=1.0),
    Claim("hello: gunicorn gevent", "hello", "canter-gevent", ("gunicorn-gevent",), least=12),
    Claim("ASGI hello: fastest native server", "asgi", "canter-asyncio", NATIVE_ASGI, least=0.85, goal=1.1),
    Claim("ASGI hello: uvicorn", "asgi", "canter-asyncio", ("uvicorn",), least=2.3),
    Claim("ASGI hello: gunicorn asgi", "asgi", "canter-asyncio", ("gunicorn-asgi",), least=4),
    Claim("long polls woken, p99 in ms, gevent", "polls", "canter-gevent", (), "wake_p99_ms", limit=100),
    Claim("long polls woken, p99 in ms, ASGI", "polls", "canter-asyncio", (), "wake_p99_ms", limit=100),
    Claim(
        "long polls woken, p99 in ms, async WSGI", "polls", "canter-async-wsgi", (), "wake_p99_ms", limit=100
    ),
    Claim("memory of a waiting request, gevent (KiB)", "polls", "canter-gevent", (), "waiting_kib", limit=40),
    Claim("memory of a waiting request, ASGI (KiB)", "polls", "canter-asyncio", (), "waiting_kib", limit=16),
    Claim(
        "memory of a waiting request, async WSGI (KiB)",
        "polls",
        "canter-async-wsgi",
        metric="waiting_kib",
        limit=16,
    ),
    Claim(
        "beside 10,000 idle connections, gevent", "idle", "canter-gevent", (), "idle_ratio", limit=1 / 0.85
    ),
    Claim("beside 10,000 idle connections, ASGI", "idle", "canter-asyncio", (), "idle_ratio", limit=1 / 0.85),
    Claim("memory of an idle connection, gevent (KiB)", "idle", "canter-gevent", (), "idle_kib", limit=4),
    Claim("memory of an idle connection, ASGI (KiB)", "idle", "canter-asyncio", (), "idle_kib", limit=6),
    Claim("WebSocket echo, messages a second: uvicorn", "websocket", "canter-asyncio", ("uvicorn",), "rate"),
)


def middle(rounds: Rounds, metric: str) -> float | None:
    """The median of a figure over the rounds that have it."""
    values = [figures[metric] for figures in rounds if metric in figures]
    return median(values) if values else None


def judge(claim: Claim, recorded: Recorded) -> Verdict | None:
    """The verdict on a claim; None where something it needs was not measured."""
    ours = _middle(recorded, claim.scenario, claim.ours, claim.metric)
    if ours is None:
        return None
    more = claim.metric == "rate"
    if claim.limit:
        theirs, against = claim.limit, f"{claim.limit:g}"
    else:
        found = {
            peer: value
            for peer in claim.peers
            if (value := _middle(recorded, claim.theirs_in or claim.scenario, peer, claim.metric)) is not None
        }
        if not found:
            return None
        against = max(found, key=found.__getitem__) if more else min(found, key=found.__getitem__)
        theirs = found[against]
    ratio = ours / theirs if more else theirs / max(ours, 1e-9)
    return Verdict(claim, ours, theirs, against, ratio)


def verdicts(recorded: Recorded, claims: Sequence[Claim] = CLAIMS) -> list[Verdict]:
    """Verdicts on all claims that can be judged."""
    found = (judge(claim, recorded) for claim in claims)
    return [verdict for verdict in found if verdict is not None]


def _middle(recorded: Recorded, scenario: str, server: str, metric: str) -> float | None:
    return middle(recorded.get(scenario, {}).get(server, ()), metric)
