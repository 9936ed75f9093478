"""``canter-bench``: which worker class for my application?

    canter-bench compare myapp:app --path /items    each worker class under your requests
    canter-bench compare                            the built-in scenarios
    canter-bench check http://127.0.0.1:8000/       something that already runs
    canter-bench show report.json --html page.html  a recorded report again

Exit codes: 0 all went well, 1 something could not be measured or was answered wrong (its
row says why), 2 the command line is wrong.
"""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from canter.bench import contenders, page, scenarios
from canter.bench.advice import advise
from canter.bench.compare import LEVELS, Comparison, Runner, split_cores
from canter.bench.contenders import Contender
from canter.bench.cost import machine
from canter.bench.load import LoadFailed, plan, run
from canter.bench.neighbours import Neighbours
from canter.bench.plan import Load, PlanError, Target, parse_url
from canter.bench.report import ContenderInfo, Figures, Report, Row, ScenarioInfo
from canter.bench.scenarios import Scenario

_QUICK = 50.0
"""Seconds that --quick may take, some of a minute left for what starts and stops."""
_QUICK_VISITS = 8
"""Servers that --quick has the time to visit twice."""
_QUICK_SCENARIOS = ("fast", "block", "cpu", "polls")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        if args.command == "show":
            return _show(Report.load(args.report), args)
        _require_sense(args)
        report = _check(args) if args.command == "check" else _compare(args)
    except (PlanError, ValueError) as error:
        print(f"canter-bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("canter-bench: interrupted", file=sys.stderr)
        return 130
    report.command = shlex.join(["canter-bench", *(sys.argv[1:] if argv is None else argv)])
    return _show(report, args)


def _require_sense(args: argparse.Namespace) -> None:
    """What would come out only after everything was measured."""
    for path in filter(None, (args.json, args.html)):
        if not Path(path).absolute().parent.is_dir():
            raise PlanError(f"{path}: there is no such folder")
    for name, least in (("rounds", 1), ("polls", 1), ("connections", 0), ("threads", 0), ("rate", 0)):
        if getattr(args, name, least) < least:
            raise PlanError(f"--{name} must be at least {least}")


def end_on_signals() -> None:
    """SIGTERM and SIGHUP end this program as Ctrl-C does: no server is left behind."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


def _show(report: Report, args: argparse.Namespace) -> int:
    """Everything that leaves this program goes through here."""
    from rich.console import Console

    from canter.bench.table import show

    advice = advise(report)
    if getattr(args, "json", ""):
        report.save(args.json)
    if args.html:
        Path(args.html).write_text(page.render(report, advice), encoding="utf-8")
    show(Console(), report, advice)
    return 1 if any(row.failed or row.wrong for row in report.rows) else 0


# -- compare -------------------------------------------------------------------------------


def _compare(args: argparse.Namespace) -> Report:
    from rich.console import Console

    from canter.bench.table import Live

    interface = _interface(args.app) if args.app else ""
    cpus, _ = split_cores()
    cores = len(cpus) if cpus else 1
    comparison = Comparison(
        app=args.app or "",
        scenarios=_scenarios(args),
        contenders=_contenders(args, interface, cores),
        seconds=args.duration,
        warmup=args.warmup,
        rounds=args.rounds,
        rate=args.rate,
        port=args.port,
        probe=_targets(args)[0].path if args.app else "/",
        sweep=args.sweep,
        timeout=_seconds(args.timeout) if args.timeout else 0.0,
        within=_seconds(args.within) if args.within else 0.0,
        least=_seconds(args.least) if args.least else 0.0,
        peers_python=args.peer_python,
    )
    if args.quick:
        _hurry(comparison, bool(args.scenario))
    report = Report(comparison.app, machine() | {"server_cores": cores})
    started, neighbours = time.monotonic(), Neighbours()
    with Live(Console(stderr=True)) as live:
        comparison.tell = live.tell
        Runner(comparison, report).run()
    report.machine["took"] = round(time.monotonic() - started, 1)
    report.notes += _notes(report) + neighbours.notes()
    return report


def _hurry(comparison: Comparison, chosen: bool) -> None:
    """Make it fit into a minute: fewer scenarios and rounds, and as many seconds as there are then."""
    if not comparison.app and not chosen:
        named = {scenario.name: scenario for scenario in comparison.scenarios}
        comparison.scenarios = [named[name] for name in _QUICK_SCENARIOS]
    comparison.scenarios = [_smaller(scenario) for scenario in comparison.scenarios]
    comparison.warmup, comparison.within = 0.2, _QUICK
    comparison.rounds = 2 if comparison.steps() <= _QUICK_VISITS * comparison.rounds else 1


def _smaller(scenario: Scenario) -> Scenario:
    """Long polls that do not take long."""
    if scenario.name != "polls":
        return scenario
    target = replace(scenario.targets[0], path="/wait?ms=500")
    return replace(
        scenario,
        targets=(target,),
        title="1,000 long polls of 500 ms",
        connections=1250,
        rate=2000.0,
        wait=0.5,
    )


def _interface(app: str) -> str:
    """``wsgi``, ``asgi`` or ``async_wsgi``, as found in a process of its own.

    An application that does not load counts as WSGI: each server then says itself why.
    """
    if not re.fullmatch(r"[\w.]+(:.+)?", app):
        raise PlanError(f"{app!r} is not MODULE:APPLICATION")
    done = subprocess.run(
        [sys.executable, "-m", "canter.bench.interface", app],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = done.stdout.split()[-1:]
    return found[0] if done.returncode == 0 and found else "wsgi"


def _contenders(args: argparse.Namespace, interface: str, cores: int) -> list[Contender]:
    names = [name for text in args.worker for name in text.split(",")]
    if args.app:
        found = contenders.classes(interface, cores, names)
    else:
        found = contenders.twins(cores, names)
    found += [contenders.variant(text, interface or "wsgi", cores) for text in args.variant]
    interfaces = (interface,) if args.app else ("wsgi", "asgi")
    for name in args.peer:
        found += contenders.peers(name, interfaces, cores)
    doubles = {each.name for each in found if sum(other.name == each.name for other in found) > 1}
    if doubles:
        raise PlanError(f"two contenders are called {min(doubles)!r}")
    return [
        replace(each, threads=args.threads) if args.threads and each.threads > 1 else each for each in found
    ]


def _targets(args: argparse.Namespace) -> tuple[Target, ...]:
    """The user's own requests."""
    return tuple(replace(target, timed=args.pieces) for target in _untimed(args))


def _untimed(args: argparse.Namespace) -> tuple[Target, ...]:
    if args.requests:
        return scenarios.read_toml(args.requests)
    if args.replay:
        return scenarios.read_log(args.replay)
    headers = []
    for header in args.header:
        name, colon, value = header.partition(":")
        if not colon:
            raise PlanError(f"header {header!r} is not 'NAME: VALUE'")
        headers.append((name.strip(), value.strip()))
    target = Target("/", args.method, tuple(headers), content=args.body, status=0)
    paths = args.path or ["/"]
    return tuple(replace(target, path=path) for path in paths)


def _scenarios(args: argparse.Namespace) -> list[Scenario]:
    if args.app:
        known = scenarios.own(_targets(args))
        names = args.scenario or ["own"]
    else:
        known = scenarios.builtin(
            scenarios.Options(block=_seconds(args.block), polls=args.polls, wait=_seconds(args.poll_time))
        )
        names = args.scenario or list(known)
    for name in names:
        if name not in known:
            which = "with an application" if args.app else "without an application"
            raise PlanError(f"no scenario {name!r} {which}; there are {', '.join(known)}")
    found = [known[name] for name in names]
    if args.connections:
        found = [each if each.rate else replace(each, connections=args.connections) for each in found]
    return found


_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, None: 1.0}


