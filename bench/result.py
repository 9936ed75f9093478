"""What a run found out: histograms, counts and the JSON they travel as.

Values are recorded into a `Tally` (a dictionary of microseconds: one increment a
request) and become an HDR histogram once, at the end: the histogram's own recording
costs a microsecond in Python, and the generator has none to give.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

LONGEST = 3_600_000_000
"""An hour in microseconds: the largest value a histogram holds."""


class Tally(dict[int, int]):
    """Counts by microsecond."""

    def add(self, seconds: float) -> None:
        value = int(seconds * 1e6)
        self[value] = self.get(value, 0) + 1


class Histogram:
    """An HDR histogram of durations, three significant digits; every answer is in seconds."""

    def __init__(self, inner: Any = None) -> None:
        self._inner = inner if inner is not None else HdrHistogram(1, LONGEST, 3)

    @classmethod
    def of(cls, tally: dict[int, int]) -> Histogram:
        """The histogram of a tally's values."""
        histogram = cls()
        for value, count in tally.items():
            histogram._inner.record_value(min(max(value, 1), LONGEST), count)
        return histogram

    @classmethod
    def decode(cls, text: str) -> Histogram:
        """From the standard form (HdrHistogram V2, compressed, base64)."""
        histogram = cls()
        if text:
            histogram._inner.decode_and_add(text.encode())
        return histogram

    def encode(self) -> str:
        return str(self._inner.encode().decode()) if self.count else ""

    @property
    def count(self) -> int:
        return int(self._inner.get_total_count())

    @property
    def max(self) -> float:
        return float(self._inner.get_max_value()) / 1e6 if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """Seconds that `percent` per cent of the values do not exceed (0.0 where there are none)."""
        return float(self._inner.get_value_at_percentile(percent)) / 1e6 if self.count else 0.0

    def percentiles(self, percents: Iterable[float]) -> list[float]:
        """Several at once: they cost one walk over the histogram together, and each alone costs one."""
        wanted = list(percents)
        if not self.count:
            return [0.0] * len(wanted)
        found = self._inner.get_percentile_to_value_dict(wanted)
        return [found[percent] / 1e6 for percent in wanted]

    def merge(self, other: Histogram) -> None:
        self._inner.add(other._inner)

    def summary(self) -> dict[str, float]:
        """The figures people ask for, in milliseconds."""
        percents = (50, 90, 99, 99.9)
        named = {"max": self.max}
        named |= {
            f"p{each:g}": value for each, value in zip(percents, self.percentiles(percents), strict=True)
        }
        return {name: round(seconds * 1e3, 3) for name, seconds in named.items()}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.encode() == other.encode()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Histogram(count={self.count}, {self.summary()})"


_HISTOGRAMS = ("latency", "first", "gap", "late", "lag")


@dataclass
class Result:
    """One run of the generator. Every request sent is in exactly one of `answered`, `aborted`, `errors`."""

    seconds: float = 0.0
    """Length of the measured window."""
    sent: int = 0
    answered: int = 0
    """Right answers, warm-up included."""
    measured: int = 0
    """Right answers that arrived within the measured window."""
    aborted: int = 0
    """Requests whose client went away on purpose."""
    errors: dict[str, int] = field(default_factory=dict)
    """By kind; see `canter.bench.engine`."""
    examples: dict[str, str] = field(default_factory=dict)
    """One observation of each kind of error, for the person who has to find its cause."""
    statuses: dict[str, int] = field(default_factory=dict)
    opened: int = 0
    """Connections opened for the load."""
    in_flight: int = 0
    """The most requests that were under way at once."""
    received: int = 0
    """Octets of bodies received."""
    dribbled: int = 0
    """Right answers that dribbling clients got."""
    idle_held: int = 0
    """Idle connections that were still open at the end."""
    cpu: float = 0.0
    """Share of one core that the generator itself used."""
    loop: str = ""
    warnings: list[str] = field(default_factory=list)
    latency: Histogram = field(default_factory=Histogram)
    first: Histogram = field(default_factory=Histogram)
    """Time to the first octet of an answer (where it is looked at as it comes)."""
    gap: Histogram = field(default_factory=Histogram)
    """Time between the pieces of an answer (where it is looked at as it comes)."""
    late: Histogram = field(default_factory=Histogram)
    """How long after its stamp an event or a wake-up arrived."""
    lag: Histogram = field(default_factory=Histogram)
    """How long after its time the generator itself got round to a request (open loop)."""

    @property
    def rate(self) -> float:
        """Right answers a second in the measured window."""
        return self.measured / self.seconds if self.seconds else 0.0

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    def merge(self, other: Result) -> None:
        """Add another run of the same load: seconds add up, so `rate` is that of all runs."""
        for name in ("seconds", "sent", "answered", "measured", "aborted", "opened", "received", "dribbled"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.errors = dict(Counter(self.errors) + Counter(other.errors))
        self.statuses = dict(Counter(self.statuses) + Counter(other.statuses))
        self.examples = {**other.examples, **self.examples}
        self.in_flight = max(self.in_flight, other.in_flight)
        self.cpu = max(self.cpu, other.cpu)
        self.idle_held = max(self.idle_held, other.idle_held)
        self.loop = other.loop
        self.warnings += [warning for warning in other.warnings if warning not in self.warnings]
        for name in _HISTOGRAMS:
            getattr(self, name).merge(getattr(other, name))

    def to_dict(self) -> dict[str, Any]:
        """Plain data: each histogram as its summary in ms and as its standard encoding."""
        values = {name: value for name, value in self.__dict__.items() if name not in _HISTOGRAMS}
        values["rate"] = round(self.rate, 3)
        for name in _HISTOGRAMS:
            histogram: Histogram = getattr(self, name)
            if histogram.count:
                values[name] = {
                    "ms": histogram.summary(),
                    "count": histogram.count,
                    "hdr": histogram.encode(),
                }
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Result:
        values = {name: value for name, value in values.items() if name != "rate"}
        for name in _HISTOGRAMS:
            if name in values:
                values[name] = Histogram.decode(values[name]["hdr"])
        return cls(**values)

    def to_json(self) -> str:
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Result:
        return cls.from_dict(json.loads(text))
