"""`--preload`: a process that imports the application once, and forks the workers.

The master must never import the application, so it forks a *loader*, which does, and then
waits for orders: a worker's age, seat and row, with the worker's line to the master
attached. The loader forks twice, so that its worker is an orphan, and the master, who has
declared itself the heir of orphans (a "subreaper"), becomes its parent: to the master such
a worker is like any other. A reload has a new loader, hence new code.

Memory that is never written stays shared between the loader and all its workers. So
everything that lives after the import is moved out of the garbage collector's sight
(`gc.freeze`): its marks would be writes. Threads do not survive a fork, and sockets that
are open at that time are shared by all workers, so both are named in a warning.
"""

from __future__ import annotations

import atexit
import gc
import os
import pickle
import selectors
import signal
import socket
import threading
import time

# Bound before gevent or eventlet replace them: the loader has no event loop that runs.
from os import _exit, fork, waitpid
from typing import TYPE_CHECKING, Any, Final, NoReturn

from canter import workers
from canter.gateway import loader
from canter.master import process, signals, sockets, spawn
from canter.master.children import SECOND
from canter.master.report import Failure, Inbox, Ready, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from canter.master.family import Generation
    from canter.observe.errorlog import ErrorLog
    from canter.scoreboard import Scoreboard

PR_SET_CHILD_SUBREAPER: Final = 36
ORDER: Final = 65536  # octets of an order, at most


def inherit_orphans() -> None:
    """Become the parent of any descendant that loses its own. ProcessError where there is no such thing."""
    import ctypes  # few servers need it

    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        raise process.ProcessError("preload_app needs Linux (prctl)") from None
    if prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise process.ProcessError(f"preload_app: prctl: {os.strerror(ctypes.get_errno())}")


