"""Results: what goes out as JSON comes back the same, and runs add up."""

from __future__ import annotations

from canter.bench.result import Histogram, Result, Tally


def histogram(*seconds: float) -> Histogram:
    tally = Tally()
    for value in seconds:
        tally.add(value)
    return Histogram.of(tally)


def test_percentiles_have_three_digits() -> None:
    found = histogram(*(number / 1000 for number in range(1, 1001)))
    assert found.count == 1000
    for percent, wanted in ((50, 0.5), (90, 0.9), (99, 0.99), (100, 1.0)):
        assert abs(found.percentile(percent) - wanted) <= wanted / 500
    assert abs(found.max - 1.0) < 0.002


def test_an_empty_histogram_says_nothing() -> None:
    assert (Histogram().count, Histogram().percentile(99), Histogram().max) == (0, 0.0, 0.0)
    assert Histogram.decode(Histogram().encode()).count == 0


def test_round_trip() -> None:
    result = Result(seconds=2.0, sent=4, answered=3, measured=3, errors={"reset": 1}, statuses={"200": 3})
    result.latency = histogram(0.001, 0.002, 0.5)
    again = Result.from_json(result.to_json())
    assert again == result
    assert again.rate == 1.5
    assert again.latency.summary() == result.latency.summary()


def test_runs_add_up() -> None:
    first = Result(seconds=1.0, answered=10, measured=10, errors={"reset": 1}, latency=histogram(0.1))
    second = Result(seconds=3.0, answered=2, measured=2, errors={"reset": 1, "body": 2}, warnings=["w"])
    second.latency = histogram(0.3)
    first.merge(second)
    assert (first.seconds, first.answered, first.rate) == (4.0, 12, 3.0)
    assert first.errors == {"reset": 2, "body": 2}
    assert first.latency.count == 2
    assert first.warnings == ["w"]
