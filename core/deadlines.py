"""Deadlines: a request that takes too long is answered, explained and ended.

`--request-timeout` is uWSGI's harakiri, for one request instead of the worker. A
native thread of each worker looks at the requests in flight a few times a second; it
runs while the application blocks, spins in Python or holds a lock, on every worker
class. For a request that is overdue it

1. speaks in the application's place (`Job.overrule`): a 504 where nothing was sent, else
   the connection is cut; what the application writes later raises;
2. logs the request and the stack of *its* thread, greenlet or task;
3. has the worker interrupt it: greenlets and tasks are cancelled. A thread can't be, nor
   a greenlet or task that does not let go; then the worker asks to be replaced, and serves
   on until its successor is ready.

A request that holds up the hub or the loop of its worker holds up the others there. They
have their own deadlines, and the log says that it was not their fault. A stopping worker
in which only overdue requests are left does not wait for them.

The thread is started with what this module found when it was imported: that is before
gevent or eventlet patch anything, so it is a real thread under them, too.
"""

from __future__ import annotations

import sys
import traceback
from _thread import start_new_thread
from fnmatch import fnmatchcase
from os import _exit
from time import monotonic_ns, sleep
from typing import TYPE_CHECKING, NoReturn, Protocol

from canter import scoreboard as cells

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable
    from types import FrameType

    from canter.exchange import Context, Job
    from canter.scoreboard import Row

INTERVAL = 0.1  # seconds between two looks
UNYIELDING = 1_000_000_000  # ns after which a request that was interrupted, and runs on, won't end
HELD_UP = 1_000_000_000  # ns without a sign of life after which a hub or loop is held up
OF_ANOTHER = ", held up by another request of its worker"


class Interrupting(Protocol):
    """What the watchdog asks of its worker."""

    alive: bool
    log: logging.Logger
    row: Row
    context: Context

    def interrupt(self, job: Job) -> bool:
        """Cancel the greenlet or task of a request; False where that can't be done."""

    def waits(self, job: Job) -> bool:
        """Whether the greenlet or task of a request waits, for something or for its turn."""

    def stack_of(self, job: Job) -> FrameType | list[FrameType] | None:
        """Where the request's thread, greenlet or task is now."""


def by_path(default: float, rules: Iterable[tuple[str, float]]) -> Callable[[str], float]:
    """Seconds that a path may take (0: no limit): the first pattern of `rules` that fits, else `default`."""

    def seconds(path: str) -> float:
        for pattern, limit in rules:
            if fnmatchcase(path, pattern):
                return limit
        return default

    return seconds


def watch(worker: Interrupting) -> None:
    """Start the watchdog of this worker."""
    start_new_thread(_watch, (worker,))


def _watch(worker: Interrupting) -> None:
    context = worker.context
    interrupted: dict[Job, int] = {}  # and when
    while True:
        sleep(INTERVAL)
        for job in context.overdue():
            try:
                if _end(worker, job):
                    interrupted[job] = monotonic_ns()
            except Exception:  # whatever it was, other requests have deadlines, too
                worker.log.exception("the watchdog failed at %s", job.request.request_line)
        if interrupted:
            _insist(worker, interrupted)
        if not worker.alive and context.hopeless():
            _leave(worker)


def _end(worker: Interrupting, job: Job) -> bool:
    """Answer and explain an overdue request. True: it was interrupted, and should end soon."""
    told = job.overrule()
    if told is None:
        return False
    held_up = monotonic_ns() - worker.row[cells.BEAT] > HELD_UP and worker.waits(job)
    end = OF_ANOTHER if held_up else ""
    stack = f"; stack:\n{format_stack(worker.stack_of(job))}"
    report(worker.log, describe(job), told, end, stack)
    if worker.interrupt(job):
        return True
    _recycle(worker, "The hung request can't be interrupted")
    return False


def _insist(worker: Interrupting, interrupted: dict[Job, int]) -> None:
    """Look after the requests that were interrupted: one that runs on has its worker replaced."""
    running = set(worker.context.jobs())
    for job, since in list(interrupted.items()):
        if job not in running or job.started_at > since:  # it has ended
            del interrupted[job]
        elif monotonic_ns() - since > UNYIELDING:
            _recycle(worker, "The hung request was interrupted but runs on")


def _recycle(worker: Interrupting, why: str) -> None:
    if worker.row[cells.RECYCLE] == 0:
        worker.row[cells.RECYCLE] = cells.RECYCLE_DEADLINE
        worker.log.warning("%s: this worker asks to be replaced", why)


def _leave(worker: Interrupting) -> NoReturn:
    """End a worker in which nothing but hung requests is left, and what they hold up."""
    hung = len(worker.context.jobs())
    others = max(0, worker.row[cells.CONNECTIONS] - hung)
    cut = f"; other connections that are cut with them: {others}" if others else ""
    worker.log.warning("leaving without %d hung requests%s", hung, cut)
    worker.context.idle_now()
    _exit(0)


def report(log: logging.Logger, request: str, told: bool, end: str = "", stack: str = "") -> None:
    """The log line of an overdue request, as `description` has it; `told`: its client got a 504."""
    log.error("Request timeout: %s (%s%s)%s", request, "answered with 504" if told else "cut", end, stack)


def describe(job: Job) -> str:
    """The request of a job, for a log line."""
    request_id = (job.request.field(b"x-request-id") or b"-").decode("latin-1")
    return description(job.request.request_line, job.started_at, job.stream.name, request_id)


def description(line: str, began: int, peer: str, request_id: str) -> str:
    """A request that began then (ns of the monotonic clock): its age, its peer and its id."""
    age = (monotonic_ns() - began) / 1e9
    return f"{line} after {age:.3f} s from {peer}, id {request_id}"


def format_stack(found: FrameType | list[FrameType] | None) -> str:
    """A stack as the interpreter prints it, the innermost call last."""
    if found is None:
        return "  (not running Python code)"
    if isinstance(found, list):  # of a task: each awaits the next
        lines = [line for frame in found for line in traceback.format_stack(frame, limit=1)]
    else:
        lines = traceback.format_stack(found)
    return "".join(lines).rstrip()


def thread_stack(job: Job) -> FrameType | None:
    """Where the thread of a request is now."""
    return sys._current_frames().get(job.thread)
