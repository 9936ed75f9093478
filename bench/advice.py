"""Which worker class, and why: the rules of the advice, all of them in this file. Pure.

The advice speaks of Canter's classes alone, from what was measured of them. First the
traffic is given a *shape*, by what a request costs and how long it takes where nothing
queues; then the shape's rule chooses among those that served it without errors:

========== =============================================== ================================
shape      how it is told                                  who is chosen
========== =============================================== ================================
``crowd``  requests wait, hundreds of them at once         of the event-driven classes that
                                                           kept up, the one that needs the
                                                           least memory
``waits``  a request takes much longer than its CPU time   ``gthread`` where it is within
                                                           15 % of the fastest: it works
                                                           with every library; else the
                                                           fastest; never ``sync``
``cpu``    over a millisecond of CPU a request             processes: ``sync`` where its
                                                           CPU time is within 15 % of the
                                                           least, else what needs the least
``fast``   none of these                                   the fastest; of those that are
                                                           within 3 % the simplest
========== =============================================== ================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median

from canter.bench.report import Report, Row, ScenarioInfo

EVENT_DRIVEN = ("asyncio", "gevent", "eventlet", "tornado")
CROWD = 256
"""Requests that wait at once from which threads are the wrong means."""
WAIT_MS = 5.0
"""Waiting below this is the machine's own."""
HEAVY_US = 1000.0
"""CPU time from which a request counts as CPU-bound."""
CLOSE = 0.15
"""Two rates or costs this near each other are the same for the purpose of a choice."""
SAME = 0.03
"""Rates nearer than this are one rate: then the class that is listed first in `SIMPLEST` is taken."""
SIMPLEST = ("gthread", "sync", "gevent", "asyncio", "tornado", "eventlet")
SOUND = 0.01
"""The share of failed requests up to which a contender counts as having served the traffic."""


@dataclass
class Shape:
    """What the traffic is like."""

    name: str
    cpu_us: float
    wait_ms: float
    at_once: float
    """Requests under way at the best rate, by Little's law."""


@dataclass
class Advice:
    """What to run for one scenario."""

    scenario: str
    title: str
    shape: str
    choice: str = ""
    """The contender; "" where none served the traffic."""
    command: str = ""
    reasons: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    """What the others did, best first."""
    unless: list[str] = field(default_factory=list)
    """What would change the advice."""


def advise(report: Report) -> list[Advice]:
    """The advice for each scenario, in their order; none where no class of ours was there."""
    if not any(each.ours for each in report.contenders):
        return []
    return [_advise(report, scenario) for scenario in report.scenarios]


def _advise(report: Report, scenario: ScenarioInfo) -> Advice:
    ours = [row for row in report.of(scenario.name) if report.contender(row.contender).ours]
    sound = [row for row in ours if not row.failed and row.error_share <= SOUND and row.rate > 0]
    if not sound:
        return Advice(
            scenario.name,
            scenario.title,
            "",
            reasons=[f"no worker class served this traffic with fewer than {SOUND:.0%} errors"],
            others=_failures(ours),
        )
    shape = shape_of(scenario, sound)
    row = _RULES[shape.name](report, sound)
    kind = report.contender(row.contender).kind
    return Advice(
        scenario.name,
        scenario.title,
        shape.name,
        choice=row.contender,
        command=f"canter {report.contender(row.contender).flags} {report.app or 'APP'}",
        reasons=[_describe(shape), _figures(row)],
        others=[*_against(row, sound), *_failures(ours)],
        unless=[*_wavering(shape, row, sound), *_MINDS[shape.name](kind), *_machine(report)],
    )


def shape_of(scenario: ScenarioInfo, rows: list[Row]) -> Shape:
    """The shape of the traffic: CPU time as most needed it, and the time of the fastest answers."""
    costs = [value for row in rows if (value := row.middle("cpu_us")) is not None]
    cpu = median(costs) if costs else 0.0
    usual = min(row.time for row in rows) * 1e3
    wait = usual - cpu / 1e3
    at_once = max(row.rate for row in rows) * usual / 1e3
    waits = wait > WAIT_MS and wait > usual / 2
    if waits and max(at_once, scenario.rate * scenario.wait) >= CROWD:
        name = "crowd"
    elif waits:
        name = "waits"
    else:
        name = "cpu" if cpu > HEAVY_US else "fast"
    return Shape(name, cpu, wait, at_once)


# -- a rule for each shape ---------------------------------------------------------------------


def _fastest(rows: list[Row]) -> Row:
    return max(rows, key=lambda row: row.rate)


def _preferred(report: Report, rows: list[Row], kind: str) -> Row:
    """The fastest of a worker class where it is close to the fastest of all; else that one."""
    best = _fastest(rows)
    of_kind = [row for row in rows if report.contender(row.contender).kind == kind]
    if of_kind and _fastest(of_kind).rate >= best.rate * (1 - CLOSE):
        return _fastest(of_kind)
    return best


def _crowd(report: Report, rows: list[Row]) -> Row:
    best = _fastest(rows)
    kept_up = [
        row
        for row in rows
        if report.contender(row.contender).kind in EVENT_DRIVEN and row.rate >= best.rate * (1 - CLOSE)
    ]
    return min(kept_up, key=lambda row: row.middle("memory_mib") or float("inf"), default=best)


