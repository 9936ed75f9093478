"""The advice on recorded comparisons (`record.py`): right where theory is clear.

The built-in scenarios, and two real applications, under all worker classes. They were
recorded on a busy machine: the rules have to stand that, too.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from canter.bench.advice import Advice, advise
from canter.bench.contenders import CLASSES
from canter.bench.report import Report

RECORDED = Path(__file__).with_name("recorded.json")
SCENARIOS = {
    "fast": ("fast", None),
    "block": ("waits", {"gthread", "gevent"}),
    "polls": ("crowd", {"gevent", "eventlet", "asyncio"}),
    "cpu": ("cpu", {"sync"}),
    "flask, a small answer": ("fast", None),
    "flask, a call of 50 ms": ("waits", {"gthread", "gevent"}),
    "flask, computing": ("cpu", {"sync"}),
    "flask, 512 that wait for 2 s": ("crowd", {"gevent", "eventlet"}),
    "django, a page with a query": ("cpu", {"sync"}),
}
"""Shape and classes that are right; None: whichever was the fastest."""


@pytest.fixture(scope="module")
def report() -> Report:
    return Report.load(str(RECORDED))


@pytest.fixture(scope="module")
def advice(report: Report) -> dict[str, Advice]:
    return {each.scenario: each for each in advise(report)}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_class_was_recorded(report: Report, scenario: str) -> None:
    assert {row.contender for row in report.of(scenario)} == set(CLASSES["wsgi"])
    assert not any(row.failed or row.wrong for row in report.of(scenario))


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_shape(advice: dict[str, Advice], scenario: str) -> None:
    assert advice[scenario].shape == SCENARIOS[scenario][0]


@pytest.mark.parametrize("scenario", [name for name, (_, choices) in SCENARIOS.items() if choices])
def test_choice(advice: dict[str, Advice], scenario: str) -> None:
    assert advice[scenario].choice in (SCENARIOS[scenario][1] or ())


@pytest.mark.parametrize("scenario", [name for name, (_, choices) in SCENARIOS.items() if not choices])
def test_tiny_answers_go_to_the_fastest(report: Report, advice: dict[str, Advice], scenario: str) -> None:
    rows = report.of(scenario)
    chosen = next(row for row in rows if row.contender == advice[scenario].choice)
    assert chosen.rate >= 0.97 * max(row.rate for row in rows)


def test_sync_is_never_chosen_for_what_waits(advice: dict[str, Advice]) -> None:
    waiting = [each for each in advice.values() if each.shape in ("waits", "crowd")]
    assert len(waiting) == 4
    assert all(each.choice != "sync" for each in waiting)
