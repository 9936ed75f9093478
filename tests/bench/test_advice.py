"""The rules of the advice: right where theory is clear, and open about what it does not know."""

from __future__ import annotations

import pytest

from canter.bench.advice import Advice, advise
from canter.bench.report import Report
from tests.bench.samples import BLOCK, CPU, FAST, POLLS, report, row


def advice(made: Report) -> Advice:
    (found,) = advise(made)
    return found


def blocking(gthread: float = 1280, gevent: float = 1290) -> Report:
    return report(
        BLOCK,
        row("block", "sync", 60, 900, cpu_us=100),
        row("block", "gthread", gthread, 51, cpu_us=90),
        row("block", "gevent", gevent, 51, cpu_us=80),
    )


def test_blocking_calls_want_threads() -> None:
    found = advice(blocking())
    assert (found.shape, found.choice) == ("waits", "gthread")
    assert found.command == "canter -k gthread -w 3 shop:app"
    assert "a request waits 5" in found.reasons[0]
    assert "gthread served 1,280/s" in found.reasons[1]


def test_blocking_calls_want_greenlets_where_threads_are_too_few() -> None:
    assert advice(blocking(gthread=640)).choice == "gevent"


def test_blocking_calls_never_want_sync() -> None:
    made = report(BLOCK, row("block", "sync", 1000, 51), row("block", "gthread", 500, 51))
    assert advice(made).choice == "gthread"


def test_a_crowd_of_long_polls_wants_an_event_loop_with_little_memory() -> None:
    made = report(
        POLLS,
        row("polls", "sync", 2, 6000, errors=2900),
        row("polls", "gthread", 32, 6000, errors=2800),
        row("polls", "gevent", 1000, 2001, memory=90),
        row("polls", "asyncio", 995, 2002, memory=60),
    )
    found = advice(made)
    assert (found.shape, found.choice) == ("crowd", "asyncio")
    assert "sync failed 97% of the requests (timeout 2,900)" in found.others


def test_a_crowd_that_only_threads_served() -> None:
    made = report(POLLS, row("polls", "gthread", 1000, 2001), row("polls", "gevent", 100, 2001, errors=2000))
    assert advice(made).choice == "gthread"


def test_computing_wants_processes() -> None:
    made = report(
        CPU,
        row("cpu", "sync", 1400, 3.0, cpu_us=2100),
        row("cpu", "gthread", 1450, 2.5, cpu_us=2050),
        row("cpu", "gevent", 1300, 2.5, cpu_us=2200),
    )
    found = advice(made)
    assert (found.shape, found.choice) == ("cpu", "sync")
    assert "processes" in found.reasons[0]


@pytest.mark.parametrize("fastest", ["sync", "gthread", "gevent", "asyncio"])
def test_tiny_answers_want_whatever_was_fastest(fastest: str) -> None:
    rows = [row("fast", kind, 50_000, 0.2) for kind in ("sync", "gthread", "gevent", "asyncio")]
    rows += [row("fast", "granian", 90_000, 0.1)]
    for each in rows:
        if each.contender == fastest:
            each.rounds[1].rate = 60_000
    found = advice(report(FAST, *rows))
    assert (found.shape, found.choice) == ("fast", fastest)
    assert not any("granian" in reason for reason in found.others)


def test_of_equally_fast_classes_the_simplest() -> None:
    made = report(FAST, row("fast", "gevent", 50_900, 0.2), row("fast", "gthread", 50_000, 0.2))
    assert advice(made).choice == "gthread"


def test_the_time_of_a_request_is_that_of_one_client_by_itself() -> None:
    """At full speed 16 clients queue for one core: that is no waiting that threads would help."""
    made = report(CPU, row("cpu", "sync", 400, 40, cpu_us=2100), row("cpu", "gthread", 390, 38, cpu_us=2050))
    assert advice(made).shape == "waits"
    for each in made.rows:
        each.alone = row("cpu", "sync", 400, 2.2).full
    assert advice(made).shape == "cpu"


def test_what_failed_is_named_and_never_advised() -> None:
    broken = row("fast", "gevent", 90_000, 0.1)
    broken.failure = "worker class gevent needs a package: pip install 'canter[gevent]'"
    found = advice(report(FAST, row("fast", "sync", 50_000, 0.2), broken))
    assert found.choice == "sync"
    assert f"gevent: {broken.failure}" in found.others


def test_no_advice_where_nothing_worked() -> None:
    made = report(FAST, row("fast", "sync", 100, 5, errors=500))
    found = advice(made)
    assert (found.choice, found.command) == ("", "")
    assert "no worker class served this traffic" in found.reasons[0]


def test_what_would_change_its_mind() -> None:
    found = advice(blocking())
    assert "raise --threads" in found.unless[0]
    assert found.unless[-1].startswith("measured on 3 of 4 cores")


def test_a_choice_by_speed_admits_how_much_the_rounds_differ() -> None:
    near = report(FAST, row("fast", "gevent", 52_000, 0.2), row("fast", "gthread", 50_000, 0.2))
    far = report(FAST, row("fast", "gevent", 70_000, 0.2), row("fast", "gthread", 50_000, 0.2))
    assert advice(near).unless[0] == "more rounds say otherwise: in its best one gthread was as fast"
    assert "rounds" not in " ".join(advice(far).unless)


def test_figures_may_be_missing() -> None:
    """A system without /proc tells neither CPU time nor memory."""
    made = blocking()
    for each in made.rows:
        for figures in each.rounds:
            figures.cpu_us = figures.cores = figures.memory_mib = None
    assert advice(made).choice == "gthread"