def _waits(report: Report, rows: list[Row]) -> Row:
    others = [row for row in rows if report.contender(row.contender).kind != "sync"]
    return _preferred(report, others or rows, "gthread")


def _cpu(report: Report, rows: list[Row]) -> Row:
    """By CPU time: where nothing but it counts, it decides, and it holds where rates waver."""
    known = [row for row in rows if row.middle("cpu_us") is not None]
    if not known:
        return _preferred(report, rows, "sync")
    cheapest = min(known, key=_cost)
    sync = [row for row in known if report.contender(row.contender).kind == "sync"]
    close = [row for row in sync if _cost(row) * (1 - CLOSE) <= _cost(cheapest)]
    return min(close, key=_cost, default=cheapest)


def _cost(row: Row) -> float:
    return row.middle("cpu_us") or float("inf")


def _fast(report: Report, rows: list[Row]) -> Row:
    best = _fastest(rows).rate
    same = [row for row in rows if row.rate >= best * (1 - SAME)]
    return min(same, key=lambda row: _simplicity(report.contender(row.contender).kind))


def _simplicity(kind: str) -> int:
    return SIMPLEST.index(kind) if kind in SIMPLEST else len(SIMPLEST)


_RULES = {"crowd": _crowd, "waits": _waits, "cpu": _cpu, "fast": _fast}


# -- what is said about it ----------------------------------------------------------------------


def _describe(shape: Shape) -> str:
    cpu = f"{shape.cpu_us / 1e3:.2g} ms" if shape.cpu_us >= 1000 else f"{shape.cpu_us:.0f} us"
    texts = {
        "crowd": f"some {shape.at_once:,.0f} requests wait at once, each {shape.wait_ms:,.0f} ms; "
        f"a thread for each would be too much, a place in an event loop is not",
        "waits": f"a request waits {shape.wait_ms:,.0f} ms and needs {cpu} of CPU: while one waits, "
        "others have to run",
        "cpu": f"a request needs {cpu} of CPU and hardly waits: only more processes (up to the cores) "
        "serve more of them, threads of one process take turns",
        "fast": f"a request needs {cpu} of CPU and does not wait: the class with the least overhead wins",
    }
    return texts[shape.name]


def _figures(row: Row) -> str:
    parts = [f"{row.contender} served {row.rate:,.0f}/s"]
    if row.latency.count:
        at = f" at {row.steady_rate:,.0f}/s" if row.steady else ""
        parts.append(f"p99 {row.latency.percentile(99) * 1e3:,.1f} ms{at}")
    memory = row.middle("memory_mib")
    if memory:
        parts.append(f"{memory:,.0f} MiB")
    return ", ".join(parts)


def _against(row: Row, rows: list[Row]) -> list[str]:
    """The others, best first, each in a few words."""
    others = sorted((other for other in rows if other is not row), key=lambda other: -other.rate)
    return [f"{_figures(other)} ({other.rate / row.rate:.0%} of that)" for other in others]


def _failures(rows: list[Row]) -> list[str]:
    texts = [f"{row.contender}: {row.failure}" for row in rows if row.failed]
    for row in rows:
        if not row.failed and row.error_share > SOUND:
            kinds = ", ".join(f"{kind} {count:,}" for kind, count in row.errors.items())
            texts.append(f"{row.contender} failed {row.error_share:.0%} of the requests ({kinds})")
    return texts


def _wavering(shape: Shape, row: Row, rows: list[Row]) -> list[str]:
    """Where speed decided: whose rounds differed so much that another choice is as good."""
    if shape.name != "fast":
        return []
    others = [other for other in rows if other is not row and (other.spread("rate") or (0, 0))[1] >= row.rate]
    if not others:
        return []
    names = ", ".join(other.contender for other in others)
    return [f"more rounds say otherwise: in its best one {names} was as fast"]


def _crowd_mind(kind: str) -> list[str]:
    other = (
        "it is a WSGI application: then gevent"
        if kind == "asyncio"
        else "it is written as ASGI: then asyncio"
    )
    return [
        other,
        "a library that blocks without yielding stops every waiting request: then gthread with many threads",
    ]


def _waits_mind(kind: str) -> list[str]:
    if kind == "gthread":
        return ["more requests at once than threads: raise --threads, or take gevent if every library yields"]
    return ["a library that blocks without yielding: then gthread, with as many threads as requests wait"]


def _cpu_mind(kind: str) -> list[str]:
    del kind
    return ["calls that wait (databases, other services) beside the computing: then threads, gthread"]


def _fast_mind(kind: str) -> list[str]:
    del kind
    return ["slower answers: a blocking call in only some of the requests already calls for threads"]


_MINDS = {"crowd": _crowd_mind, "waits": _waits_mind, "cpu": _cpu_mind, "fast": _fast_mind}


def _machine(report: Report) -> list[str]:
    """The load had a core of its own; in production the server has all of them."""
    cores, served = report.machine.get("cores"), report.machine.get("server_cores")
    if not cores or not served or cores == served:
        return []
    return [f"measured on {served} of {cores} cores: alone on this machine, take {cores / served:g} times -w"]
