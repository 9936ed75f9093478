"""The processes behind the process table: forks them, hears them, signals them, buries them.

`Family` does what `children.Table` decides and tells the table what became of it. What
an operator should know of a worker's life is logged here, with its figures.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from canter import scoreboard as sb
from canter.master import signals, sockets, spawn
from canter.master.children import SECOND, Abort, Child, End, Kill, Phase, Start, Stop, Table, describe
from canter.master.report import Failure, Inbox, Ready

if TYPE_CHECKING:
    from canter.config import Config
    from canter.observe.errorlog import ErrorLog

SHOWN: Final = 10  # requests in flight that are named in the log
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
SAMPLE_EVERY: Final = SECOND  # memory


@dataclass(frozen=True)
class Generation:
    """What workers are made from: one reading of the settings, and its sockets."""

    number: int
    cfg: Config
    listeners: list[sockets.Listener]


@dataclass
class Life:
    """The master's side of one worker."""

    view: spawn.WorkerView
    line: socket.socket  # from the worker
    inbox: Inbox = field(default_factory=Inbox)
    failure: Failure | None = None


@dataclass(frozen=True)
class Ended:
    """A worker that is gone."""

    child: Child
    end: End
    failure: Failure


class Family:
    """All workers of this master. `server` is the Arbiter: it has the log and runs the hooks."""

    def __init__(
        self, server: Any, table: Table, board: sb.Scoreboard, selector: selectors.BaseSelector
    ) -> None:
        self.table = table
        self.board = board
        self.generations: dict[int, Generation] = {}
        self.lives: dict[int, Life] = {}  # by age
        self.on_ready: Callable[[Child, bool], None]  # the bool: it was the canary of a reload
        self.on_ended: Callable[[Ended], None]
        self._server = server
        self._log: ErrorLog = server.log
        self._selector = selector
        self._sampled = 0

    # -- doing -----------------------------------------------------------------------

    def step(self, now: int) -> None:
        """Look at the workers, and do what has become due."""
        self._observe(now)
        for action in self.table.plan(now):
            match action:
                case Start(child, reason):
                    self._start(child, reason, now)
                case Stop(child, quick):
                    self._stop(child, quick)
                case Abort(child):
                    self._abort(child)
                case Kill(child):
                    self._kill(child)

    def signal_all(self, number: signal.Signals) -> None:
        for child in self.table.children.values():
            self._signal(child, number)

    def _start(self, child: Child, reason: str, now: int) -> None:
        generation = self.generations[child.generation]
        row = self.board.claim(os.getpid())
        if row is None:
            self._not_born(child, Failure(1, f"the scoreboard is full: {self.board.workers} workers"))
            return
        child.row = row
        listening = sockets.for_seat(generation.listeners, child.seat)
        view = spawn.WorkerView(child.age, os.getpid(), generation.cfg, self._log, listening)
        self._server.hook("pre_fork", self._server, view)
        self._mark(child, now)
        mine, theirs = socket.socketpair()

        def shed() -> None:
            mine.close()
            self._server.shed(listening)

        birth = spawn.Birth(self._server, view, self.board, row, theirs, shed)
        pid = self._fork(birth)
        theirs.close()
        if isinstance(pid, Failure):
            mine.close()
            self._not_born(child, pid)
            return
        mine.setblocking(False)
        view.pid = self.board.row(row)[sb.PID] = pid
        life = self.lives[child.age] = Life(view, mine)
        self._selector.register(mine, selectors.EVENT_READ, lambda: self._hear(child, life))
        self.table.born(child, pid, time.monotonic_ns())
        self._log.debug("worker %d starts in seat %d: %s", pid, child.seat, reason)

    def _fork(self, birth: spawn.Birth) -> int | Failure:
        """Fork a worker. What the streams still hold is written before, or it would be written twice."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass  # closed, full or None
        with signals.blocked():
            try:
                pid = os.fork()
            except OSError as error:
                return Failure(1, f"fork: {error.strerror}")
            if pid == 0:
                spawn.live(birth)
        return pid

    def _mark(self, child: Child, now: int) -> None:
        row = self.board.row(child.row)
        row[sb.AGE] = child.age
        row[sb.GENERATION] = child.generation
        row[sb.STARTED] = row[sb.BEAT] = now
        row[sb.STATE] = sb.BOOTING

    def _stop(self, child: Child, quick: bool) -> None:
        self._log.debug("worker %d is told to %s: %s", child.pid, "quit" if quick else "stop", child.reason)
        self._signal(child, signal.SIGQUIT if quick else signal.SIGTERM)

    def _abort(self, child: Child) -> None:
        """Make a hanging worker write where it hangs, before it is killed."""
        if child.ready_at:
            self._log.critical(
                "WORKER TIMEOUT (pid:%d): %s%s", child.pid, child.reason, self._in_flight(child)
            )
        else:
            self._log.critical("worker (pid:%d) is ended: %s", child.pid, child.reason)
        self.lives[child.age].view.aborted = True
        if child.ready_at:
            self._signal(child, spawn.DUMP)
        self._signal(child, signal.SIGABRT)

    def _kill(self, child: Child) -> None:
        self._log.error("worker (pid:%d) is killed: %s", child.pid, child.reason)
        self._signal(child, signal.SIGKILL)

    def _signal(self, child: Child, number: signal.Signals) -> None:
        """Only for children that are not reaped: their number cannot be another process's yet."""
        if child.pid:
            os.kill(child.pid, number)

    # -- looking ---------------------------------------------------------------------

    def _observe(self, now: int) -> None:
        """Take over what the workers have written on the scoreboard."""
        sample = now - self._sampled >= SAMPLE_EVERY
        if sample:
            self._sampled = now
        for child in self.table.children.values():
            if not child.pid:
                continue
            row = self.board.row(child.row)
            child.beat = max(child.beat, row[sb.BEAT])
            if sample:
                row[sb.RSS] = resident(child.pid)
            if child.phase is Phase.READY:
                self._observe_ready(child, row, now)

    def _observe_ready(self, child: Child, row: sb.Row, now: int) -> None:
        hard = self.lives[child.age].view.cfg.max_worker_memory_hard
        if row[sb.STATE] == sb.STOPPING:
            self._log.info("worker (pid:%d) stops, though not told to by the master", child.pid)
            self.table.leaves(child, now, "it stopped by itself")
        elif hard and row[sb.RSS] > hard:
            what = f"it has {row[sb.RSS]} octets of memory, more than {hard} (max_worker_memory_hard)"
            self._kill(self.table.condemn(child, now, what + self._in_flight(child)).child)
        elif not child.asked and (reason := self._used_up(child, row, now)):
            child.asked = reason
            self._log.info("worker (pid:%d) is to be replaced: %s", child.pid, reason)

    def _used_up(self, child: Child, row: sb.Row, now: int) -> str:
        """Why a worker should be replaced; "" when it need not."""
        cfg = self.lives[child.age].view.cfg
        age, memory, requests = (now - child.ready_at) / SECOND, row[sb.RSS], row[sb.REQUESTS]
        if asked := row[sb.RECYCLE]:
            name = sb.RECYCLE_NAMES[asked] if asked < len(sb.RECYCLE_NAMES) else f"reason {asked}"
            return f"{name} ({requests} requests)" if asked == sb.RECYCLE_REQUESTS else name
        if cfg.max_worker_lifetime and age >= cfg.max_worker_lifetime:
            return f"max lifetime ({age:.0f} s)"
        # A worker that is too large before it has served anything would only be followed by its like.
        if cfg.max_worker_memory and memory > cfg.max_worker_memory and requests:
            return f"max memory ({memory} octets)"
        return ""

    def _hear(self, child: Child, life: Life) -> None:
        """Read what a worker has to say. After the end of it the process may live on for a moment."""
        while life.line.fileno() >= 0:
            try:
                octets = life.line.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                octets = b""
            if not octets:
                self._hang_up(life)
            for message in life.inbox.feed(octets):
                self._take(child, life, message)

    def _take(self, child: Child, life: Life, message: Ready | Failure) -> None:
        if isinstance(message, Failure):
            life.failure = message
            return
        now = time.monotonic_ns()
        life.view.booted = True
        self._log.debug("worker %d is ready after %.2f s", child.pid, (now - child.started) / SECOND)
        if child.phase is Phase.BOOTING:
            self.on_ready(child, self.table.ready(child, now))

    def _hang_up(self, life: Life) -> None:
        if life.line.fileno() >= 0:
            self._selector.unregister(life.line)
            life.line.close()

    # -- burying ---------------------------------------------------------------------

    def bury(self, pid: int, status: int) -> bool:
        """A process has ended. False when it was none of ours."""
        child = self.table.by_pid(pid)
        if child is None:
            return False
        life = self.lives[child.age]
        self._hear(child, life)  # its last words came before its death was seen
        self._hang_up(life)
        now = time.monotonic_ns()
        by_kill = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        end = self.table.exited(child, now, by_kill)
        self._tell_end(child, end, status, now)
        self.board.release(child.row)
        del self.lives[child.age]
        life.view.alive = False
        self._server.hook("child_exit", self._server, life.view)
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1
        self.on_ended(Ended(child, end, life.failure or Failure(code, describe(status))))
        return True

    def _not_born(self, child: Child, failure: Failure) -> None:
        now = time.monotonic_ns()
        if child.row >= 0:
            self.board.release(child.row)
        self._log.error("a worker could not be started: %s", failure.line)
        self.on_ended(Ended(child, self.table.unborn(child, now), failure))

    def _tell_end(self, child: Child, end: End, status: int, now: int) -> None:
        how = describe(status)
        requests = self.board.row(child.row)[sb.REQUESTS]
        age = (now - child.started) / SECOND
        if end is End.DIED:
            hint = ", perhaps out of memory" if how == "SIGKILL" else ""
            what = "Worker (pid:%d) died: %s%s; it was %.1f s old and had served %d requests%s"
            self._log.error(what, child.pid, how, hint, age, requests, self._in_flight(child))
        elif end is End.STOPPED:
            what = "worker (pid:%d) ended (%s) after %.1f s and %d requests: %s"
            level = self._log.info if child.aborted else self._log.debug
            level(what, child.pid, how, age, requests, child.reason)

    def _in_flight(self, child: Child) -> str:
        """The requests a worker was busy with, for the end of a line."""
        requests = self.board.row(child.row).requests()
        if not requests:
            return ""
        now = time.monotonic_ns()
        told = [
            f"{request.method} {request.path} from {request.peer} for {(now - request.start) / SECOND:.1f} s"
            + (f" (id {request.id})" if request.id else "")
            for request in requests[:SHOWN]
        ]
        more = f", and {len(requests) - SHOWN} more" if len(requests) > SHOWN else ""
        return f"; in flight: {', '.join(told)}{more}"


def resident(pid: int) -> int:
    """Resident memory of a process in octets; 0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0
