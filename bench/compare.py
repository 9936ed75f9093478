"""Comparing servers: rounds of visits, each to a fresh server under one scenario.

A visit starts the server, lets one client have it (in the first round), warms it up, and
loads it as fast as it can; from the second round on also at the rate that all contenders
have to bear: half of what the one in the middle could do in the first round (where the
rate is given, in every round). Contenders
take turns within each round, and another one begins each time. One that failed most of
its requests in its first visit is not visited again: that would tell nothing new.
The server and the load have cores of their own where there are two. Nothing here is shown
or judged, only recorded (`report`).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from canter.bench import apps, load
from canter.bench.budget import Budget, Visit
from canter.bench.contenders import KEEP_ALIVE, Contender
from canter.bench.peers import Environment
from canter.bench.plan import Load
from canter.bench.report import ContenderInfo, Figures, Level, Report, Row, ScenarioInfo
from canter.bench.result import Result
from canter.bench.scenarios import Scenario
from canter.bench.server import Server, ServerFailed, free_port, require_free
from canter.bench.watch import Watch, open_board

_STEADY = 0.5
"""Part of the middle contender's rate that all have to bear."""
_PATIENCE = 5.0
"""Seconds after which a request counts as failed, beyond what it waits by itself."""
_POLL_PATIENCE = 2.0
"""The same where requests come at a rate of their own: nothing queues that is kept up with."""
_ALONE = 0.5
"""Seconds of one client by itself, in the first round."""
_FITS = 10
"""Answers, one after the other, that fit into a load where there is a shortest one."""
_CUT = "the time was too short for every round that was asked for"
MIB = 1024 * 1024
LEVELS = {"connections": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512), "rate": ()}
_RATE_STEPS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1.0, 1.1)


@dataclass
class Event:
    """Something happened: for whoever shows progress."""

    text: str
    step: int
    steps: int
    live: dict[str, float] = field(default_factory=dict)


Tell = Callable[[Event], None]
Action = Callable[[Row, Scenario, Server, int], None]
"""What a visit does with a server that runs, and the descriptor of its scoreboard."""


@dataclass
class Comparison:
    """What is to be compared, and how long."""

    app: str
    """``module:name`` of the user's; "" for the built-in applications."""
    scenarios: list[Scenario]
    contenders: list[Contender]
    seconds: float = 3.0
    warmup: float = 0.5
    rounds: int = 3
    rate: float = 0.0
    """The rate that all have to bear (0: found out)."""
    port: int = 0
    probe: str = "/"
    sweep: str = ""
    timeout: float = 0.0
    """Seconds after which a request counts as failed (0: a few more than it waits by itself)."""
    within: float = 0.0
    """Seconds for all of it: loads become as long as fits (0: no limit, loads take `seconds`)."""
    least: float = 0.0
    """Seconds of the shortest load, into which ten answers fit, too: rather fewer rounds (0: no bound)."""
    peers_python: str = ""
    tell: Tell = lambda _event: None

    def steps(self) -> int:
        return len(self.visits())

    def visits(self) -> list[Visit]:
        """All that are to be made, in their order."""
        return [visit for scenario in self.scenarios for visit in self.visits_of(scenario)]

    def visits_of(self, scenario: Scenario) -> list[Visit]:
        count = len(_fitting(scenario, self.contenders))
        rounds = [self._visit_of(scenario, number) for number in range(self.rounds)]
        if self.sweep:
            rounds.append(Visit(len(LEVELS[self.sweep] or _RATE_STEPS) / 2))
        return [visit for visit in rounds for _ in range(count)]

    def _visit_of(self, scenario: Scenario, number: int) -> Visit:
        """From the second round on there is a load at the common rate, too."""
        least = max(self.least, _FITS * scenario.wait) if self.least else Visit.least
        if scenario.rate:
            return Visit(1, beside=2 * scenario.wait + 0.5, least=least)
        return Visit(2 if number or self.rate else 1, beside=0 if number else _ALONE, least=least)


def _fitting(scenario: Scenario, contenders: list[Contender]) -> list[Contender]:
    """Those that can be asked: a WebSocket needs an ASGI application."""
    return [each for each in contenders if not scenario.websocket or each.peer.interface == "asgi"]


def split_cores() -> tuple[set[int] | None, int]:
    """Cores for the server, and the core of the load generator (-1: any)."""
    if not hasattr(os, "sched_getaffinity"):
        return None, -1
    cores = sorted(os.sched_getaffinity(0))
    return (set(cores[:-1]), cores[-1]) if len(cores) > 1 else (None, -1)


