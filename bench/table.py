"""The terminal: progress while it runs, tables and advice when it is done (rich)."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from canter.bench.advice import Advice
from canter.bench.compare import Event
from canter.bench.report import Report, Row, ScenarioInfo
from canter.bench.result import Result


class Live:
    """Progress of a comparison: a context manager whose `tell` goes to the comparison."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(20),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[live]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("starting", total=None, live="")
        self._last = (0.0, 0.0, "")

    def __enter__(self) -> Live:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def tell(self, event: Event) -> None:
        if not self._console.is_terminal:
            if not event.live and event.text != self._last[2]:
                self._console.print(f"{event.step}/{event.steps} {event.text}", highlight=False)
            self._last = (0.0, 0.0, event.text)
            return
        self._progress.update(
            self._task,
            description=event.text,
            total=event.steps,
            completed=event.step - 1,
            live=self._speed(event),
        )

    def _speed(self, event: Event) -> str:
        """Answers a second since the last look."""
        live = event.live
        if not live:
            self._last = (0.0, 0.0, event.text)
            return ""
        at, answered, text = self._last
        self._last = (live["at"], live["answered"], event.text)
        if text != event.text or live["at"] <= at or live["answered"] < answered:
            return ""
        speed = (live["answered"] - answered) / (live["at"] - at)
        errors = f", {live['errors']:,.0f} errors" if live["errors"] else ""
        return f"{speed:,.0f}/s, {live['in_flight']:,.0f} under way{errors}"


COLUMNS = {
    "rate": ("rate", "/s"),
    "spread": ("", "min-max"),
    "p50": ("p50", "ms"),
    "p90": ("p90", "ms"),
    "p99": ("p99", "ms"),
    "p99.9": ("p99.9", "ms"),
    "first": ("first", "p99 ms"),
    "gap": ("gap", "p99 ms"),
    "late": ("late", "p99 ms"),
    "cpu": ("CPU", "us"),
    "cores": ("cores", "busy"),
    "memory": ("memory", "MiB"),
    "places": ("places", "busy"),
    "queue": ("queue", "ms"),
}
"""Columns of the table of a scenario: heading and unit."""
_LEAST = ("spread", "cores", "p90", "places", "queue", "p99.9", "first")
"""Columns that a narrow terminal does without, in this order."""


def cells(row: Row) -> dict[str, str]:
    """The texts of a row's cells; what is not known is missing."""
    found = {"rate": f"{row.rate:,.0f}"}
    spread = row.spread("rate")
    if spread is not None and len(row.rounds) > 1:
        found["spread"] = f"{spread[0]:,.0f}-{spread[1]:,.0f}"
    if row.latency.count:
        percents = (50, 90, 99, 99.9)
        for percent, value in zip(percents, row.latency.percentiles(percents), strict=True):
            found[f"p{percent:g}"] = milliseconds(value)
    for name in ("first", "gap", "late"):
        histogram = getattr(row.steady or row.full or Result(), name)
        if histogram.count:
            found[name] = milliseconds(histogram.percentile(99))
    for key, name, form in (
        ("cpu", "cpu_us", "{:,.0f}"),
        ("cores", "cores", "{:.2f}"),
        ("memory", "memory_mib", "{:,.0f}"),
        ("places", "busy", "{:.0%}"),
        ("queue", "queue_ms", "{:,.2f}"),
    ):
        known = row.middle(name)
        if known is not None:
            found[key] = form.format(known)
    return found


def remarks(row: Row) -> list[str]:
    """What has to be said about a row beside its figures."""
    if row.failed:
        return [row.failure]
    found = []
    if row.overloaded and row.steady is not None:
        found.append(f"{row.steady_rate:,.0f}/s was too much for it, it served {row.steady.rate:,.0f}/s")
    if row.errors:
        failed = "failed: " + ", ".join(f"{kind} {count:,}" for kind, count in row.errors.items())
        found.append(f"{failed}; most did, so it was visited once" if row.hopeless else failed)
    if row.hurried:
        found.append(
            f"loads of {row.load_seconds:.1f} s are too short for it: "
            f"it needs {row.turn:.1f} s to answer each client once"
        )
    return found


def milliseconds(seconds: float) -> str:
    value = seconds * 1e3
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def heading(report: Report, scenario: ScenarioInfo) -> str:
    """The scenario and how it was measured."""
    return f"{scenario.title}, {circumstances(report, scenario)}"


