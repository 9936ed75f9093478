"""A comparison of real processes: a small server, one that does not start, one that errs."""

from __future__ import annotations

from pathlib import Path

import pytest

from canter.bench import compare as compare_module
from canter.bench import scenarios
from canter.bench.compare import Comparison, Event, Runner
from canter.bench.contenders import Contender
from canter.bench.peers import Peer
from canter.bench.plan import Target
from canter.bench.report import Report
from canter.bench.scenarios import Scenario
from tests.bench import scripted

TINY = Path(__file__).with_name("tiny_server.py")
FAST = Scenario("fast", "tiny fast answers", (Target("/"),), 4)
WAIT = Scenario("polls", "long polls", (Target("/wait?ms=50", check="stamp"),), 20, rate=40.0, wait=0.05)


def contender(name: str, command: str, package: str = "pytest") -> Contender:
    return Contender(name, Peer(name, "wsgi", command, package), name, 1)


def good(name: str = "good") -> Contender:
    return contender(name, f"{{python}} {TINY} {{port}} {{app}}")


def compare(*contenders: Contender, plans: list[Scenario], **settings: object) -> tuple[Report, list[Event]]:
    events: list[Event] = []
    values = {"seconds": 0.3, "warmup": 0.1, "rounds": 2, "tell": events.append, **settings}
    comparison = Comparison("", plans, list(contenders), **values)  # type: ignore[arg-type]
    return Runner(comparison, Report("")).run(), events


def test_one_bad_contender_does_not_stop_the_others() -> None:
    report, events = compare(
        contender("ends", '{python} -c "raise SystemExit(1)"'),
        good(),
        contender("absent", "{bin}/absent", "no-such-package"),
        plans=[FAST],
    )
    rows = {row.contender: row for row in report.rows}
    assert rows["ends"].failure == "it ended with 1: it said nothing"
    assert rows["absent"].failure == "not installed: no-such-package"
    found = rows["good"]
    assert not found.failed, found.failure
    assert len(found.rounds) == 2
    assert found.rate > 0
    assert found.steady is not None
    assert 0 < found.steady_rate == report.scenarios[0].rate < found.rate * 2
    assert found.middle("cpu_us") is None or found.middle("cpu_us") > 0  # type: ignore[operator]
    assert "tiny_server.py" in found.command
    assert found.load_command.startswith("python -m canter.bench.load http://127.0.0.1:8000/")
    assert {event.text for event in events} == {"fast: ends", "fast: good", "fast: absent"}
    assert {event.steps for event in events} == {6}
    assert [event.step for event in events] == sorted(event.step for event in events)


def test_a_scenario_with_a_rate_of_its_own() -> None:
    report, _ = compare(good(), plans=[WAIT], rounds=1)
    (found,) = report.rows
    assert not found.failed, found.failure
    assert found.steady is None
    assert found.full is not None
    assert found.full.late.count > 0
    assert report.scenarios[0].wait == 0.05


def test_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("canter.bench.compare._RATE_STEPS", (0.1, 0.2))
    report, _ = compare(good(), plans=[FAST], rounds=1, sweep="rate")
    (found,) = report.rows
    assert not found.failed, found.failure
    assert [level.level for level in found.sweep] == sorted(level.level for level in found.sweep)
    assert len(found.sweep) == 2


def test_a_scenario_that_errs_is_told_in_one_line() -> None:
    wrong = scenarios.own((Target("/missing"),))["own"]
    report, _ = compare(good(), plans=[wrong])
    assert report.rows[0].failure == "every request failed: status-404 (GET /missing answered 404)"


def test_one_that_fails_most_is_visited_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("canter.bench.compare._PATIENCE", 0.1)
    late = Scenario("late", "slower than anyone waits", (Target("/"), Target("/wait?ms=2000", weight=9)), 4)
    report, _ = compare(good(), plans=[late])
    (found,) = report.rows
    assert found.failed or (len(found.rounds) == 1 and found.hopeless)


def test_there_is_an_end_to_the_time() -> None:
    report, _ = compare(good(), good("later"), plans=[FAST], rounds=2, within=0.001)
    assert [row.failure for row in report.rows] == ["left out: the time was over"] * 2


def test_without_time_for_a_second_round_latency_is_that_of_full_speed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("canter.bench.budget.Budget.enough", lambda budget, left: False)
    report, _ = compare(good(), plans=[FAST, WAIT], rounds=3, within=60.0)
    assert [len(row.rounds) for row in report.rows] == [1, 1]
    assert report.notes == [compare_module._CUT]
    assert [each.rate for each in report.scenarios] == [0.0, WAIT.rate]


def test_a_rate_that_is_given_is_sent_in_the_first_round() -> None:
    report, _ = compare(good(), plans=[FAST], rounds=1, rate=50.0)
    (found,) = report.rows
    assert found.steady is not None
    assert (found.steady_rate, report.scenarios[0].rate) == (50.0, 50.0)


def test_a_port_in_use_is_not_taken_for_the_server() -> None:
    with scripted.serve(scripted.Request.echo) as url:
        report, _ = compare(good(), plans=[FAST], port=int(url.rpartition(":")[2]))
    assert report.rows[0].failure.endswith("Address already in use")
    assert report.rows[0].full is None


def test_a_websocket_needs_asgi() -> None:
    report, _ = compare(good(), plans=[scenarios.builtin()["websocket"]])
    assert report.rows == []


@pytest.mark.parametrize("python", ["", "/no/such/python"])
def test_steps_are_known_before(python: str) -> None:
    comparison = Comparison(
        "", [FAST, WAIT], [good("a"), good("b")], rounds=3, sweep="rate", peers_python=python
    )
    assert comparison.steps() == 16
