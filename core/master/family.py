"""The processes behind the process table: forks them, hears them, signals them, buries them.

`Family` does what `children.Table` decides and tells the table what became of it. What
an operator should know of a worker's life is logged here, with its figures.
"""

from __future__ import annotations

import atexit
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from canter import scoreboard as sb
from canter.master import signals, sockets, spawn
from canter.master.children import SECOND, Abort, Child, End, Kill, Phase, Start, Stop, Table, describe
from canter.master.preload import Loader
from canter.master.process import ProcessError
from canter.master.report import Born, Failure, Inbox, Message

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
        self.loaders: dict[int, Loader] = {}  # by generation
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
        current = self.generations[self.table.generation]
        most = max(len(listener.sockets) for listener in current.listeners)
        self.table.sockets = most if most > 1 else 0
        for number in self.loaders.keys() - self.generations.keys():
            self._dismiss(self.loaders.pop(number))
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
        for loader in self.loaders.values():
            loader.signal(number)

    def close(self) -> None:
        """The end: nobody is to be forked any more."""
        for loader in self.loaders.values():
            self._dismiss(loader)

    def _start(self, child: Child, reason: str, now: int) -> None:
        generation = self.generations[child.generation]
        row = self.board.claim(os.getpid())
        if row is None:
            self._not_born(child, Failure(1, f"the scoreboard is full: {self.board.workers} workers"))
            return
        child.row = row
        self._mark(child, now)
        listening = sockets.for_seat(generation.listeners, child.seat, self.table.target)
        view = spawn.WorkerView(child.age, os.getpid(), generation.cfg, self._log, listening)
        self._server.hook("pre_fork", self._server, view)
        self._log.debug("a worker starts in seat %d: %s", child.seat, reason)
        try:
            line, pid = self._make(child, generation, view)
        except (OSError, ProcessError) as error:
            self._not_born(child, Failure(1, f"fork: {error}"))
            return
        line.setblocking(False)
        life = self.lives[child.age] = Life(view, line)
        self._selector.register(line, selectors.EVENT_READ, lambda: self._hear(child, life))
        if pid:
            self._born(child, life, pid)

    def _make(
        self, child: Child, generation: Generation, view: spawn.WorkerView
    ) -> tuple[socket.socket, int]:
        """Fork a worker: its line, and its pid, or 0 where a loader forks it and the worker will tell."""
        loader = self._loader(generation) if generation.cfg.preload_app else None
        mine, theirs = socket.socketpair()

        def shed() -> None:
            atexit._clear()  # what the master must do at its end is not for a worker to do
            mine.close()
            self._server.shed(view.sockets)

        try:
            if loader:
                loader.order(view, child.seat, self.table.target, child.row, theirs)
                return mine, 0
            spawn.flush()
            with signals.blocked():
                pid = os.fork()
                if pid == 0:
                    spawn.live(spawn.Birth(self._server, view, self.board, child.row, theirs, shed))
            return mine, pid
        except OSError:
            mine.close()
            raise
        finally:
            theirs.close()

    def _loader(self, generation: Generation) -> Loader:
        """The process that forks the workers of this generation."""
        if generation.number not in self.loaders:
            keep = [each for listener in generation.listeners for each in listener.sockets]
            made = Loader(
                generation, self.board, self._server, self._selector, lambda: self._server.shed(keep)
            )
            self.loaders[generation.number] = made
        return self.loaders[generation.number]

    def _born(self, child: Child, life: Life, pid: int) -> None:
        self.table.born(child, pid, time.monotonic_ns())
        life.view.pid = self.board.row(child.row)[sb.PID] = pid
        if child.phase is Phase.STOPPING:  # meanwhile nobody wants it any more
            self._signal(child, signal.SIGKILL if child.killed else signal.SIGTERM)

    def _mark(self, child: Child, now: int) -> None:
        row = self.board.row(child.row)
        row[sb.AGE] = child.age
        row[sb.GENERATION] = child.generation
        row[sb.STARTED] = row[sb.BEAT] = now
        row[sb.STATE] = sb.BOOTING

    def _stop(self, child: Child, quick: bool) -> None:
        how = "quit" if quick else "stop"
        self._log.debug("worker %s is told to %s: %s", child.pid or child.name, how, child.reason)
        self._signal(child, signal.SIGQUIT if quick else signal.SIGTERM)
        loader = self.loaders.get(child.generation)
        if loader and not loader.loaded and self.table.ending:
            loader.signal(signal.SIGKILL)

    def _abort(self, child: Child) -> None:
        """Make a hanging worker write where it hangs, before it is killed."""
        if child.ready_at:
            self._log.critical(
                "WORKER TIMEOUT (pid:%d): %s%s", child.pid, child.reason, self._in_flight(child)
            )
        else:
            self._log.critical("worker (%s) is ended: %s", child.name, child.reason)
        self.lives[child.age].view.aborted = True
        if child.pid and is_stopped(child.pid):  # it could not say where it hangs
            self._kill(self.table.condemn(child, time.monotonic_ns(), f"{child.reason}; it is stopped").child)
            return
        if child.ready_at:
            self._signal(child, spawn.DUMP)
        self._signal(child, signal.SIGABRT)
        if not child.pid and child.generation in self.loaders:
            self.loaders[child.generation].abort()

    def _kill(self, child: Child) -> None:
        self._log.error("worker (%s) is killed: %s", child.name, child.reason)
        self._signal(child, signal.SIGKILL)
        if not child.pid and child.generation in self.loaders:
            self.loaders[child.generation].signal(signal.SIGKILL)

    def _signal(self, child: Child, number: signal.Signals) -> None:
        """Only for children that are not buried: their number cannot be another process's yet."""
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
                if not child.pid:
                    self._stillborn(child, life)
            for message in life.inbox.feed(octets):
                self._take(child, life, message)

    def _take(self, child: Child, life: Life, message: Message) -> None:
        if isinstance(message, Born):
            if not child.pid:
                self._born(child, life, message.pid)
            return
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
        if self._is_loader(pid, status):
            return True
        for unborn in [child for child in self.table.children.values() if not child.pid]:
            self._hear(unborn, self.lives[unborn.age])  # it may be this one
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

    def _is_loader(self, pid: int, status: int) -> bool:
        loader = next((loader for loader in self.loaders.values() if loader.pid == pid), None)
        if loader is None:
            return False
        loader.hear()
        loader.hang_up()
        if not loader.failure:
            loader.failure = Failure(1, f"the loader (pid:{pid}) ended: {describe(status)}")
            if not self.table.ending:
                self._log.error("%s", loader.failure.line)
        # Its orders end with it, and each of them is told by the end of its line.
        for child in [child for child in self.table.children.values() if not child.pid]:
            self._hear(child, self.lives[child.age])
        self.loaders = {number: each for number, each in self.loaders.items() if each is not loader}
        return True

    def _stillborn(self, child: Child, life: Life) -> None:
        """A loader could not fork a worker, or the worker ended before it said a word."""
        loader = self.loaders.get(child.generation)
        if loader:
            loader.hear()
        failure = life.failure or (loader and loader.failure) or Failure(1, "it ended before it began")
        if loader and loader.failure:
            loader.failure = replace(failure, traceback="")  # told once is enough
        end = self.table.exited(child, time.monotonic_ns())
        self.board.release(child.row)
        del self.lives[child.age]
        self.on_ended(Ended(child, end, failure))

    def _dismiss(self, loader: Loader) -> None:
        """A loader is not needed any more. It holds nothing that would have to be put in order."""
        loader.hang_up()
        loader.signal(signal.SIGKILL)
        os.waitpid(loader.pid, 0)

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


def is_stopped(pid: int) -> bool:
    """Whether a process stands still, by SIGSTOP or a debugger; False where the system does not tell."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in b"Tt"
    except (OSError, IndexError):
        return False


def resident(pid: int) -> int:
    """Resident memory of a process in octets; 0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * PAGE
    except (OSError, IndexError):
        return 0
