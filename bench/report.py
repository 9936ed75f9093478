"""What a comparison found out: plain data that goes to JSON and comes back.

A `Row` is one contender in one scenario. Its figures are medians over the rounds; its
histograms are all rounds together. Everything that is shown (table, page, advice) is
made from this and from nothing else, so a recorded report says the same again.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import median
from typing import Any

from canter.bench.result import Histogram, Result

VERSION = 1
_USUAL = 25


@dataclass
class Figures:
    """One round: what was seen beside the generator's own result. None: not known on this system."""

    rate: float = 0.0
    cpu_us: float | None = None
    """User and system time of all the server's processes for a request."""
    cores: float | None = None
    """Cores that the server kept busy."""
    memory_mib: float | None = None
    """PSS of all its processes, the most that was seen."""
    busy: float | None = None
    """Share of the server's places (threads, greenlets ...) that were taken, on average."""
    queue_ms: float | None = None
    """What a complete request waited for a place, on average."""


@dataclass
class Level:
    """One step of a sweep."""

    level: float
    rate: float
    p50_ms: float
    p99_ms: float
    errors: int


@dataclass
class Row:
    """One contender in one scenario."""

    scenario: str
    contender: str
    command: str = ""
    load_command: str = ""
    failure: str = ""
    """Why there are no figures, in one line."""
    rounds: list[Figures] = field(default_factory=list)
    alone: Result | None = None
    """One client by itself: what a request takes where nothing queues."""
    full: Result | None = None
    """As fast as it could (closed loop); of a scenario with a rate of its own: at that rate."""
    steady: Result | None = None
    """At the rate that all contenders had to bear (open loop)."""
    steady_rate: float = 0.0
    sweep: list[Level] = field(default_factory=list)

    def middle(self, name: str) -> float | None:
        """The median of a figure over the rounds in which it is known."""
        values = [value for each in self.rounds if (value := getattr(each, name)) is not None]
        return median(values) if values else None

    def spread(self, name: str) -> tuple[float, float] | None:
        values = [value for each in self.rounds if (value := getattr(each, name)) is not None]
        return (min(values), max(values)) if values else None

    @property
    def rate(self) -> float:
        return self.middle("rate") or 0.0

    @property
    def latency(self) -> Histogram:
        """Latency at the common rate, else as it was at full speed."""
        result = self.steady or self.full
        return result.latency if result is not None else Histogram()

    @property
    def time(self) -> float:
        """Seconds of a request where nothing queues, as far as that was measured.

        A low percentile: what is over it may be the noise of the machine.
        """
        for result in (self.alone, self.steady, self.full):
            if result is not None and result.latency.count:
                return result.latency.percentile(_USUAL)
        return 0.0

    @property
    def errors(self) -> dict[str, int]:
        """All errors by kind."""
        found: dict[str, int] = {}
        for result in (self.full, self.steady):
            for kind, count in (result.errors if result else {}).items():
                found[kind] = found.get(kind, 0) + count
        return found

    @property
    def error_share(self) -> float:
        """Of the requests at full speed; what fails at a rate that is too high tells of that rate."""
        if self.full is None or not self.full.sent:
            return 1.0
        return self.full.failed / self.full.sent

    @property
    def hopeless(self) -> bool:
        """Whether most of what it was sent at full speed failed."""
        return bool(self.rounds) and self.error_share > 0.5

    @property
    def wrong(self) -> dict[str, int]:
        """Errors that are not just too much load: no comparison makes a right answer wrong."""
        return {kind: count for kind, count in self.errors.items() if kind not in ("timeout", "unsent")}

    @property
    def overloaded(self) -> bool:
        """Whether the rate that all had to bear was too much for it.

        Held against the requests that arrived within the measured window, and not against the
        rate: arrivals are random, and of few there may well be a tenth less.
        """
        if self.steady is None:
            return False
        arrived = self.steady.latency.count + self.steady.failed
        return self.steady.measured < 0.9 * arrived

    @property
    def load_seconds(self) -> float:
        """Of each load at full speed, on average."""
        return self.full.seconds / len(self.rounds) if self.full is not None and self.rounds else 0.0

    @property
    def turn(self) -> float:
        """Seconds in which every client gets an answer, at full speed; 0.0 where that is not the question.

        By Little's law, and not from the latencies: those that came in time may be the short ones. Of a
        closed loop alone: where requests have a rate of their own, nothing queues that is kept up with.
        """
        if self.alone is None or self.full is None:
            return 0.0
        return self.full.in_flight / self.full.rate if self.full.rate else math.inf

    @property
    def hurried(self) -> bool:
        """Whether the loads were too short to tell how much it can do: for two answers to each client."""
        return 2 * self.turn > self.load_seconds

    @property
    def failed(self) -> bool:
        return bool(self.failure)


@dataclass
class ScenarioInfo:
    """What was sent."""

    name: str
    title: str
    connections: int
    rate: float = 0.0
    wait: float = 0.0


@dataclass
class ContenderInfo:
    """Who was compared."""

    name: str
    kind: str
    flags: str
    workers: int
    threads: int
    ours: bool
    version: str = ""


@dataclass
class Report:
    """One comparison."""

    app: str
    machine: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    seconds: float = 0.0
    """Of load in each round, as asked for."""
    rounds: int = 0
    """As asked for: those that were made are in the rows."""
    scenarios: list[ScenarioInfo] = field(default_factory=list)
    contenders: list[ContenderInfo] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    sweep: str = ""
    """What was swept: ``connections`` or ``rate``."""
    notes: list[str] = field(default_factory=list)

    def of(self, scenario: str) -> list[Row]:
        return [row for row in self.rows if row.scenario == scenario]

    def contender(self, name: str) -> ContenderInfo:
        return next(each for each in self.contenders if each.name == name)

    def to_dict(self) -> dict[str, Any]:
        return {"canter-bench": VERSION, **_plain(self)}

    def save(self, path: str) -> None:
        Path(path).write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Report:
        """Raises ValueError where this is no report of this version."""
        if not isinstance(values, dict) or values.get("canter-bench") != VERSION:
            raise ValueError("this is no report of canter-bench, or one of another version")
        values = {name: value for name, value in values.items() if name != "canter-bench"}
        values["scenarios"] = [ScenarioInfo(**each) for each in values["scenarios"]]
        values["contenders"] = [ContenderInfo(**each) for each in values["contenders"]]
        values["rows"] = [_row(each) for each in values["rows"]]
        return cls(**values)

    @classmethod
    def load(cls, path: str) -> Report:
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}: {error}") from None


def _plain(value: Any) -> Any:
    """Dataclasses to dictionaries, results by their own `to_dict`."""
    if isinstance(value, Result):
        return value.to_dict()
    if hasattr(value, "__dataclass_fields__"):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


def _row(values: dict[str, Any]) -> Row:
    values["rounds"] = [Figures(**each) for each in values["rounds"]]
    values["sweep"] = [Level(**each) for each in values["sweep"]]
    for name in ("alone", "full", "steady"):
        if values[name] is not None:
            values[name] = Result.from_dict(values[name])
    return Row(**values)
