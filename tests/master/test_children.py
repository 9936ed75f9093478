"""The process table, without a process: what happens, and what must be done then."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from canter.master import children
from canter.master.children import (
    SECOND,
    Abort,
    Child,
    End,
    Kill,
    Limits,
    Phase,
    Start,
    Stop,
    Table,
    describe,
)


class Story:
    """A table, a clock, and processes that do what the test says."""

    def __init__(self, target: int = 2, **limits: int) -> None:
        self.now = 1000 * SECOND
        self.table = Table(target, Limits(**limits))
        self.pid = 100

    def step(self) -> list[str]:
        """Do what the table asks for; in words."""
        told = []
        for action in self.table.plan(self.now):
            match action:
                case Start(child):
                    self.pid += 1
                    self.table.born(child, self.pid, self.now)
                    told.append(f"start {child.age} in {child.seat} gen {child.generation}")
                case Stop(child, quick):
                    told.append(f"{'quit' if quick else 'stop'} {child.age}")
                case Abort(child):
                    told.append(f"abort {child.age}")
                case Kill(child):
                    told.append(f"kill {child.age}")
        return told

    def wait(self, seconds: float) -> list[str]:
        self.now += int(seconds * SECOND)
        return self.step()

    def beat(self) -> None:
        for child in self.table.children.values():
            child.beat = self.now

    def ready(self, *ages: int) -> list[str]:
        for age in ages:
            self.table.ready(self.table.children[age], self.now)
        return self.step()

    def gone(self, *ages: int, kind: End | None = None, by_kill: bool = False) -> list[str]:
        for age in ages:
            end = self.table.exited(self.table.children[age], self.now, by_kill)
            assert kind is None or end is kind
        return self.step()

    def child(self, age: int) -> Child:
        return self.table.children[age]


def served(target: int = 2, **limits: int) -> Story:
    """A server all of whose workers are ready."""
    story = Story(target, **limits)
    story.step()
    assert story.ready(*range(1, target + 1)) == []
    story.now += 10 * SECOND
    story.beat()
    assert story.table.rolled
    return story


def test_every_seat_gets_a_worker() -> None:
    story = Story(3)
    assert story.step() == ["start 1 in 0 gen 1", "start 2 in 1 gen 1", "start 3 in 2 gen 1"]
    assert story.step() == []
    assert not story.table.rolled
    assert story.ready(1, 2, 3) == []
    assert story.table.rolled


def test_a_dead_worker_is_replaced_at_once_in_its_seat() -> None:
    story = served()
    assert story.gone(2, kind=End.DIED) == ["start 3 in 1 gen 1"]


def test_more_and_fewer_workers() -> None:
    story = served()
    story.table.target = 3
    assert story.step() == ["start 3 in 2 gen 1"]
    story.table.target = 1
    assert story.step() == ["stop 2", "quit 3"]
    assert story.gone(2, 3, kind=End.STOPPED) == []
    assert story.table.rolled


def test_a_worker_that_leaves_by_itself_is_replaced_before_it_is_gone() -> None:
    story = served()
    story.table.leaves(story.child(1), story.now, "TERM from outside")
    assert story.step() == ["start 3 in 0 gen 1"]
    assert story.gone(1, kind=End.STOPPED) == []


# -- reload ----------------------------------------------------------------------------


def test_a_reload_rolls_one_at_a_time_and_ready_gates_each_stop() -> None:
    story = served(3)
    assert story.table.reload() == 2
    assert story.step() == ["start 4 in 0 gen 2"]
    assert story.step() == []
    assert story.ready(4) == ["stop 1", "start 5 in 1 gen 2"]
    assert story.table.generation == 2
    assert story.gone(1, kind=End.STOPPED) == []
    assert story.ready(5) == ["stop 2", "start 6 in 2 gen 2"]
    assert not story.table.rolled
    assert story.ready(6) == ["stop 3"]
    assert story.table.rolled
    assert story.gone(2, 3) == []
    assert story.table.rolled


def test_a_surge_rolls_several_after_the_canary() -> None:
    story = served(4, surge=2)
    story.table.reload()
    assert story.step() == ["start 5 in 0 gen 2"]
    assert story.ready(5) == ["stop 1", "start 6 in 1 gen 2", "start 7 in 2 gen 2"]
    assert story.ready(7) == ["stop 3", "start 8 in 3 gen 2"]


def test_a_canary_that_fails_calls_the_reload_off() -> None:
    story = served()
    story.table.reload()
    story.step()
    assert story.gone(3, kind=End.CALLED_OFF) == []
    assert story.table.generation == 1
    assert story.table.rolled
    assert story.gone(1) == ["start 4 in 0 gen 1"]


def test_a_canary_that_is_not_ready_in_time_calls_it_off() -> None:
    story = served(boot_timeout=5 * SECOND, timeout=0)
    story.table.reload()
    story.step()
    assert story.wait(4.9) == []
    assert story.wait(0.2) == ["abort 3"]
    assert story.wait(0.6) == ["kill 3"]
    assert story.gone(3, kind=End.CALLED_OFF) == []


def test_a_worker_that_dies_during_the_canary_comes_back_with_the_old_configuration() -> None:
    story = served()
    story.table.reload()
    story.step()
    assert story.gone(1, kind=End.DIED) == ["start 4 in 0 gen 1"]
    assert story.gone(2, kind=End.DIED) == ["start 5 in 1 gen 1"]
    assert story.ready(4) == []
    assert story.ready(3) == ["stop 4", "quit 5", "start 6 in 1 gen 2"]


def test_reloads_in_a_row_become_one_and_the_last_wins() -> None:
    story = served()
    story.table.reload()
    assert story.step() == ["start 3 in 0 gen 2"]
    story.table.reload()
    story.table.reload()
    assert story.step() == ["quit 3", "start 4 in 0 gen 4"]
    assert story.gone(3, kind=End.STOPPED) == []
    assert story.ready(4) == ["stop 1", "start 5 in 1 gen 4"]


def test_a_reload_during_a_roll_goes_on_from_where_it_is() -> None:
    story = served(3)
    story.table.reload()
    story.step()
    story.ready(4)
    story.table.reload()
    assert story.step() == ["start 6 in 0 gen 3"]
    assert story.ready(5) == ["stop 2"]
    assert story.ready(6) == ["stop 4", "start 7 in 1 gen 3"]
    assert story.ready(7) == ["stop 5", "start 8 in 2 gen 3"]
    assert story.ready(8) == ["stop 3"]


def test_a_roll_goes_on_when_a_later_canary_fails() -> None:
    story = served(2)
    story.table.reload()
    story.step()
    assert story.ready(3) == ["stop 1", "start 4 in 1 gen 2"]
    story.table.reload()
    assert story.step() == ["start 5 in 0 gen 3"]
    assert story.gone(5, kind=End.CALLED_OFF) == []
    assert story.ready(4) == ["stop 2"]


def test_a_failed_boot_after_the_canary_is_tried_again_and_the_old_worker_serves_on() -> None:
    story = served()
    story.table.reload()
    story.step()
    story.ready(3)
    assert story.gone(4, kind=End.BOOT_FAILED) == []
    assert story.wait(0.6) == ["start 5 in 1 gen 2"]
    assert story.ready(5) == ["stop 2"]


def test_a_reload_mends_a_server_that_cannot_boot() -> None:
    story = Story(2)
    story.step()
    story.gone(1, 2)
    story.table.reload()
    assert story.step() == ["start 3 in 0 gen 2"]
    assert story.ready(3) == ["start 4 in 1 gen 2"]


# -- recycling -------------------------------------------------------------------------


def test_recycling_is_one_at_a_time_and_ready_first() -> None:
    story = served(3)
    for age in (1, 2, 3):
        story.child(age).asked = "max requests"
    assert story.step() == ["start 4 in 0 gen 1"]
    assert story.ready(4) == ["stop 1", "start 5 in 1 gen 1"]
    assert story.child(1).reason == "max requests"
    assert story.ready(5) == ["stop 2", "start 6 in 2 gen 1"]


def test_a_successor_that_fails_to_boot_leaves_the_old_one_serving() -> None:
    story = served(1)
    story.child(1).asked = "max requests"
    story.step()
    assert story.gone(2, kind=End.BOOT_FAILED) == []
    assert story.child(1).phase is Phase.READY
    assert story.wait(1) == ["start 3 in 0 gen 1"]


def test_a_reload_takes_recycling_along() -> None:
    story = served(2)
    story.child(2).asked = "max requests"
    story.table.reload()
    assert story.step() == ["start 3 in 0 gen 2"]
    assert story.ready(3) == ["stop 1", "start 4 in 1 gen 2"]


def test_a_condemned_worker_is_killed_and_its_seat_filled_when_it_is_gone() -> None:
    story = served(1, timeout=0)
    assert isinstance(story.table.condemn(story.child(1), story.now, "too large"), Kill)
    assert story.step() == []
    assert story.gone(1, kind=End.STOPPED, by_kill=True) == ["start 2 in 0 gen 1"]


# -- a socket for each seat --------------------------------------------------------------


def test_a_surplus_worker_stays_until_a_successor_has_its_socket() -> None:
    story = Story(3)
    story.table.sockets = 3
    story.step()
    story.ready(1, 2, 3)
    assert [sorted(story.child(age).sockets) for age in (1, 2, 3)] == [[0], [1], [2]]
    story.table.target = 2
    assert story.step() == ["start 4 in 0 gen 1"]
    assert sorted(story.child(4).sockets) == [0, 2]
    assert story.step() == []
    assert story.ready(4) == ["stop 1", "stop 3"]
    assert story.child(1).reason == "its successor takes 1 more sockets over"
    assert story.gone(1, 3, kind=End.STOPPED) == []
    assert story.table.rolled


def test_growing_again_needs_no_change_of_others() -> None:
    story = Story(2)
    story.table.sockets = 3
    story.step()
    story.ready(1, 2)
    assert sorted(story.child(1).sockets) == [0, 2]
    story.table.target = 3
    assert story.step() == ["start 3 in 2 gen 1"]
    assert story.ready(3) == []


def test_with_sockets_of_their_own_all_may_stop() -> None:
    story = Story(2)
    story.table.sockets = 2
    story.step()
    story.ready(1, 2)
    story.table.target = 0
    assert story.step() == ["stop 1", "stop 2"]


# -- failed boots ----------------------------------------------------------------------


def test_failed_boots_wait_longer_each_time_and_one_tries_for_all() -> None:
    story = Story(4, boot_retries=20)
    story.step()
    assert story.gone(1, 2, 3, 4, kind=End.BOOT_FAILED) == []
    assert story.table.backoff.failures == 1
    starts = 0
    for _ in range(600):
        told = story.wait(0.1)
        starts += len(told)
        assert len(told) <= 1
        if told:
            assert story.gone(max(story.table.children)) == []
    assert 4 <= starts <= 12


def test_the_server_gives_up_after_the_retries() -> None:
    story = Story(1, boot_retries=2)
    story.step()
    for _ in range(3):
        assert not story.table.gives_up()
        story.gone(max(story.table.children), kind=End.BOOT_FAILED)
        story.wait(20)
    assert story.table.gives_up()


def test_a_server_that_serves_never_gives_up() -> None:
    story = served(2, boot_retries=0, timeout=0)
    story.gone(2, kind=End.DIED)
    for _ in range(5):
        story.gone(max(story.table.children), kind=End.BOOT_FAILED)
        assert not story.table.gives_up()
        story.wait(20)


def test_a_ready_worker_ends_the_waiting() -> None:
    story = Story(2)
    story.step()
    story.gone(1, 2)
    assert story.wait(1) == ["start 3 in 0 gen 1"]
    assert story.ready(3) == ["start 4 in 1 gen 1"]


def test_a_fork_that_fails_waits_too() -> None:
    story = Story(1)
    (action,) = story.table.plan(story.now)
    assert isinstance(action, Start)
    assert story.table.unborn(action.child, story.now) is End.BOOT_FAILED
    assert story.step() == []
    assert story.wait(0.5) == ["start 2 in 0 gen 1"]


def test_a_crash_right_after_ready_waits_but_never_long() -> None:
    story = Story(1)
    story.step()
    waits = []
    for _ in range(6):
        age = max(story.table.children)
        story.ready(age)
        assert story.gone(age, kind=End.DIED) == []
        waits.append(story.table.crashes.until - story.now)
        assert len(story.wait(1)) == 1
    assert waits == [SECOND // 2, *[SECOND] * 5]


def test_a_kill_from_outside_is_no_crash() -> None:
    story = Story(1)
    story.step()
    story.ready(1)
    assert story.gone(1, kind=End.DIED, by_kill=True) == ["start 2 in 0 gen 1"]


# -- time limits -----------------------------------------------------------------------


def test_a_silent_worker_is_aborted_then_killed_then_replaced() -> None:
    story = served(2, timeout=30 * SECOND)
    story.now += 29 * SECOND
    story.child(2).beat = story.now
    assert story.table.next_event(story.now) == story.child(1).beat + 30 * SECOND
    assert story.wait(1) == ["abort 1"]
    assert story.child(1).reason == "no sign of life for 30.0 s (timeout)"
    assert story.wait(0.5) == ["kill 1"]
    assert story.gone(1) == ["start 3 in 0 gen 1"]


def test_a_worker_that_the_kernel_cannot_end_gives_its_seat_up() -> None:
    story = served(1, timeout=30 * SECOND)
    assert story.wait(30) == ["abort 1"]
    assert story.wait(0.5) == ["kill 1"]
    assert story.wait(2) == ["start 2 in 0 gen 1"]


def test_after_the_master_slept_every_worker_has_its_time_again() -> None:
    story = served(2, timeout=30 * SECOND)
    story.now += 3600 * SECOND
    story.table.forgive(story.now)
    assert story.step() == []
    assert story.wait(30) == ["abort 1", "abort 2"]


def test_no_limits() -> None:
    story = served(1, timeout=0, boot_timeout=0)
    assert story.wait(1e6) == []
    story.table.target = 2
    story.step()
    assert story.wait(1e6) == []
    assert story.table.next_event(story.now) is None


# -- the end ---------------------------------------------------------------------------


def test_a_graceful_end() -> None:
    story = served(2, graceful_timeout=30 * SECOND)
    story.table.end(quick=False)
    assert story.step() == ["stop 1", "stop 2"]
    assert story.gone(1, kind=End.STOPPED) == []
    story.beat()
    assert story.wait(29) == []
    story.beat()
    assert story.wait(2) == ["abort 2"]
    assert story.wait(0.5) == ["kill 2"]


def test_a_graceful_end_may_become_quick() -> None:
    story = served(2)
    story.table.end(quick=False)
    story.step()
    story.table.end(quick=True)
    assert story.step() == ["quit 1", "quit 2"]
    assert story.step() == []
    assert story.wait(2) == ["abort 1", "abort 2"]


def test_an_end_while_booting_waits_for_nothing() -> None:
    story = Story(1)
    story.step()
    story.table.end(quick=False)
    assert story.step() == ["stop 1"]
    assert story.wait(2) == ["abort 1"]
    assert story.gone(1, kind=End.STOPPED) == []


def test_nothing_starts_while_the_server_ends() -> None:
    story = served(2)
    story.table.reload()
    story.table.end(quick=False)
    assert story.step() == ["stop 1", "stop 2"]


@pytest.mark.parametrize("made", [lambda: 3 << 8, lambda: int(signal.SIGKILL), lambda: 127])
def test_ends_are_described(made: Callable[[], int]) -> None:
    assert describe(made()) in {"exit code 3", "SIGKILL", "signal 127"}


def test_waits_are_bounded() -> None:
    backoff = children.Backoff()
    now = 0
    for _ in range(100):
        now += 100 * SECOND
        backoff.failed(now, now)
    assert backoff.until - now == children.LONGEST_WAIT
