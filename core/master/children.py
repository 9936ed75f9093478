"""The process table: which worker should start, stop or be killed next. Pure.

No process, clock, socket or log is touched here: the arbiter tells the table what
happened (`born`, `ready`, `exited`, ...), asks it what to do (`plan`) and does it.
Times are monotonic nanoseconds, given by the caller.

The rules, in one place:

* The server wants `target` workers, one in each **seat** 0 .. target - 1. A successor
  sits in the seat of the worker it replaces, and an old worker is told to stop only
  when its successor is **ready**.
* Every reading of the configuration is a **generation**. A reload makes a *candidate*
  generation, whose first worker is the canary: when it becomes ready the candidate is
  current and the other seats roll, `surge` at a time; when it fails the candidate is
  called off and the old generation serves on.
* **Recycling** (too many requests, too old, too large, stuck) replaces one worker at a
  time: that is the token.
* Where each seat has a **socket of its own**, a worker that is not needed any more stays
  until a successor of a sibling has its socket: connections wait in it.
* A **failed boot** makes the next one wait, longer each time, and lets one worker try
  at a time. After `boot_retries` failures in a row the server gives up, unless a worker
  still serves. Workers that start together and fail together count once.
* A worker that gives no sign of life for `timeout`, boots longer than `boot_timeout` or
  stops longer than `graceful_timeout` is aborted (so that it can say where it hangs)
  and then killed.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

SECOND: Final = 1_000_000_000

FIRST_WAIT: Final = SECOND // 2  # after the first failed boot; doubles with each
LONGEST_WAIT: Final = 10 * SECOND
YOUNG: Final = SECOND  # a worker that crashes within this after it became ready is in a crash loop
LONGEST_CRASH_WAIT: Final = SECOND  # a crash after boot must not keep a seat empty for longer
LAST_WORDS: Final = SECOND // 2  # between abort and kill: time to write the stacks
OVERTIME: Final = SECOND  # a stopping worker keeps the graceful timeout itself; then it has this to leave
QUICK: Final = 2 * SECOND  # what a worker has to leave when nothing may be waited for
MOURNING: Final = 2 * SECOND  # a killed worker that the kernel cannot end gives its seat up after this


class Phase(enum.Enum):
    BOOTING = "booting"
    READY = "ready"
    STOPPING = "stopping"


class End(enum.Enum):
    """What the end of a worker meant."""

    STOPPED = "stopped"  # as it was told
    DIED = "died"  # while it served
    BOOT_FAILED = "boot failed"
    CALLED_OFF = "called off"  # the canary of a reload failed: the candidate is gone


@dataclass(frozen=True)
class Limits:
    """The numbers of the settings that the table needs, in nanoseconds; 0: no limit."""

    timeout: int = 30 * SECOND
    graceful_timeout: int = 30 * SECOND
    boot_timeout: int = 60 * SECOND
    boot_retries: int = 10
    surge: int = 1


@dataclass
class Child:
    """One worker process, from the decision to start it to its end."""

    age: int
    seat: int
    generation: int
    started: int
    pid: int = 0  # 0: not forked yet
    row: int = -1  # its row on the scoreboard
    sockets: frozenset[int] = frozenset()  # those it accepts from, where each seat has its own
    phase: Phase = Phase.BOOTING
    ready_at: int = 0
    beat: int = 0  # last sign of life, as the scoreboard has it
    asked: str = ""  # why it wants to be replaced
    reason: str = ""  # why it stops
    deadline: int = 0  # when a stopping worker is aborted
    late_boot: bool = False  # it was aborted because it did not become ready
    aborted: int = 0  # when it was told to abort
    killed: int = 0  # when it was killed

    @property
    def name(self) -> str:
        """For the log."""
        return f"pid:{self.pid}" if self.pid else f"seat {self.seat}, not forked"

    @property
    def rank(self) -> tuple[int, int]:
        """The higher one of two ready workers in a seat stays: newer code, then younger."""
        return self.generation, self.age


@dataclass(frozen=True)
class Start:
    child: Child
    reason: str


@dataclass(frozen=True)
class Stop:
    child: Child
    quick: bool = False


@dataclass(frozen=True)
class Abort:
    """Make it say where it hangs; a kill follows."""

    child: Child


@dataclass(frozen=True)
class Kill:
    child: Child


Action = Start | Stop | Abort | Kill


@dataclass
class Backoff:
    """How long to wait after failures in a row."""

    failures: int = 0
    until: int = 0
    last: int = 0

    def failed(self, now: int, started: int, longest: int = LONGEST_WAIT) -> None:
        """Count a failure; workers that were started before the last one failed belong to that failure."""
        if self.failures and started <= self.last:
            return
        self.until = now + min(FIRST_WAIT << min(self.failures, 10), longest)
        self.failures += 1
        self.last = now


@dataclass
class Table:
    """All workers of one master."""

    target: int
    limits: Limits = field(default_factory=Limits)
    generation: int = 1
    candidate: int | None = None
    children: dict[int, Child] = field(default_factory=dict)  # by age
    backoff: Backoff = field(default_factory=Backoff)
    crashes: Backoff = field(default_factory=Backoff)
    sockets: int = 0  # how many there are, where each seat has its own; 0: all workers share one
    ending: bool = False  # the whole server stops
    quick: bool = False
    ever_ready: bool = False
    _age: int = 0
    _newest: int = 1
    _forgiven: int = 0  # beats are not asked to be younger than this

    # -- what happened ---------------------------------------------------------------

    def born(self, child: Child, pid: int, now: int) -> None:
        child.pid = pid
        child.started = child.beat = now

    def unborn(self, child: Child, now: int) -> End:
        """The fork failed: no memory, no process number, no row, or its application did not load."""
        del self.children[child.age]
        return self._boot_failed(child, now)

    def ready(self, child: Child, now: int) -> bool:
        """A worker serves. True when it was the canary, so that its generation is current now."""
        if child.phase is Phase.BOOTING:
            child.phase = Phase.READY
        child.ready_at = child.beat = now
        self.ever_ready = True
        if child.generation == self.candidate:
            self.generation, self.candidate = self.candidate, None
            self.backoff = Backoff()
            return True
        if child.generation == self.generation:
            self.backoff = Backoff()
        return False

    def exited(self, child: Child, now: int, by_kill: bool = False) -> End:
        """A worker has ended. `by_kill`: by a SIGKILL from outside, which says nothing of its health."""
        del self.children[child.age]
        if child.phase is Phase.STOPPING and child.ready_at:
            return End.STOPPED
        if child.ready_at:
            if now - child.ready_at < YOUNG and not by_kill:
                self.crashes.failed(now, child.started, LONGEST_CRASH_WAIT)
            else:
                self.crashes = Backoff()
            return End.DIED
        if child.phase is Phase.STOPPING and not child.late_boot:
            return End.STOPPED
        return self._boot_failed(child, now)

    def leaves(self, child: Child, now: int, reason: str) -> None:
        """A worker stops of its own accord, or because somebody else told it to."""
        if child.phase is Phase.READY:
            self._retire(child, now, reason)

    def condemn(self, child: Child, now: int, reason: str) -> Kill:
        """A worker must go at once, whatever it does."""
        child.phase, child.reason = Phase.STOPPING, reason
        child.aborted = child.killed = now
        return Kill(child)

    def reload(self) -> int:
        """Begin a new generation; an unfinished candidate gives way to it. Its number."""
        self._newest += 1
        self.candidate = self._newest
        self.crashes = Backoff()
        return self.candidate

    def call_off(self) -> None:
        """Forget the candidate: the next `plan` stops what was begun."""
        self.candidate = None

    def end(self, quick: bool) -> None:
        """The whole server stops; a second time it may become quick."""
        self.ending = True
        self.quick = self.quick or quick

    def forgive(self, now: int) -> None:
        """The master itself did not run for a while, so the workers may not have either."""
        self._forgiven = now

    # -- what to do ------------------------------------------------------------------

    def plan(self, now: int) -> list[Action]:
        """What must be done now. The table takes it as done; a failed fork is told by `unborn`."""
        actions = [*self._overdue(now)]
        if self.ending:
            actions += self._stop_all(now)
        else:
            actions += self._stop_surplus(now)
            actions += self._starts(now)
        return actions

    def next_event(self, now: int) -> int | None:
        """When `plan` may have something to do although nothing happens."""
        times = [] if self.ending else [self.backoff.until, self.crashes.until]
        times += [self._next_step(child) for child in self.children.values()]
        return min((time for time in times if time > now), default=None)

    def gives_up(self) -> bool:
        """Whether so many boots have failed in a row that the server should end."""
        return not self.serving and self.backoff.failures > self.limits.boot_retries

    @property
    def serving(self) -> list[Child]:
        return [child for child in self.children.values() if child.phase is Phase.READY]

    @property
    def rolled(self) -> bool:
        """Every seat has a ready worker of the current generation, and nothing newer or older serves."""
        serving = self.serving
        seats = {child.seat for child in serving if child.generation == self.generation}
        old = any(child.generation != self.generation for child in serving)
        return self.candidate is None and not old and seats == set(range(self.target))

    def by_pid(self, pid: int) -> Child | None:
        return next((child for child in self.children.values() if child.pid == pid), None)

    # -- deadlines -------------------------------------------------------------------

    def _overdue(self, now: int) -> Iterator[Action]:
        for child in self.children.values():
            if child.killed:
                continue
            if child.aborted:
                if now >= child.aborted + LAST_WORDS:
                    child.killed = now
                    yield Kill(child)
            elif now >= self._limit(child) > 0:
                child.reason = self._verdict(child, now)
                child.late_boot = child.phase is Phase.BOOTING
                child.phase, child.aborted = Phase.STOPPING, now
                yield Abort(child)

    def _next_step(self, child: Child) -> int:
        """When something must be done about a worker that stays as it is."""
        if child.killed:
            return child.killed + MOURNING
        if child.aborted:
            return child.aborted + LAST_WORDS
        return self._limit(child)

    def _limit(self, child: Child) -> int:
        """When a worker is late; 0: never."""
        limits, limit = self.limits, 0
        if child.phase is Phase.BOOTING:
            return limits.boot_timeout and child.started + limits.boot_timeout
        if limits.timeout and child.ready_at:
            limit = max(child.beat, self._forgiven) + limits.timeout
        if child.phase is Phase.STOPPING:
            limit = min(limit or child.deadline, child.deadline)
        return limit

    def _verdict(self, child: Child, now: int) -> str:
        if child.phase is Phase.BOOTING:
            return f"not ready within {(now - child.started) / SECOND:.1f} s (boot_timeout)"
        if child.phase is Phase.STOPPING and now >= child.deadline:
            return f"{child.reason}; it did not leave in time"
        return f"no sign of life for {(now - child.beat) / SECOND:.1f} s (timeout)"

    # -- stopping --------------------------------------------------------------------

    def _stop_all(self, now: int) -> Iterator[Action]:
        for child in self.children.values():
            if child.aborted:
                continue
            fresh = child.phase is not Phase.STOPPING
            if fresh:
                self._retire(child, now, "the server stops")
            hurried = self.quick and child.deadline > now + QUICK
            if hurried:
                child.deadline = now + QUICK
            if fresh or hurried:
                yield Stop(child, self.quick)

    def _stop_surplus(self, now: int) -> Iterator[Action]:
        for child in list(self.children.values()):
            if child.phase is not Phase.STOPPING and (reason := self._surplus(child)):
                self._retire(child, now, reason)
                yield Stop(child, quick=not child.ready_at)

    def _surplus(self, child: Child) -> str:
        """Why this worker is one too many; "" when it is not."""
        if child.seat >= self.target and child.generation != self.candidate and self._relieved(child):
            return f"{self.target} workers are enough"
        if child.generation > self.generation and child.generation != self.candidate:
            return "its reload was called off or replaced"
        if child.phase is Phase.BOOTING and child.generation < self.generation:
            return "a reload replaced it"
        heirs = [other for other in self.serving if other.seat == child.seat and other.rank > child.rank]
        if not heirs:
            return ""
        if child.generation != heirs[0].generation:
            return "a reload replaced it"
        return child.asked or self._orphans(child) or "replaced"

    def _retire(self, child: Child, now: int, reason: str) -> None:
        """A worker that serves has the graceful timeout; one that boots has nothing to finish."""
        time = self.limits.graceful_timeout + OVERTIME if child.ready_at else QUICK
        child.phase, child.reason, child.deadline = Phase.STOPPING, reason, now + time

    # -- starting --------------------------------------------------------------------

    def _starts(self, now: int) -> Iterator[Action]:
        if self.candidate is not None and not self._of(self.candidate):
            yield self._start(0, self.candidate, now, "reload, first worker")
        if now < max(self.backoff.until, self.crashes.until):
            return
        for seat, reason in self._vacancies(now):
            if self.backoff.failures and self._booting():
                return  # one tries for all
            yield self._start(seat, self.generation, now, reason)

    def _vacancies(self, now: int) -> Iterator[tuple[int, str]]:
        """Seats that need a worker, the empty ones first."""
        for seat in range(self.target):
            if not self._taken(seat, now):
                yield seat, "a seat is empty"
        if self.candidate is None:
            yield from self._successions()

    def _successions(self) -> Iterator[tuple[int, str]]:
        """Seats whose worker should be replaced, as many as may be replaced now."""
        for seat in range(self.target):
            sitting = self._seated(seat)
            if len(sitting) != 1 or sitting[0].phase is not Phase.READY:
                continue
            heirs = sum(len(self._seated(other)) > 1 for other in range(self.target))
            if sitting[0].generation != self.generation:
                if heirs < self.limits.surge:
                    yield seat, "reload"
            elif not heirs and (reason := sitting[0].asked or self._orphans(sitting[0])):
                yield seat, reason

    def _start(self, seat: int, generation: int, now: int, reason: str) -> Start:
        self._age += 1
        child = Child(self._age, seat, generation, started=now, beat=now, sockets=self._share(seat))
        self.children[child.age] = child
        return Start(child, reason)

    # -- looking ---------------------------------------------------------------------

    def _seated(self, seat: int) -> list[Child]:
        """Who sits there and has not been told to leave, in order of age."""
        stay = (child for child in self.children.values() if child.phase is not Phase.STOPPING)
        return [child for child in stay if child.seat == seat]

    def _taken(self, seat: int, now: int) -> bool:
        """Whether somebody of the current generation (or older) sits there, or has yet to be buried."""
        for child in self.children.values():
            if child.seat != seat or child.generation == self.candidate:
                continue
            if child.phase is not Phase.STOPPING:
                return True
            if child.aborted and not (child.killed and now >= child.killed + MOURNING):
                return True
        return False

    def _share(self, seat: int) -> frozenset[int]:
        """The sockets of a seat: its own, and those of seats that are no more."""
        return frozenset(shares(seat, self.target, self.sockets))

    def _orphans(self, child: Child) -> str:
        """What sockets fall to a worker's seat that it does not have, and cannot get while it runs."""
        taken_over = self._share(child.seat) - child.sockets
        return f"its successor takes {len(taken_over)} more sockets over" if taken_over else ""

    def _relieved(self, child: Child) -> bool:
        """Whether all that waits in the sockets of a surplus worker has another one to accept it."""
        others = (other.sockets for other in self.serving if other.seat < self.target)
        return not self.target or not child.ready_at or child.sockets <= frozenset().union(*others)

    def _of(self, generation: int) -> list[Child]:
        return [child for child in self.children.values() if child.generation == generation]

    def _booting(self) -> list[Child]:
        return [child for child in self._of(self.generation) if child.phase is Phase.BOOTING]

    def _boot_failed(self, child: Child, now: int) -> End:
        if child.generation == self.candidate:
            self.candidate = None
            return End.CALLED_OFF
        if child.generation == self.generation:
            self.backoff.failed(now, child.started)
        return End.BOOT_FAILED


def shares(seat: int, seats: int, sockets: int) -> range:
    """Which sockets a seat has, where each has its own: those of lost seats fall to the ones left."""
    return range(seat, sockets, max(seats, 1))


def describe(status: int) -> str:
    """How a process ended, from its wait status, for people."""
    code = status >> 8
    number = status & 0x7F
    if not number:
        return f"exit code {code}"
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return name + (" (core dumped)" if status & 0x80 else "")