def circumstances(report: Report, scenario: ScenarioInfo) -> str:
    at = f"{scenario.rate:,.0f}/s" if scenario.rate else "full speed"
    return f"{scenario.connections:,} connections; {_made(report.of(scenario.name))}; latency at {at}"


def _made(rows: Sequence[Row]) -> str:
    """The rounds that were made, not those that were asked for, and how long their loads were."""
    count = max((len(row.rounds) for row in rows), default=0)
    seconds = sorted({f"{row.load_seconds:.1f}" for row in rows if row.rounds}, key=float)
    if not seconds:
        return "no rounds"
    length = seconds[0] if len(seconds) == 1 else f"{seconds[0]} to {seconds[-1]}"
    return f"{count} round{'s' * (count > 1)}, loads of {length} s"


def show(console: Console, report: Report, advice: list[Advice]) -> None:
    """The whole report."""
    for scenario in report.scenarios:
        console.print(Text(heading(report, scenario), style="bold"))
        if any(not row.failed for row in report.of(scenario.name)):
            console.print(_table(report, scenario, console.width))
        for row in report.of(scenario.name):
            for text in remarks(row):
                console.print(Text(f"{row.contender}: {text}", style="red"))
        _show_sweep(console, report, scenario)
        console.print()
    for each in advice:
        _show_advice(console, each)
    for note in report.notes:
        console.print(Text(f"note: {note}", style="yellow"))


def _table(report: Report, scenario: ScenarioInfo, width: int) -> Table:
    rows = sorted(report.of(scenario.name), key=lambda row: (row.failed, -row.rate))
    texts = {row.contender: cells(row) for row in rows if not row.failed}
    used = [key for key in COLUMNS if any(key in each for each in texts.values())]
    names = max((len(name) for name in texts), default=0)
    for key in _LEAST:
        if names + 4 + sum(_width(each, texts) for each in used) > width and key in used:
            used.remove(key)
    table = Table(box=SIMPLE_HEAD)
    table.add_column("", no_wrap=True)
    for key in used:
        title, unit = COLUMNS[key]
        table.add_column(f"{title}\n[dim]{unit}[/dim]", justify="right", no_wrap=True)
    for row in rows:
        if not row.failed:
            best = "bold green" if row is rows[0] else ""
            table.add_row(row.contender, *(texts[row.contender].get(key, "") for key in used), style=best)
    return table


def _width(key: str, texts: dict[str, dict[str, str]]) -> int:
    """Of a column, the space beside it included."""
    return 3 + max(*map(len, COLUMNS[key]), *(len(each.get(key, "")) for each in texts.values()))


def _show_sweep(console: Console, report: Report, scenario: ScenarioInfo) -> None:
    for row in report.of(scenario.name):
        knee = find_knee(row, report.sweep)
        if knee is not None:
            unit = "connections" if report.sweep == "connections" else "requests a second"
            console.print(f"{row.contender}: the knee is at {knee:,g} {unit}", highlight=False)


def find_knee(row: Row, sweep: str) -> float | None:
    """Where more does not help any more; None without a sweep.

    Of connections: the fewest that bring 95 % of the best rate. Of rates: the highest
    that is served to 97 % with a p99 of no more than five times that of the lowest.
    """
    if not row.sweep:
        return None
    if sweep == "connections":
        best = max(level.rate for level in row.sweep)
        return next(level.level for level in row.sweep if level.rate >= best * 0.95)
    limit = 5 * row.sweep[0].p99_ms
    good = [level.level for level in row.sweep if level.rate >= level.level * 0.97 and level.p99_ms <= limit]
    return max(good, default=None)


def _show_advice(console: Console, advice: Advice) -> None:
    if not advice.choice:
        console.print(Text.assemble((f"{advice.title}: no advice", "bold"), f" - {advice.reasons[0]}"))
        return
    console.print(Text.assemble((f"{advice.title}: ", "bold"), (advice.choice, "bold green")))
    lines = Table.grid(padding=(0, 1))
    lines.add_row("run", Text(advice.command, style="cyan"))
    for word, texts in (("because", advice.reasons), ("unless", advice.unless)):
        for number, text in enumerate(texts):
            lines.add_row("" if number else word, Text(text))
    console.print(Padding(lines, (0, 0, 0, 2)))
