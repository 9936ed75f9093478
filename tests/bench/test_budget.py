"""Time for a comparison, shared out by a clock that the test winds."""

from __future__ import annotations

from canter.bench.budget import Budget, Visit


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_a_limit_nothing_changes() -> None:
    budget = Budget(0.0, Clock())
    assert budget.seconds(3.0, [Visit(2)] * 1000) == 3.0
    assert budget.enough([Visit(2)] * 1000)
    assert not budget.over(Visit(2))


def test_loads_share_what_is_left_once_starting_and_stopping_are_paid() -> None:
    clock = Clock()
    budget = Budget(60.0, clock)
    left = [Visit(1, beside=0.5)] * 6 + [Visit(2)] * 6
    clock.now = 3.0
    budget.spent(left[0], 1.5, 3.0)  # a second beside load and known wait
    assert budget.seconds(9.0, left[1:]) == (57 - 11 * 1.0 - 5 * 0.5) / 17


def test_loads_have_bounds() -> None:
    clock = Clock()
    budget = Budget(60.0, clock)
    assert budget.seconds(3.0, [Visit(1)]) == 10.0
    clock.now = 59.0
    assert budget.seconds(3.0, [Visit(1)] * 9) == 0.3
    assert budget.seconds(3.0, []) == 3.0
    assert not budget.enough([Visit(1)] * 9)
    assert budget.enough([])


def test_one_that_hangs_does_not_shorten_the_loads_of_the_others() -> None:
    budget = Budget(100.0, Clock())
    for wall in (2.0, 31.0, 2.0):
        budget.spent(Visit(1), 1.0, wall)
    assert budget.seconds(1.0, [Visit(1)] * 20) == (100 - 20 * 1.0) / 20


def test_nothing_begins_that_would_not_end_in_time() -> None:
    clock = Clock()
    budget = Budget(10.0, clock)
    assert not budget.over(Visit(1))
    clock.now = 8.0
    assert not budget.over(Visit(1))
    assert budget.over(Visit(1, least=1.5))
    budget.spent(Visit(1), 1.0, 4.0)
    assert budget.over(Visit(1))


def test_no_load_is_shorter_than_its_visit_is_worth() -> None:
    """Long polls need ten seconds: the others share what is left then."""
    budget = Budget(100.0, Clock())
    polls, others = [Visit(1, least=10)] * 4, [Visit(2, least=2)] * 8
    assert budget.seconds(1.0, polls + others) == 10.0
    assert budget.seconds(1.0, others + polls) == (100 - 12 - 40) / 16
    assert budget.enough(polls + others)
    assert not budget.enough(polls * 2 + others)
    assert budget.seconds(1.0, others * 9) == 2.0
    assert Budget(0.0, Clock()).seconds(3.0, polls) == 10.0