def _seconds(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise PlanError(f"{text!r} is no time; write 50ms or 2s")
    return float(found[1]) * _UNITS[found[2]]


def _notes(report: Report) -> list[str]:
    """What a reader must know before believing the figures."""
    notes = [
        f"{row.scenario}, {row.contender}: {warning}"
        for row in report.rows
        for result in (row.full, row.steady)
        for warning in (result.warnings if result else ())
    ]
    if report.machine["cores"] == 1:
        notes.append("server and load shared the one core of this machine: compare, but do not quote")
    return notes


# -- check -----------------------------------------------------------------------------------


def _check(args: argparse.Namespace) -> Report:
    """Load a server that already runs."""
    from rich.console import Console

    from canter.bench.table import Live

    address = parse_url(args.url)
    if not args.path:
        args.path = [address.path]
    targets = _targets(args)
    load = plan(args.url, duration=args.duration, warmup=args.warmup, connections=args.connections or 64)
    load = replace(load, targets=targets, allow_remote=args.allow_remote, cpu=split_cores()[1])
    load = replace(load, timeout=_seconds(args.timeout or "5s"))
    report = Report(args.url, machine(), seconds=args.duration, rounds=1)
    report.contenders = [ContenderInfo("server", "", "", 0, 0, ours=False)]
    report.scenarios = [ScenarioInfo("check", args.url, load.connections, args.rate)]
    row = Row("check", "server")
    report.rows = [row]
    with Live(Console(stderr=True)):
        try:
            _load_twice(row, load, args.rate)
        except LoadFailed as error:
            raise PlanError(str(error).removeprefix("error: ")) from None
    if not row.full or not row.full.answered:
        errors = ", ".join(f"{kind} {count}" for kind, count in row.errors.items())
        row.failure = f"nothing was answered right: {errors}"
    report.notes += _notes(report)
    return report


def _load_twice(row: Row, load: Load, rate: float) -> None:
    """As fast as it can, then at the rate that was asked for."""
    row.full = run(load)
    row.rounds.append(Figures(row.full.rate))
    if rate:
        row.steady_rate = rate
        row.steady = run(replace(load, rate=rate, connections=4 * load.connections, arrivals="poisson"))


# -- the command line --------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="canter-bench",
        description="Which worker class for my application? A load-test comparison that answers.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    compare = commands.add_parser("compare", help="run an application under each worker class and load it")
    compare.add_argument("app", nargs="?", help="MODULE:APPLICATION; without it the built-in scenarios")
    _add_contenders(compare)
    _add_requests(compare)
    _add_load(compare)
    _add_scenarios(compare)
    check = commands.add_parser("check", help="load something that already runs")
    check.add_argument("url", help="http://127.0.0.1:8000/path")
    check.add_argument("--allow-remote", action="store_true", help="although it is not this machine")
    _add_requests(check)
    _add_load(check)
    show = commands.add_parser("show", help="show a recorded report")
    show.add_argument("report", help="a file of --json")
    for each in (compare, check, show):
        each.add_argument("--html", default="", metavar="FILE", help="write a page with pictures")
    for each in (compare, check):
        each.add_argument("--json", default="", metavar="FILE", help="write every figure")
    return parser


def _add_contenders(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("who is compared").add_argument
    add("-k", "--worker", action="append", default=[], metavar="CLASS,...", help="only these worker classes")
    add("--variant", action="append", default=[], metavar="'NAME: FLAGS'", help="Canter with these flags too")
    add(
        "--peer", action="append", default=[], metavar="NAME", help="gunicorn, uvicorn, granian, waitress ..."
    )
    add("--peer-python", default="", metavar="PYTHON", help="the interpreter whose environment has the peers")
    add("--threads", type=int, default=0, metavar="N", help="threads of each (64)")
    add("--port", type=int, default=0, metavar="N", help="the servers' port (any that is free)")


def _add_requests(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("your requests").add_argument
    add("--path", action="append", default=[], metavar="PATH", help="again for more, in equal shares")
    add("--method", default="GET")
    add("--body", default="", metavar="TEXT")
    add("-H", "--header", action="append", default=[], metavar="'NAME: VALUE'")
    add("--pieces", action="store_true", help="tell when the first octet and each piece of an answer comes")
    add("--requests", default="", metavar="FILE", help="[[request]] tables (TOML) with weights")
    add("--replay", default="", metavar="FILE", help="an access log: its GET requests, as often as in it")


def _add_load(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("load").add_argument
    add("-c", "--connections", type=int, default=0, metavar="N", help="clients at full speed")
    add(
        "-r", "--rate", type=float, default=0.0, metavar="N", help="arrivals a second that latency is told at"
    )
    add("-d", "--duration", type=float, default=3.0, metavar="S", help="seconds of each load")
    add("-w", "--warmup", type=float, default=0.5, metavar="S", help="seconds before that")
    add("--timeout", default="", metavar="TIME", help="a request failed that takes longer (5s)")


def _add_scenarios(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("scenarios").add_argument
    add("-s", "--scenario", action="append", default=[], metavar="NAME", help="again for more")
    add("--block", default="50ms", metavar="TIME", help="length of a blocking call")
    add("--polls", type=int, default=2000, metavar="N", help="long polls that wait at once")
    add("--poll-time", default="2s", metavar="TIME", help="length of a long poll")
    add("--rounds", type=int, default=3, metavar="N", help="rounds in which all take turns")
    add("--sweep", choices=tuple(LEVELS), default="", help="raise this step by step, to find the knee")
    add("--within", default="", metavar="TIME", help="loads as long as fits into this time, 10m for example")
    add("--least", default="", metavar="TIME", help="of the shortest load; ten answers fit into it, too")
    add("--quick", action="store_true", help="a first answer within a minute")
