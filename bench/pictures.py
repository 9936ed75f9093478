"""Which pictures a scenario has, and what is drawn in each. Pure; `charts` draws them.

A contender looks the same in every picture: its colour is that of its place among the
contenders, and where there are more of them than colours the rest have dashed lines and
paler bars. Beside peers, the names of our own classes are bold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from canter.bench import charts
from canter.bench.charts import PALETTE, Axis, Bar, Curve, Point
from canter.bench.report import Report, Row, ScenarioInfo
from canter.bench.result import Histogram, Result
from canter.bench.table import find_knee

_PERCENTS = (*range(0, 90, 5), 90, 92, 94, 95, 96, 97, 98, 99, 99.3, 99.5, 99.7, 99.9, 99.95, 99.99)


_UPWARDS: dict[str, Callable[[Sequence[float]], Axis]] = {
    "rate": lambda values: charts.linear_axis("answers a second", values),
    "p99_ms": lambda values: charts.log_axis("ms", values),
}
"""The axis of a figure of a sweep."""


@dataclass(frozen=True)
class Picture:
    """A headline and what is below it."""

    name: str
    title: str
    svg: str


def of(report: Report, scenario: ScenarioInfo) -> list[Picture]:
    """All that there is something to draw in, the most telling first."""
    rows = sorted(
        (row for row in report.of(scenario.name) if not row.failed), key=lambda row: row.rate, reverse=True
    )
    sound = [row for row in rows if not row.hopeless]
    looks = _Looks(report)
    found = (
        Picture("rate", "Answers a second (more is better)", looks.bars(rows, "rate", "/s", ascending=False)),
        Picture("latency", "Latency (lower is better)", looks.percentiles(sound, lambda row: row.latency)),
        Picture("late", "Woken so late (lower is better)", looks.percentiles(sound, _histogram("late"))),
        Picture("first", "Time to the first octet", looks.percentiles(sound, _histogram("first"))),
        Picture("gap", "Time between the pieces", looks.percentiles(sound, _histogram("gap"))),
        Picture("cpu", "CPU time of a request", looks.bars(sound, "cpu_us", "us")),
        Picture("memory", "Memory of all processes", looks.bars(sound, "memory_mib", "MiB")),
        Picture("sweep", f"More {report.sweep}: the knee is marked", looks.sweep(sound, "rate")),
        Picture("sweep-latency", f"More {report.sweep}: p99", looks.sweep(sound, "p99_ms")),
    )
    return [each for each in found if each.svg]


def _histogram(name: str) -> Callable[[Row], Histogram]:
    def get(row: Row) -> Histogram:
        histogram = getattr(row.steady or row.full or Result(), name)
        assert isinstance(histogram, Histogram)
        return histogram

    return get


class _Looks:
    """Draws rows of one report, each in its contender's colour."""

    def __init__(self, report: Report) -> None:
        self._report = report
        names = [each.name for each in report.contenders]
        self._colour = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(names)}
        self._second = set(names[len(PALETTE) :])
        ours = {each.name for each in report.contenders if each.ours}
        self._strong = ours if len(ours) < len(names) else set()

    def _curve(self, row: Row, points: Sequence[Point], mark: Point | None = None) -> Curve:
        name = row.contender
        return Curve(name, points, self._colour[name], mark, name in self._second, name in self._strong)

    def bars(self, rows: Sequence[Row], figure: str, unit: str, *, ascending: bool = True) -> str:
        """A bar a row, the best first."""
        found = []
        for row in rows:
            value, spread = row.middle(figure), row.spread(figure)
            if value is not None and spread is not None:
                name = row.contender
                look = name in self._second, name in self._strong
                found.append(Bar(name, value, self._colour[name], *spread, *look))
        found.sort(key=lambda bar: bar.value, reverse=not ascending)
        return charts.bars(found, unit) if found else ""

    def percentiles(self, rows: Sequence[Row], histogram: Callable[[Row], Histogram]) -> str:
        """A curve a row: the time within which a share of the requests was through."""
        lines = []
        for row in rows:
            seen = histogram(row)
            if seen.count:
                percents = [percent for percent in _PERCENTS if seen.count * (1 - percent / 100) >= 0.5]
                values = seen.percentiles(percents)
                points = [(percent, value * 1e3) for percent, value in zip(percents, values, strict=True)]
                lines.append(self._curve(row, points))
        if not lines:
            return ""
        shown = [value for line in lines for _, value in line.points]
        return charts.curves(lines, charts.percentile_axis(), charts.log_axis("ms", shown))

    def sweep(self, rows: Sequence[Row], figure: str) -> str:
        """A figure by level."""
        lines, by = [], self._report.sweep
        for row in rows:
            if row.sweep:
                points = [(level.level, getattr(level, figure)) for level in row.sweep]
                knee = find_knee(row, by)
                lines.append(
                    self._curve(row, points, next((each for each in points if each[0] == knee), None))
                )
        if not lines:
            return ""
        levels = [at for line in lines for at, _ in line.points]
        values = [value for line in lines for _, value in line.points]
        title = "connections" if by == "connections" else "arrivals a second"
        across = (charts.log_axis if by == "connections" else charts.linear_axis)(title, levels)
        return charts.curves(lines, across, _UPWARDS[figure](values))
