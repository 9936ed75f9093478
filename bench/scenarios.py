"""What servers are compared in: the built-in scenarios, and the user's own requests.

A scenario says what is sent and by how many clients; how long, and at which rate for
all, is the comparison's business. The built-in ones run the applications of `apps`.
Those about clients (``own``, ``fresh``, ``slow-clients``) run any application.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from canter.bench.plan import PlanError, Target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MIB = 1024 * 1024


@dataclass(frozen=True)
class Scenario:
    """One kind of traffic."""

    name: str
    title: str
    targets: tuple[Target, ...]
    connections: int = 64
    rate: float = 0.0
    """Arrivals a second; 0: as many as the server can do, then half of what the middle one could."""
    wait: float = 0.0
    """Seconds that each request waits by itself."""
    fresh: float = 0.0
    dribblers: int = 0
    websocket: bool = False


@dataclass(frozen=True)
class Options:
    """What the user may change about the built-in scenarios."""

    block: float = 0.05
    """Seconds of a blocking call."""
    polls: int = 2000
    """Long polls that wait at once."""
    wait: float = 2.0
    """Seconds of a long poll."""


def builtin(options: Options = Options()) -> dict[str, Scenario]:
    """All built-in scenarios by name, the most telling first."""
    block, wait = f"{options.block * 1000:g}", f"{options.wait * 1000:g}"
    found = (
        Scenario("fast", "tiny fast answers", (Target("/"),)),
        Scenario(
            "block",
            f"blocking calls of {block} ms",
            (Target(f"/block?ms={block}"),),
            wait=options.block,
        ),
        Scenario("cpu", "CPU-bound, some 2 ms of Python", (Target("/cpu?loops=50000"),), 16),
        Scenario(
            "polls",
            f"{options.polls:,} long polls of {wait} ms",
            (Target(f"/wait?ms={wait}", check="stamp"),),
            connections=options.polls * 5 // 4,
            rate=options.polls / options.wait,
            wait=options.wait,
        ),
        Scenario(
            "stream",
            "10 pieces of 4 KiB, one every 20 ms",
            (Target("/stream?chunks=10&size=4096&ms=20", check="length", length=40960),),
            wait=0.18,
        ),
        Scenario(
            "events",
            "200 streams of server-sent events, 10 a second for 2 s",
            (Target("/events?count=20&ms=100", check="events"),),
            connections=250,
            rate=100.0,
            wait=2.0,
        ),
        Scenario(
            "download",
            "downloads of 4 MiB",
            (Target(f"/download?size={4 * MIB}", check="length", length=4 * MIB),),
            16,
        ),
        Scenario(
            "upload",
            "uploads of 256 KiB",
            (Target("/echo", method="POST", body=MIB // 4, check="echo"),),
            32,
        ),
        Scenario(
            "slow-clients", "fast answers beside 200 clients that dribble", (Target("/"),), dribblers=200
        ),
        Scenario("fresh", "a new connection for each request", (Target("/"),), fresh=1.0),
        Scenario(
            "websocket",
            "WebSocket echo",
            (Target("/", check="websocket", body=64),),
            100,
            websocket=True,
        ),
    )
    return {scenario.name: scenario for scenario in found}


def own(targets: tuple[Target, ...]) -> dict[str, Scenario]:
    """The scenarios for requests of the user's."""
    base = Scenario("own", "your requests", targets)
    return {
        "own": base,
        "slow-clients": replace(
            base, name="slow-clients", title="your requests beside 200 clients that dribble", dribblers=200
        ),
        "fresh": replace(base, name="fresh", title="your requests, each on a new connection", fresh=1.0),
    }


# -- requests from files ---------------------------------------------------------------------

_KEYS = {"path", "method", "headers", "body", "status", "weight", "name"}


def read_toml(path: str) -> tuple[Target, ...]:
    """Requests from a file of ``[[request]]`` tables: path, method, headers, body, status, weight, name."""
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{path}: {error}") from None
    tables = data.pop("request", [])
    if data:
        raise PlanError(f"{path}: unknown {next(iter(data))!r}; requests are [[request]] tables")
    if not isinstance(tables, list) or not tables:
        raise PlanError(f"{path}: there is no [[request]] table")
    return tuple(_from_table(path, number, table) for number, table in enumerate(tables, 1))


def _from_table(path: str, number: int, table: dict[str, Any]) -> Target:
    unknown = set(table) - _KEYS
    if unknown:
        raise PlanError(f"{path}: request {number}: unknown {min(unknown)!r}")
    values = {"status": 0, **table}
    values["content"] = str(values.pop("body", ""))
    values["headers"] = tuple((name, str(value)) for name, value in values.get("headers", {}).items())
    try:
        return Target(**values)
    except (PlanError, TypeError) as error:
        raise PlanError(f"{path}: request {number}: {error}") from None


_LOGGED = re.compile(r'"(?P<method>[A-Z]+) (?P<path>/\S*) HTTP/\d\.\d" (?P<status>\d{3})')
_MOST = 1000


def read_log(path: str) -> tuple[Target, ...]:
    """The GET and HEAD requests of an access log (common or combined), as often as they occur in it.

    Others are left out: a log does not hold their bodies. The thousand most frequent are kept.
    """
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}") from None
    counts = Counter(
        (found["method"], found["path"])
        for found in _LOGGED.finditer(text)
        if found["method"] in ("GET", "HEAD") and found["status"] < "400"
    )
    if not counts:
        raise PlanError(f"{path}: there is no GET request in this access log")
    return tuple(
        Target(target, method, weight=count, status=0)
        for (method, target), count in counts.most_common(_MOST)
    )