class Runner:
    """Runs a comparison and fills in its report."""

    def __init__(self, comparison: Comparison, report: Report) -> None:
        self.comparison = comparison
        self.report = report
        self._server_cpus, self._load_cpu = split_cores()
        self._ours = Environment(sys.executable)
        python = comparison.peers_python
        self._theirs = Environment(python) if python else self._ours
        self._step = 0
        self._visits = comparison.visits()
        self._seconds = comparison.seconds
        self._budget = Budget(comparison.within)

    def run(self) -> Report:
        comparison, report = self.comparison, self.report
        report.seconds, report.rounds, report.sweep = comparison.seconds, comparison.rounds, comparison.sweep
        report.contenders = [self._info(each) for each in comparison.contenders]
        with tempfile.TemporaryDirectory(prefix="canter-bench-") as folder:
            self._folder = Path(folder)
            for scenario in comparison.scenarios:
                self._scenario(scenario)
        return report

    def _info(self, contender: Contender) -> ContenderInfo:
        home = self._ours if contender.ours else self._theirs
        return ContenderInfo(
            contender.name,
            contender.kind,
            contender.flags() if contender.ours else "",
            contender.workers,
            contender.threads,
            contender.ours,
            home.version(contender.peer),
        )

    # -- rounds -----------------------------------------------------------------------------

    def _scenario(self, scenario: Scenario) -> None:
        contenders = _fitting(scenario, self.comparison.contenders)
        rows = {each.name: Row(scenario.name, each.name) for each in contenders}
        self.report.rows += rows.values()
        info = ScenarioInfo(scenario.name, scenario.title, scenario.connections, scenario.rate, scenario.wait)
        self.report.scenarios.append(info)
        self._end = self._step + len(self.comparison.visits_of(scenario))
        if self.comparison.rate and not scenario.rate:
            _agree(info, rows.values(), self.comparison.rate)
        for number in range(self.comparison.rounds):
            if number and not self._budget.enough(self._to_come(rows)):
                self._skip((self.comparison.rounds - number) * len(contenders))
                break
            start = number % max(len(contenders), 1)
            self._round(scenario, rows, contenders[start:] + contenders[:start], self._visit)
            if not number and not info.rate and self.comparison.rounds > 1:
                rates = [row.rate for row in rows.values() if not row.failed]
                _agree(info, rows.values(), median(rates) * _STEADY if rates else 0.0)
        if self.comparison.sweep:
            self._round(scenario, rows, contenders, self._sweep)
        if not scenario.rate and all(row.steady is None for row in rows.values()):
            info.rate = 0.0  # no round was left for it

    def _round(
        self, scenario: Scenario, rows: dict[str, Row], contenders: list[Contender], action: Action
    ) -> None:
        """A visit to each in turn, with loads of one length."""
        self._seconds = self._budget.seconds(self.comparison.seconds, self._to_come(rows))
        for contender in contenders:
            row = rows[contender.name]
            visit = self._visits[self._step]
            self._step += 1
            if row.failed or row.hopeless:
                continue
            if self._budget.over(visit):
                row.failure = "" if row.rounds else "left out: the time was over"
                continue
            began = time.monotonic()
            self._guarded(row, contender, scenario, action)
            if not (row.failed or row.hopeless):  # their time-outs are not what the next ones will take
                self._budget.spent(visit, self._seconds, time.monotonic() - began)

    def _to_come(self, rows: dict[str, Row]) -> list[Visit]:
        """The visits that will be made, at the beginning of a round: none to who failed before."""
        gone = sum(row.failed or row.hopeless for row in rows.values())
        here = enumerate(self._visits[self._step : self._end])
        return [visit for number, visit in here if number % len(rows) >= gone] + self._visits[self._end :]

    def _skip(self, visits: int) -> None:
        """Give up further rounds of a scenario, so that the others have their first."""
        self._step += visits
        if visits and _CUT not in self.report.notes:
            self.report.notes.append(_CUT)

    def _guarded(self, row: Row, contender: Contender, scenario: Scenario, action: Action) -> None:
        """Whatever goes wrong with one contender is its row's business; the others go on."""
        self._tell(row)
        try:
            with self._serving(contender, row) as (server, board):
                action(row, scenario, server, board)
        except (ServerFailed, load.LoadFailed) as error:
            row.failure = str(error).removeprefix("error: ")

    @contextlib.contextmanager
    def _serving(self, contender: Contender, row: Row) -> Iterator[tuple[Server, int]]:
        home = self._ours if contender.ours else self._theirs
        missing = home.missing(contender.peer)
        if missing:
            raise ServerFailed(f"not installed: {', '.join(missing)}")
        port = self.comparison.port or free_port()
        require_free(port)
        home_of_apps = "canter.bench.apps" if home is self._ours else self._lay_apps()
        app = self.comparison.app or f"{home_of_apps}:{contender.peer.interface}"
        module, _, name = app.partition(":")
        words = contender.peer.words(
            bin=home.bin,
            python=home.python,
            port=port,
            app=app,
            module=module,
            name=name or "app",
            threads=contender.threads,
            workers=contender.workers,
            connections=contender.connections,
            keep=KEEP_ALIVE,
        )
        row.command = shlex.join([Path(words[0]).name, *words[1:]])
        board = open_board() if contender.ours else -1
        if board >= 0:
            words[1:1] = ["--scoreboard-fd", str(board)]
        try:
            with Server(
                words,
                port,
                probe=self.comparison.probe,
                env=self._environment(),
                cpus=self._server_cpus,
                log=self._folder / "server.log",
                pass_fds=[board] if board >= 0 else [],
            ) as server:
                yield server, board
        finally:
            if board >= 0:
                os.close(board)

    def _lay_apps(self) -> str:
        """The built-in applications, for an environment without Canter; the name of their module."""
        shutil.copy(apps.__file__, self._folder / "bench_apps.py")
        return "bench_apps"

    def _environment(self) -> dict[str, str]:
        """Applications are found in the directory of the user, by servers that do not look there too."""
        folders = [os.getcwd(), str(self._folder), os.environ.get("PYTHONPATH", "")]
        return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(filter(None, folders))}

    # -- one visit ----------------------------------------------------------------------------

    def _load(self, scenario: Scenario, server: Server, **changes: object) -> Load:
        values: dict[str, object] = {
            "connections": scenario.connections,
            "duration": self._seconds,
            "timeout": self.comparison.timeout or _patience(scenario),
            "fresh": scenario.fresh,
            "dribblers": scenario.dribblers,
            "cpu": self._load_cpu,
        }
        return Load("127.0.0.1", server.port, scenario.targets, **{**values, **changes})  # type: ignore[arg-type]

    def _visit(self, row: Row, scenario: Scenario, server: Server, board: int) -> None:
        if scenario.rate:
            full = self._load(scenario, server, rate=scenario.rate, warmup=scenario.wait + 0.5)
        else:
            full = self._load(scenario, server, warmup=self.comparison.warmup)
        row.load_command = load.command(replace(full, cpu=-1, port=8000))
        if not row.rounds and not scenario.rate:
            row.alone = self._send(
                row, self._load(scenario, server, connections=1, duration=_ALONE, dribblers=0)
            )
        before = server.usage()
        with Watch(server, board) as watch:
            result = self._send(row, full)
        after = server.usage()
        figures = Figures(rate=result.rate)
        if before is not None and after is not None and result.answered:
            used = (after - before).total
            figures.cpu_us = used / result.answered * 1e6
            figures.cores = used / (result.seconds + full.warmup)
        seen = watch.seen
        figures.memory_mib = seen.memory / MIB if seen.memory else None
        figures.busy = seen.busy
        figures.queue_ms = seen.queue_seconds * 1e3 if seen.queue_seconds is not None else None
        row.rounds.append(figures)
        row.full = _merged(row.full, result)
        if not result.answered:
            raise ServerFailed(_nothing_right(result, server))
        if row.steady_rate:
            self._steady(row, scenario, server)

    def _steady(self, row: Row, scenario: Scenario, server: Server) -> None:
        steady = self._load(
            scenario,
            server,
            rate=row.steady_rate,
            connections=max(4 * scenario.connections, 256),
            arrivals="poisson",
            warmup=min(self.comparison.warmup, 0.5),
        )
        row.steady = _merged(row.steady, self._send(row, steady))

    def _send(self, row: Row, what: Load) -> Result:
        return load.run(what, lambda live: self._tell(row, live))

    def _tell(self, row: Row, live: dict[str, float] | None = None) -> None:
        text = f"{row.scenario}: {row.contender}"
        self.comparison.tell(Event(text, self._step, len(self._visits), live or {}))

    # -- sweeps -----------------------------------------------------------------------------

    def _sweep(self, row: Row, scenario: Scenario, server: Server, board: int) -> None:
        """One short load a level, upwards."""
        del board
        for level in self._levels(row):
            if self.comparison.sweep == "rate":
                what = self._load(
                    scenario, server, rate=level, connections=max(4 * scenario.connections, 256)
                )
            else:
                what = self._load(scenario, server, connections=int(level))
            result = self._send(row, replace(what, duration=max(self._seconds / 2, 0.3), warmup=0.2))
            p50, p99 = (1e3 * value for value in result.latency.percentiles((50, 99)))
            row.sweep.append(Level(level, result.rate, p50, p99, result.failed))
            if result.failed > result.answered:
                return  # higher levels would only take longer to fail

    def _levels(self, row: Row) -> list[float]:
        if self.comparison.sweep == "rate":
            return [float(max(round(step * row.rate), 1)) for step in _RATE_STEPS]
        return list(LEVELS["connections"])


def _patience(scenario: Scenario) -> float:
    """Seconds after which a request of it counts as failed."""
    return scenario.wait + (_POLL_PATIENCE if scenario.rate else _PATIENCE)


def _agree(info: ScenarioInfo, rows: Iterable[Row], rate: float) -> None:
    """The rate that all have to bear from now on."""
    info.rate = rate
    for row in rows:
        row.steady_rate = rate


def _merged(so_far: Result | None, result: Result) -> Result:
    if so_far is None:
        return result
    so_far.merge(result)
    return so_far


def _nothing_right(result: Result, server: Server) -> str:
    """One line for a scenario that got no right answer at all."""
    kind = max(result.errors, key=result.errors.__getitem__, default="")
    if not kind:
        return "no request was answered in time"
    example = " ".join(result.examples.get(kind, "").split())[:200]
    line = f"every request failed: {kind} ({example})"
    return line if server.alive() else f"{line}; the server ended: {server.log_end()}"
