"""Worker: what every worker class is, and nothing that a subclass should copy.

A worker class decides where and when a connection runs. It overrides `run`, and
perhaps `setup`; everything else is here or below: listeners, heads and small bodies,
time-outs, keep-alive, graceful stop (the poller), one request from first byte to last
(the exchange), signals, boot and end (this class). A whole custom worker::

    class ThreadPerConnection(Worker):
        def run(self):
            for connection in self.accept():
                Thread(target=self.serve, args=(connection,), daemon=True).start()

`accept` yields a connection whose next request is complete; `serve` runs that request
and gives the connection back, to be kept, closed or finished. Each connection that
`accept` yields must be served exactly once, by any thread or greenlet.

Signals are those of Gunicorn's workers: TERM ends gracefully, INT and QUIT quickly,
USR1 reopens the logs, ABRT (from the master, when the worker does not beat) ends at
once. A handler only notes what is asked and wakes the poller: it may come in the
middle of anything.
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import sys
import time
from itertools import islice
from select import POLLIN, poll  # before gevent and eventlet replace it
from typing import TYPE_CHECKING, Any, ClassVar

from canter import deadlines
from canter import scoreboard as cells
from canter.errors import WorkerBootError
from canter.exchange import Context, serve_all, serve_one
from canter.gateway.interface import Interface, served
from canter.gateway.loader import load
from canter.http._http1 import Limits
from canter.observe.access import AccessLog
from canter.observe.reloader import start_reloader
from canter.poller import Poller
from canter.stream import Terms, Waiter

if TYPE_CHECKING:
    import logging
    import socket
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    from canter.config import Config
    from canter.exchange import Job
    from canter.scoreboard import Scoreboard
    from canter.stream import Stream

SHOWN = 50  # greenlets or tasks whose stacks an aborted worker writes
ORPHAN_GRACE = 1.0  # seconds a worker goes on when its master was killed
ORPHAN_END = 1.8  # seconds after which it ends, whatever it does
HEARD = (  # signals with a handler of the worker's
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGABRT,
    signal.SIGWINCH,
    signal.SIGHUP,
    signal.SIGIO,
)
BEAT = 1.0  # seconds between two signs of life, at most
FORGOTTEN = 10  # seconds after which a connection that nobody serves is a mistake of the class


class Worker:
    """One process of the server. See the module for how to subclass it.

    Made by the master in the forked child; `init_process` is its whole life.
    `ready` is called once the application is loaded, `alive_fd` reads as ended when
    the master is gone.
    """

    multithread: bool = False  # environ["wsgi.multithread"]
    serves: ClassVar[frozenset[Interface]] = frozenset({Interface.WSGI})  # kinds of applications
    interface: Interface  # of the application
    batch: ClassVar[int] = 8  # connections accepted in one turn
    keepalive: ClassVar[float] = 2.0  # seconds, where --keep-alive is not set (Gunicorn's default)

    def __init__(
        self,
        *,
        age: int,
        ppid: int,
        listeners: list[socket.socket],
        cfg: Config,
        log: logging.Logger,
        scoreboard: Scoreboard,
        index: int,
        ready: Callable[[], None],
    ) -> None:
        self.age = age
        self.ppid = ppid
        self.pid = 0  # before the fork, as in Gunicorn
        self.sockets = listeners
        self.cfg = cfg
        self.log = log
        self.scoreboard = scoreboard
        self.index = index
        self.row = scoreboard.row(index)
        self.alive_fd: int | None = None
        self.alive = True
        self.booted = False
        self.aborted = False
        self.leaving = False  # a handler below has raised SystemExit: it ends the worker, not a request
        self.app: Any = None
        self._ready = ready

    # -- what a subclass overrides -----------------------------------------------------------

    @classmethod
    def patch(cls) -> None:
        """Monkey-patch, if that is this class's way.

        Called before the application is imported, in the process that imports it: the
        worker, or with --preload the loader that the workers are forked from; then in
        each of them, too.
        """

    def setup(self) -> None:
        """Prepare the worker's process. `patch` was called, the application is not imported yet."""

    def warm_up(self) -> None:
        """What is left to do before the worker is ready; after post_worker_init."""

    def run(self) -> None:
        """Serve until `accept` ends, by a compiled loop where a subclass overrides neither it nor `serve`."""
        own = type(self)
        if (own.accept, own.serve) == (Worker.accept, Worker.serve):
            serve_all(self.context, self.pulse)
            return
        for connection in self.accept():
            self.serve(connection)

    def waiter(self) -> Waiter:
        """How streams wait in this worker; blocks the thread unless overridden."""
        return Waiter()

    def capacity(self) -> int:
        """Requests that can be served at once."""
        return 1

    def runner(self) -> object:
        """The greenlet or task that runs now, for `interrupt`; None in a thread."""
        return None

    def interrupt(self, job: Job) -> bool:
        """Cancel the greenlet or task of a request whose deadline has passed; called from another thread.

        False: it can't be cancelled, so the worker has itself replaced.
        """
        return False

    def waits(self, job: Job) -> bool:
        """Whether a request's greenlet or task is not the one that runs; threads all run."""
        return False

    def stack_of(self, job: Job) -> FrameType | list[FrameType] | None:
        """Where the request's thread, greenlet or task is now."""
        return deadlines.thread_stack(job)

    def asleep(self) -> Iterable[FrameType | list[FrameType]]:
        """Where the greenlets or tasks are that wait: no thread's stack shows them."""
        return ()

    @property
    def pulse(self) -> float:
        """Seconds between two signs of life, at most: twice within `--timeout`."""
        return min(BEAT, self.cfg.timeout / 2) if self.cfg.timeout else BEAT

    # -- what a subclass calls -----------------------------------------------------------------

    def accept(self) -> Iterator[Stream]:
        """Connections whose next request is complete, until the worker has stopped."""
        poll = self.poller.poll
        first: Stream | None = None  # one that is not served yet; all others are younger
        while not self.poller.finished:
            found = poll(self.pulse)
            if first is None or not first.waiting:
                first = found[0] if found else None
            elif self.is_forgotten(first):
                self.log.error(
                    "%s: nobody called serve() with a connection that accept() gave %d s ago",
                    type(self).__name__,
                    FORGOTTEN,
                )
                first = None
            yield from found

    def is_forgotten(self, connection: Stream) -> bool:
        """Does a connection wait, though nothing that it could wait for is served?"""
        return not self.context.running and time.monotonic_ns() - connection.queued_at > FORGOTTEN * 10**9

    def serve(self, connection: Stream) -> None:
        """Run the request that `connection` holds, then give the connection back. Once for each."""
        self.poller.give_back(connection, serve_one(connection, self.context))

    # -- the life of the process -----------------------------------------------------------------

    def init_process(self) -> None:
        """Boot, serve, stop. Returns when all is over; raises what made booting fail."""
        self.pid = os.getpid()
        self.patch()
        self.setup()
        self.app = self.load()
        self.learn_interface()
        self.open()
        self.handle_signals()
        self.call_hook(self.cfg.post_worker_init)
        self.warm_up()
        if self.cfg.request_timeout or self.cfg.request_timeout_paths:
            self.watch_deadlines()
        if self.cfg.reload:
            start_reloader(self.cfg, self.code_changed)
        self.booted = True
        self.row[cells.STATE] = cells.SERVING
        self._ready()
        try:
            self.run()
            self.check_end()
        finally:
            self.alive = False
            self.context.idle_now()

    def check_end(self) -> None:
        """`run` has returned: was it time to?"""
        name = type(self).__name__
        if self.poller.finished:
            return
        if not self.alive:
            self.log.error("%s.run() returned before accept() ended: requests that run are lost", name)
            return
        self.log.critical("%s.run() returned, though this worker was not told to stop", name)
        sys.exit(WorkerBootError.exit_code)

    def load(self) -> Any:
        """The application; the preloaded one where there is one."""
        return self.app if self.app is not None else load(self.cfg.wsgi_app)

    def learn_interface(self) -> None:
        """What is the application? Raises AppImportError where this class does not serve its kind."""
        name = self.cfg.worker_class
        shown = name if isinstance(name, str) else name.__qualname__
        self.interface = served(self.app, self.cfg.interface, self.serves, shown)

    @property
    def wsgi(self) -> Any:
        """The application, by Gunicorn's name for it."""
        return self.app

    @property
    def nr(self) -> int:
        """Requests served so far, the ones in flight included."""
        return self.context.requests if self.booted else 0

    def open(self) -> None:
        """Make the poller and the context: from here on connections are accepted."""
        cfg = self.cfg
        self.poller = Poller(
            self.terms(),
            self.sockets,
            self.log,
            limit=cfg.worker_connections,
            batch=self.batch,
            row=self.row.cells,
        )
        self.context = Context(
            self.app,
            self.poller,
            cfg,
            self.log,
            worker=self,
            row=self.row,
            access=self.open_access_log(),
            deadline_of=self.deadline_of(),
            runner_of=self.runner,
            multithread=self.multithread,
            multiprocess=cfg.workers.most > 1,
        )
        siblings = [row for index, row in enumerate(self.scoreboard.rows()) if index != self.index]
        self.context.know_siblings(siblings, self.capacity())
        self.row[cells.CAPACITY] = self.capacity()
        self.context.recycle_after = recycle_after(cfg)
        if self.alive_fd is not None:
            self.poller.watch(self.alive_fd, self.orphaned)

    def open_access_log(self) -> AccessLog | None:
        """The access log, where one is asked for."""
        cfg = self.cfg
        return AccessLog(cfg.accesslog, cfg.access_log_format, self.log.error) if cfg.accesslog else None

    def deadline_of(self) -> Callable[[str], float] | None:
        """Seconds that a path may take, where some have a limit of their own."""
        rules = self.cfg.request_timeout_paths
        return deadlines.by_path(self.cfg.request_timeout, rules) if rules else None

    def watch_deadlines(self) -> None:
        """Start the watchdog of `--request-timeout`."""
        deadlines.watch(self, self.context)

    def describe(self, job: Job) -> str:
        """A request, for a log line."""
        return deadlines.describe(job)

    def terms(self) -> Terms:
        cfg = self.cfg
        limits = Limits(
            request_line=cfg.limit_request_line,
            fields=cfg.limit_request_fields,
            field_size=cfg.limit_request_field_size,
            body=cfg.limit_request_body,
        )
        return Terms(
            limits,
            header_timeout=cfg.header_timeout,
            keepalive=self.keepalive if cfg.keepalive is None else cfg.keepalive,
            body_timeout=cfg.body_timeout,
            write_timeout=cfg.write_timeout,
            body_min_rate=cfg.body_min_rate,
            body_buffer=cfg.body_buffer,
            waiter=self.waiter(),
        )

    def call_hook(self, hook: Callable[[Worker], object] | None) -> None:
        """Call one of Gunicorn's server hooks of a worker, where it is set."""
        if hook is not None:
            hook(self)

    # -- signals and the end ------------------------------------------------------------------------

    def handle_signals(self) -> None:
        """Gunicorn's signals of a worker."""
        signal.signal(signal.SIGTERM, self.handle_exit)
        signal.signal(signal.SIGINT, self.handle_quit)
        signal.signal(signal.SIGQUIT, self.handle_quit)
        signal.signal(signal.SIGUSR1, self.handle_usr1)
        signal.signal(signal.SIGABRT, self.handle_abort)
        for number in (signal.SIGWINCH, signal.SIGHUP):  # the master's; SIG_IGN would be inherited
            signal.signal(number, self.handle_nothing)
        if self.alive_fd is not None:
            signal.signal(signal.SIGIO, self.handle_io)
            fcntl.fcntl(self.alive_fd, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(self.alive_fd, fcntl.F_SETFL, fcntl.fcntl(self.alive_fd, fcntl.F_GETFL) | os.O_ASYNC)
        signal.set_wakeup_fd(self.poller.wake_write, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=self.leave_parent)

    def leave_parent(self) -> None:
        """In a child that the application forks: it is none of the server's.

        A signal ends it, as any process, and it does not keep the port when the worker is gone.
        """
        signal.set_wakeup_fd(-1)
        for number in HEARD:
            signal.signal(number, signal.SIG_DFL)
        for sock in self.sockets:
            sock.close()

    def handle_nothing(self, number: int, frame: FrameType | None) -> None:
        pass

    def handle_exit(self, number: int, frame: FrameType | None) -> None:
        self.stop()

    def handle_quit(self, number: int, frame: FrameType | None) -> None:
        self.alive = False
        self.call_hook(self.cfg.worker_int)
        self.stop(0)
        self.leaving = True
        sys.exit(0)

    def handle_usr1(self, number: int, frame: FrameType | None) -> None:
        self.context.reopen_logs()

    def handle_abort(self, number: int, frame: FrameType | None) -> None:
        self.alive = False
        self.aborted = True
        self.last_words()
        self.call_hook(self.cfg.worker_abort)
        self.leaving = True
        sys.exit(1)

    def handle_io(self, number: int, frame: FrameType | None) -> None:
        """Something happened to the line to the master. Its end must end a worker that polls no more, too.

        Code that keeps the GIL delays that: the interpreter calls this between two steps.
        """
        if self.alive_fd is None:
            return
        line = poll()
        line.register(self.alive_fd, POLLIN)
        if line.poll(0):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, ORPHAN_END)

    def last_words(self) -> None:
        """Log what a dump of the threads does not show. The master leaves little time for it."""
        try:
            for stack in islice(self.asleep(), SHOWN):
                self.log.error("It was waiting in this worker:\n%s", deadlines.format_stack(stack))
        except Exception:
            self.log.exception("the stacks of what waits cannot be shown")

    def stop(self, grace: float | None = None) -> None:
        """Accept no more, finish what runs, then let `accept` end. `grace` in seconds."""
        self.alive = False
        self.row[cells.STATE] = cells.STOPPING
        self.context.stopping = True
        self.poller.ask_stop(self.cfg.graceful_timeout if grace is None else grace, self.scoreboard.stopping)

    def code_changed(self, path: str) -> None:
        """A file of the application has changed (`--reload`): ask the master to reload. Runs in a thread."""
        self.log.info("%s changed: reloading", path)
        os.kill(self.ppid, signal.SIGHUP)

    def orphaned(self) -> None:
        """The master is gone without a word: leave soon, so that the port is free."""
        if self.alive_fd is not None:
            self.poller.unwatch(self.alive_fd)
        self.log.warning("the master is gone: leaving")
        self.stop(ORPHAN_GRACE)


def recycle_after(cfg: Config) -> int:
    """How many requests this worker serves before it asks to be replaced; 0: it never does."""
    return cfg.max_requests and cfg.max_requests + random.randint(0, cfg.max_requests_jitter)
