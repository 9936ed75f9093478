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
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

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


class Requests(Protocol):
    """The requests in flight: jobs of a Context, or what stands for them at a server that is not ours."""

    def jobs(self) -> list[Any]:
        """All, the oldest first."""

    def overdue(self) -> list[Any]:
        """Those whose deadline has passed, but for those that were told so already."""

    def hopeless(self) -> bool:
        """Whether nothing is left to do but requests whose deadline has passed."""


class Interrupting(Protocol):
    """What the watchdog asks of its worker. A job is one of its Requests."""

    row: Row

    @property
    def alive(self) -> bool: ...

    @property
    def log(self) -> logging.Logger: ...

    @property
    def context(self) -> Context: ...

    def describe(self, job: Any) -> str:
        """A request, for a log line."""

    def interrupt(self, job: Any) -> bool:
        """Cancel the greenlet or task of a request; False where that can't be done."""

    def waits(self, job: Any) -> bool:
        """Whether the greenlet or task of a request waits, for something or for its turn."""

    def stack_of(self, job: Any) -> FrameType | list[FrameType] | None:
        """Where the request's thread, greenlet or task is now."""


def by_path(default: float, rules: Iterable[tuple[str, float]]) -> Callable[[str], float]:
    """Seconds that a path may take (0: no limit): the first pattern of `rules` that fits, else `default`."""

    def seconds(path: str) -> float:
        for pattern, limit in rules:
            if fnmatchcase(path, pattern):
                return limit
        return default

    return seconds


def watch(worker: Interrupting, requests: Requests) -> None:
    """Start the watchdog of this worker."""
    start_new_thread(_watch, (worker, requests))


def _watch(worker: Interrupting, requests: Requests) -> None:
    interrupted: dict[Any, int] = {}  # and when
    while True:
        sleep(INTERVAL)
        for job in requests.overdue():
            try:
                if _end(worker, job):
                    interrupted[job] = monotonic_ns()
            except Exception:  # whatever it was, other requests have deadlines, too
                worker.log.exception("the watchdog failed at %s", worker.describe(job))
        if interrupted:
            _insist(worker, requests, interrupted)
        if not worker.alive and requests.hopeless():
            _leave(worker, requests)


def _end(worker: Interrupting, job: Any) -> bool:
    """Answer and explain an overdue request. True: it was interrupted, and should end soon."""
    told = job.overrule()
    if told is None:
        return False
    held_up = monotonic_ns() - worker.row[cells.BEAT] > HELD_UP and worker.waits(job)
    how = ("answered with 504" if told else "cut") + (OF_ANOTHER if held_up else "")
    stack = format_stack(worker.stack_of(job))
    worker.log.error("Request timeout: %s (%s); stack:\n%s", worker.describe(job), how, stack)
    if worker.interrupt(job):
        return True
    _recycle(worker, "The hung request can't be interrupted")
    return False


def _insist(worker: Interrupting, requests: Requests, interrupted: dict[Any, int]) -> None:
    """Look after the requests that were interrupted: one that runs on has its worker replaced."""
    running = set(requests.jobs())
    for job, since in list(interrupted.items()):
        if job not in running or job.started_at > since:  # it has ended
            del interrupted[job]
        elif monotonic_ns() - since > UNYIELDING:
            _recycle(worker, "The hung request was interrupted but runs on")


def _recycle(worker: Interrupting, why: str) -> None:
    if worker.row[cells.RECYCLE] == 0:
        worker.row[cells.RECYCLE] = cells.RECYCLE_DEADLINE
        worker.log.warning("%s: this worker asks to be replaced", why)


def _leave(worker: Interrupting, requests: Requests) -> NoReturn:
    """End a worker in which nothing but hung requests is left, and what they hold up."""
    hung = len(requests.jobs())
    others = max(0, worker.row[cells.CONNECTIONS] - hung)
    cut = f"; other connections that are cut with them: {others}" if others else ""
    worker.log.warning("leaving without %d hung requests%s", hung, cut)
    worker.context.idle_now()
    _exit(0)


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
