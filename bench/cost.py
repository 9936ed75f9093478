"""The cost of a request: ``python -m canter.bench.cost --rounds 5 hello close ...``.

Servers take turns, round after round, so that a machine that speeds up or slows down
does so for all of them; what is told is the median over the rounds with its spread.
CPU time a request holds on a shared machine where rates swing by a factor of two, so
it is what servers are compared by. `claims` says what of it Canter promises.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from canter.bench.claims import NATIVE, NATIVE_ASGI, Recorded, Rounds, Verdict, middle, verdicts
from canter.bench.measure import MIB, Bench, Figures, Scenario, Wrong, once, workplace
from canter.bench.peers import PEERS, Environment, Peer
from canter.bench.server import ServerFailed
from canter.bench.wrk import BROWSER, WrkFailed

RAW = Peer("raw", "raw", "", "")
OURS = ("canter-sync", "canter-gthread", "canter-gevent")
GUNICORN = ("gunicorn-sync", "gunicorn-gthread", "gunicorn-gevent")
OTHERS = ("uwsgi", "waitress", "cheroot")

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        Scenario("hello", "hello, keep-alive", ("raw", *OURS, *NATIVE, *GUNICORN, *OTHERS)),
        Scenario(
            "close",
            "hello, a new connection for each request",
            (*OURS, *NATIVE, *GUNICORN),
            headers=(*BROWSER, "Connection: close"),
        ),
        Scenario(
            "download",
            "1 MiB response",
            (*OURS, *NATIVE, "gunicorn-sync"),
            path=f"/download?size={MIB}",
            hello=False,
            check="download",
        ),
        Scenario(
            "upload",
            "1 MiB upload",
            (*OURS, *NATIVE, "gunicorn-sync"),
            path="/upload",
            hello=False,
            check="upload",
            body=MIB,
        ),
        Scenario(
            "stream",
            "16 x 4 KiB streamed",
            (*OURS, *NATIVE, "gunicorn-sync"),
            path="/stream?chunks=16&size=4096",
            hello=False,
            check="stream",
        ),
        Scenario(
            "log",
            "hello with an access log",
            (*OURS, "gunicorn-sync", "gunicorn-gthread"),
            access_log=True,
        ),
        Scenario(
            "idle",
            "hello beside 10,000 idle connections",
            (*OURS, "canter-asyncio", "gunicorn-gthread", "gunicorn-gevent", "uvicorn"),
            kind="idle",
        ),
        Scenario(
            "block",
            "20 ms blocking, 64 threads, 64 connections",
            (
                "canter-gthread",
                "canter-gevent",
                "granian",
                "gunicorn-gthread",
                "waitress",
                "cheroot",
                "uwsgi",
            ),
            path="/block?ms=20",
            hello=False,
            connections=64,
            threads=64,
        ),
        Scenario(
            "asgi",
            "ASGI hello, keep-alive",
            ("canter-asyncio", *NATIVE_ASGI, "uvicorn", "hypercorn", "gunicorn-asgi"),
        ),
        Scenario(
            "polls",
            "10,000 long polls of 10 s, 1,000 a second",
            ("canter-gevent", "canter-asyncio", "canter-async-wsgi", "gunicorn-gevent", "uvicorn"),
            kind="polls",
            hello=False,
            check="wait",
        ),
        Scenario(
            "websocket",
            "WebSocket echo, 100 connections",
            ("canter-asyncio", "uvicorn", "hypercorn", "granian-asgi"),
            kind="messages",
            hello=False,
            check="nothing",
            connections=100,
        ),
    )
}


def peer(name: str) -> Peer:
    return RAW if name == "raw" else PEERS[name]


def run(bench: Bench, scenario: Scenario, rounds: int) -> tuple[dict[str, list[Figures]], dict[str, str]]:
    """All rounds of a scenario: figures by server, and why a server has none."""
    figures: dict[str, list[Figures]] = {}
    refused: dict[str, str] = {}
    for number in range(rounds):
        for name in scenario.servers:
            if name in refused:
                continue
            _tell(f"{scenario.name}: round {number + 1}/{rounds}: {name}")
            try:
                figures.setdefault(name, []).append(once(bench, scenario, peer(name)))
            except (ServerFailed, Wrong) as error:
                refused[name] = str(error)
                figures.pop(name, None)
    _tell("")
    return figures, refused


def _tell(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


# -- the report ---------------------------------------------------------------------------

_COLUMNS = {
    "user": "user us",
    "system": "system us",
    "us": "CPU us",
    "rate": "rate /s",
    "busy": "cores",
    "worker_mib": "worker MiB",
    "alone_us": "alone us",
    "idle_ratio": "x alone",
    "idle_kib": "KiB a conn.",
    "wake_p50_ms": "wake p50 ms",
    "wake_p99_ms": "wake p99 ms",
    "waiting_kib": "KiB waiting",
}


def table_rows(figures: Mapping[str, Rounds]) -> list[list[str]]:
    """The head and a row a server, the cheapest first: medians, spread of the CPU time, ratio to ours."""
    columns = [key for key in _COLUMNS if any(key in each for rounds in figures.values() for each in rounds)]
    ours = next((name for name in figures if name.startswith("canter")), None)
    base = middle(figures[ours], "us") if ours else None
    rows = [["server", *(_COLUMNS[key] for key in columns), "spread", "x ours"]]
    for name, rounds in sorted(figures.items(), key=lambda item: middle(item[1], "us") or 0):
        cost = middle(rounds, "us")
        values = [middle(rounds, key) for key in columns]
        ratio = f"{cost / base:.2f}" if cost and base else ""
        rows.append([name, *(shown(value) for value in values), _spread(rounds), ratio])
    return rows


def table(scenario: Scenario, figures: Mapping[str, Rounds], refused: dict[str, str]) -> str:
    """A scenario as lines of text."""
    rows = table_rows(figures)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [scenario.title, ""]
    for row in rows:
        first, *rest = row
        cells = [
            first.ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)),
        ]
        lines.append("  ".join(cells))
    lines += [f"{name}: out, {why}" for name, why in refused.items()]
    return "\n".join(lines)


def shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _spread(rounds: Rounds) -> str:
    values = [each["us"] for each in rounds if "us" in each]
    return f"{min(values):.3g}-{max(values):.3g}" if values else ""


def claims_table(found: Sequence[Verdict]) -> str:
    """The claims that the figures allow to judge."""
    lines = []
    for verdict in found:
        claim = verdict.claim
        goal = f" (goal {claim.goal:g})" if claim.goal else ""
        word = "held" if verdict.held else "MISSED"
        lines.append(
            f"{word:6}  {verdict.ratio:6.2f} x, wanted {claim.least:g}{goal}  "
            f"{claim.text}: {claim.ours} {shown(verdict.ours)}, {verdict.against} {shown(verdict.theirs)}"
        )
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the figures were made on."""
    model = ""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])} {platform.machine()}",
        "cpu": model,
        "cores": os.cpu_count(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": os.getloadavg(),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m canter.bench.cost", description=__doc__)
    add = parser.add_argument
    add("scenarios", nargs="*", default=[], metavar="SCENARIO", help=f"{', '.join(SCENARIOS)}; or all")
    add("--rounds", type=int, default=5, metavar="N")
    add("--seconds", type=float, default=3.0, metavar="S", help="of load in each round")
    add("--warmup", type=float, default=1.0, metavar="S", help="of load before that")
    add("--servers", default="", metavar="A,B", help="only these")
    add("--idle", type=int, default=10_000, metavar="N", help="idle connections")
    add("--polls", type=int, default=10_000, metavar="N", help="long polls at once")
    add("--peers", default="build/peers-venv/bin/python", metavar="PYTHON", help="where the peers are")
    add("--json", default="", metavar="FILE", help="every figure of every round")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    names = list(SCENARIOS) if args.scenarios in ([], ["all"]) else args.scenarios
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        print(f"error: no scenario {unknown[0]!r}; there are {', '.join(SCENARIOS)}", file=sys.stderr)
        return 2
    only = [name for name in args.servers.split(",") if name]
    recorded: dict[str, dict[str, list[Figures]]] = {}
    out: dict[str, dict[str, str]] = {}
    theirs = Environment(str(Path(args.peers).absolute())) if Path(args.peers).exists() else None
    try:
        with workplace() as folder:
            bench = Bench(
                Environment(sys.executable),
                theirs,
                folder,
                seconds=args.seconds,
                warmup=args.warmup,
                idle=args.idle,
                polls=args.polls,
            )
            for name in names:
                scenario = SCENARIOS[name]
                if only:
                    scenario = replace(scenario, servers=tuple(s for s in scenario.servers if s in only))
                recorded[name], out[name] = run(bench, scenario, args.rounds)
                print(table(scenario, recorded[name], out[name]), end="\n\n", flush=True)
    except WrkFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    found = verdicts(recorded)
    if found:
        print(claims_table(found))
    if args.json:
        _write(args.json, recorded, out, bench, found)
    return 0


def _write(
    path: str, recorded: Recorded, out: dict[str, dict[str, str]], bench: Bench, found: Sequence[Verdict]
) -> None:
    report = {
        "machine": machine(),
        "versions": bench.versions,
        "seconds": bench.seconds,
        "figures": recorded,
        "out": out,
        "claims": [
            {"text": each.claim.text, "ratio": each.ratio, "least": each.claim.least, "against": each.against}
            for each in found
        ],
    }
    Path(path).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
