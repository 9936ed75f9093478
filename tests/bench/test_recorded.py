"""The advice on a recorded comparison of the worker classes: right where theory is clear."""

from __future__ import annotations

from pathlib import Path

import pytest

from canter.bench.advice import Advice, advise
from canter.bench.report import Report

RECORDED = Path(__file__).with_name("recorded.json")


@pytest.fixture(scope="module")
def advice() -> dict[str, Advice]:
    return {each.scenario: each for each in advise(Report.load(str(RECORDED)))}


@pytest.mark.parametrize(
    ("scenario", "shape", "choices"),
    [
        ("block", "waits", {"gthread", "gevent"}),
        ("polls", "crowd", {"gevent", "eventlet", "asyncio"}),
        ("cpu", "cpu", {"sync"}),
    ],
)
def test_recorded(advice: dict[str, Advice], scenario: str, shape: str, choices: set[str]) -> None:
    assert advice[scenario].shape == shape
    assert advice[scenario].choice in choices


def test_tiny_answers_go_to_the_fastest(advice: dict[str, Advice]) -> None:
    rows = Report.load(str(RECORDED)).of("fast")
    best = max(row.rate for row in rows)
    chosen = next(row for row in rows if row.contender == advice["fast"].choice)
    assert advice["fast"].shape == "fast"
    assert chosen.rate >= 0.97 * best