class Loader:
    """The master's side of a loader."""

    def __init__(
        self,
        generation: Generation,
        board: Scoreboard,
        server: Any,
        selector: selectors.BaseSelector,
        shed: Callable[[], None],
    ) -> None:
        """Fork it. OSError and ProcessError where that fails."""
        inherit_orphans()
        self.loaded = False
        self.failure: Failure | None = None
        self._log: ErrorLog = server.log
        self._selector = selector
        self._aborted = False
        self._began = time.monotonic_ns()
        self._inbox = Inbox()
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with signals.blocked():
            self.pid = fork()
            if self.pid == 0:
                self._line.close()
                _Nursery(generation, board, server, theirs).live(shed)
        theirs.close()
        selector.register(self._line, selectors.EVENT_READ, self.hear)
        self._log.info("the application is loaded by process %d, once for all workers", self.pid)

    def order(self, view: spawn.WorkerView, seat: int, seats: int, row: int, line: socket.socket) -> None:
        """Have a worker forked, now or when the application is loaded. OSError when the loader is gone."""
        given = {name: value for name, value in vars(view).items() if name not in spawn.OWN}
        try:
            extra = pickle.dumps(given)
        except Exception as error:
            self._log.warning("what pre_fork has set on the worker cannot be sent to it: %s", error)
            extra = pickle.dumps({})
        socket.send_fds(
            self._line, [pickle.dumps((view.age, view.ppid, seat, seats, row, extra))], [line.fileno()]
        )

    def hear(self) -> None:
        """Whether the application is loaded, or why it is not."""
        while self._line.fileno() >= 0:
            try:
                octets = self._line.recv(ORDER, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionResetError:
                continue  # it has ended with orders unread; what it said before that is still to come
            if not octets:
                self.hang_up()
            for message in self._inbox.feed(octets):
                if isinstance(message, Failure):
                    self.failure = message
                else:
                    self.loaded = True
                    took = (time.monotonic_ns() - self._began) / SECOND
                    self._log.info("the application was loaded within %.1f s", took)

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def abort(self) -> None:
        """Make it write where it hangs. Once: a second ABRT would end it in the middle of that."""
        if not self._aborted:
            self._aborted = True
            self.signal(signal.SIGABRT)

    def hang_up(self) -> None:
        """Order no more: the loader ends when it has loaded."""
        if self._line.fileno() >= 0:
            self._selector.unregister(self._line)
            self._line.close()


class _Nursery:
    """The loader itself."""

    def __init__(self, generation: Generation, board: Scoreboard, server: Any, line: socket.socket) -> None:
        self._generation = generation
        self._cfg = generation.cfg
        self._board = board
        self._server = server
        self._log: ErrorLog = server.log
        self._line = line

    def live(self, shed: Callable[[], None]) -> NoReturn:
        code = 1
        try:
            atexit._clear()
            shed()
            signal.signal(signal.SIGUSR1, lambda *_: self._log.reopen())
            signals.release()
            code = self._load()
            if code == 0:
                self._serve()
        except BaseException:
            self._log.critical("the loader (pid:%d) cannot go on", os.getpid(), exc_info=True)
        finally:
            _exit(code)

    def _load(self) -> int:
        try:
            self._server.cfg = self._cfg
            process.set_title(f"loader [{spawn.title(self._cfg)}]")
            spawn.write_stacks(self._log)
            process.become(self._cfg.uid, self._cfg.gid, self._cfg.initgroups)
            loader.enter(self._cfg)
            loader.set_environment(self._cfg)
            workers.resolve(self._cfg.worker_class).patch()
            self._app = loader.load(self._cfg.wsgi_app)
        except BaseException as error:
            failure = spawn.explain(error)
            self._line.send(encode(failure))
            return failure.exit_code
        self._warn()
        gc.collect()
        gc.freeze()
        self._line.send(encode(Ready()))
        return 0

    def _serve(self) -> None:
        """Fork until the master hangs up."""
        while True:
            order, fds, _, _ = socket.recv_fds(self._line, ORDER, 1)
            if not order:
                return
            spawn.flush()
            (fd,) = fds
            middle = fork()
            if middle == 0:
                if fork() == 0:
                    self._become(order, fd)
                _exit(0)
            os.close(fd)
            waitpid(middle, 0)

    def _become(self, order: bytes, fd: int) -> NoReturn:
        """Be the worker that was ordered."""
        age, ppid, seat, seats, row, extra = pickle.loads(order)
        listening = sockets.for_seat(self._generation.listeners, seat, seats)
        view = spawn.WorkerView(age, ppid, self._cfg, self._log, listening)
        vars(view).update(pickle.loads(extra))

        def shed() -> None:
            self._line.close()
            for listener in self._generation.listeners:
                for each in listener.sockets:
                    if each not in listening:
                        each.close()

        line = socket.socket(fileno=fd)
        spawn.live(spawn.Birth(self._server, view, self._board, row, line, shed, self._app))

    def _warn(self) -> None:
        """Name what the application has begun and its workers will miss, or wrongly share."""
        threads = [each.name for each in threading.enumerate() if each is not threading.main_thread()]
        if threads:
            what = "threads that the application has started will not run in the workers: %s"
            self._log.warning(what, ", ".join(threads))
        ours = {each.fileno() for listener in self._generation.listeners for each in listener.sockets}
        if found := open_sockets(ours | {self._line.fileno()}):
            what = "sockets that the application has opened will be shared by all workers: %s"
            self._log.warning(what, ", ".join(found))


def open_sockets(ours: set[int]) -> list[str]:
    """The sockets of this process, but for `ours`, as a person would recognise them."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if int(name) not in ours and os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                found.append(_describe(int(name)))
        except OSError:
            continue  # the descriptor of the listing itself
    return found


def _describe(fd: int) -> str:
    with socket.socket(fileno=os.dup(fd)) as each:
        try:
            return f"{fd} to {_name(each.getpeername())}"
        except OSError:
            return f"{fd} at {_name(each.getsockname())}"


def _name(address: Any) -> str:
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address) or "unnamed"
