"""Reports made by hand: a few figures each, as a comparison would record them."""

from __future__ import annotations

from canter.bench.report import ContenderInfo, Figures, Level, Report, Row, ScenarioInfo
from canter.bench.result import Histogram, Result, Tally

KINDS = ("sync", "gthread", "gevent", "asyncio")


def histogram(milliseconds: float, count: int = 1000) -> Histogram:
    """Latencies from this value up to ten times as much, most of them low."""
    tally = Tally()
    for number in range(count):
        tally.add(milliseconds / 1e3 * (1 + 9 * (number / count) ** 8))
    return Histogram.of(tally)


def row(
    scenario: str,
    contender: str,
    rate: float,
    ms: float,
    *,
    cpu_us: float = 20.0,
    memory: float = 30.0,
    errors: int = 0,
) -> Row:
    figures = [Figures(rate * share, cpu_us, 0.9, memory, 0.5, 0.1) for share in (0.9, 1.0, 1.1)]
    full = Result(seconds=3.0, sent=3000, answered=3000 - errors, measured=3000, latency=histogram(ms))
    full.errors = {"timeout": errors} if errors else {}
    return Row(
        scenario,
        contender,
        command=f"canter -k {contender} -b 127.0.0.1:8000 'shop:app'",
        load_command="python -m canter.bench.load http://127.0.0.1:8000/",
        rounds=figures,
        full=full,
        steady=Result(seconds=3.0, sent=3000, answered=3000, measured=3000, latency=histogram(ms)),
        steady_rate=1000.0,
    )


def report(scenario: ScenarioInfo, *rows: Row) -> Report:
    made = Report(
        "shop:app", {"cores": 4, "server_cores": 3, "load": [0.1, 0.1, 0.1], "cpu": "a <processor>"}
    )
    made.command = "canter-bench compare shop:app"
    made.seconds, made.rounds = 3.0, 3
    made.scenarios = [scenario]
    made.contenders = [ContenderInfo(kind, kind, f"-k {kind} -w 3", 3, 64, ours=True) for kind in KINDS]
    made.contenders.append(ContenderInfo("granian", "granian", "", 3, 64, ours=False, version="2.8"))
    made.rows = list(rows)
    return made


def swept(made: Row, *levels: tuple[float, float, float]) -> Row:
    """With a sweep of (level, rate, p99)."""
    made.sweep = [Level(level, rate, p99 / 3, p99, 0) for level, rate, p99 in levels]
    return made


FAST = ScenarioInfo("fast", "tiny fast answers", 64, 1000.0)
BLOCK = ScenarioInfo("block", "blocking calls of 50 ms", 64, 600.0, 0.05)
CPU = ScenarioInfo("cpu", "CPU-bound", 16, 300.0)
POLLS = ScenarioInfo("polls", "2,000 long polls of 2000 ms", 2500, 1000.0, 2.0)
