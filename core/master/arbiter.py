"""The master: hears signals, and keeps the wanted number of workers alive. `Arbiter(cfg).run()`.

One process, one thread, one select loop: signals, workers' messages and timers all
arrive there, and everything is answered from there. It never imports the application
nor a worker class, so that nothing an application does can hurt it.

=========  ==========================================================================
TERM       graceful stop: requests in flight are finished
INT QUIT   quick stop
HUP        read the settings again and replace the workers, one by one
TTIN TTOU  one worker more, one fewer
USR1       reopen the log files
WINCH      stop all workers, when the server is a daemon
CHLD       a process has ended
=========  ==========================================================================

The rooms beside this one: `children` decides (pure), `family` forks and buries, `spawn`
is the child's side, `reload` changes the settings, `sockets` listens, `process` and
`systemd` talk to the system.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from canter import __version__
from canter.config import Config
from canter.errors import ConfigError, WorkerBootError
from canter.master import process, signals, sockets, spawn, systemd
from canter.master.children import SECOND, Child, End, Limits, Table, describe
from canter.master.family import Ended, Family, Generation
from canter.master.reload import Reloader, policy
from canter.master.report import Failure
from canter.observe.errorlog import ErrorLog, open_log, secure_standard_streams
from canter.scoreboard import BUSY, SERVER_STOPPING, Scoreboard

TICK: Final = SECOND  # the longest the loop sleeps
ASLEEP: Final = 3 * SECOND  # a loop that comes so late did not run; perhaps nobody did
SLOTS: Final = 256  # requests that one worker can show at once
ROWS: Final = 64  # workers there is room for at least
HOPELESS: Final = (
    2,
    4,
)  # a first boot that ends with these would again: a wrong setting, a broken application


class Arbiter:
    """The master process. Hooks get it as `server`."""

    log: ErrorLog

    def __init__(self, cfg: Config) -> None:
        self.cfg = cfg
        self.pid = os.getpid()
        self.exit_code = 0
        self._handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: lambda: self._end(quick=False),
            signal.SIGINT: lambda: self._end(quick=True),
            signal.SIGQUIT: lambda: self._end(quick=True),
            signal.SIGHUP: self._reload,
            signal.SIGTTIN: lambda: self._set_target(self._table.target + 1, "by signal"),
            signal.SIGTTOU: lambda: self._set_target(max(1, self._table.target - 1), "by signal"),
            signal.SIGUSR1: self._reopen_logs,
            signal.SIGWINCH: self._stop_workers,
            signal.SIGCHLD: self._reap,
        }
        self._pid_file: process.PidFile | None = None
        self._drain_until = 0  # serving, but not ready: until then

    # -- the face that hooks know from Gunicorn ------------------------------------------

    @property
    def num_workers(self) -> int:
        return self._table.target

    @property
    def WORKERS(self) -> dict[int, spawn.WorkerView]:  # Gunicorn's name
        children = self._table.children.values()
        return {child.pid: self._family.lives[child.age].view for child in children if child.pid}

    def hook(self, name: str, *arguments: Any, cfg: Config | None = None) -> None:
        """Run a server hook. What it raises is the hook's failure, not the server's."""
        function = getattr(cfg or self.cfg, name)
        if function is None:
            return
        try:
            function(*arguments)
        except Exception:
            self.log.exception("the hook %s failed", name)

    # -- a life --------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until told to stop; the exit code of the process."""
        secure_standard_streams()
        self.log = open_log(self.cfg.errorlog, self.cfg.loglevel, self.cfg.capture_output)
        try:
            self._start()
        except (sockets.ListenError, process.ProcessError, ConfigError) as error:
            self.log.error("%s", error)
            return error.exit_code
        try:
            self._loop()
        except BaseException:
            self.log.critical("Unhandled exception in the master: the workers are killed", exc_info=True)
            self._family.signal_all(signal.SIGKILL)
            self.exit_code = 1
        self._finish()
        return self.exit_code

    def _start(self) -> None:
        cfg = self.cfg
        self._notifier = systemd.Notifier(os.environ)
        given = systemd.take_activated(os.environ)
        listeners = sockets.open_all(cfg.bind, policy(cfg), int(cfg.workers), activated=given)
        if cfg.daemon:  # only now: what could go wrong until here was told on the terminal
            process.go_to_background()
            self.pid = os.getpid()
        process.set_title(f"master [{spawn.title(cfg)}]")
        self.log.info("Starting canter %s", __version__)
        for note in cfg.notes:
            self.log.log(logging.getLevelName(note.level.upper()), "%s", note.text)
        self.log.chown(cfg.uid, cfg.gid)
        if cfg.pidfile:
            self._pid_file = process.PidFile(cfg.pidfile)
            self._pid_file.write()
        self._open_house(listeners)
        self._welcome()

    def _open_house(self, listeners: list[sockets.Listener]) -> None:
        """Everything the loop works with."""
        cfg = self.cfg
        self._selector = selectors.DefaultSelector()
        self._signals = signals.SignalQueue()
        self._selector.register(self._signals, selectors.EVENT_READ, self._take_signals)
        self._table = Table(int(cfg.workers), _limits(cfg))
        board = Scoreboard.create(
            max(ROWS, 4 * cfg.workers.most), max(SLOTS, cfg.threads), time.monotonic_ns()
        )
        self._family = Family(self, self._table, board, self._selector)
        self._family.on_ready = self._on_ready
        self._family.on_ended = self._on_ended
        self._reloader = Reloader(self, self._family, Generation(1, cfg, listeners))
        self._woke = time.monotonic_ns()

    def _welcome(self) -> None:
        """Say that the server listens. A hook that fails here ends it: nothing has been served yet."""
        cfg = self.cfg
        if cfg.on_starting:
            cfg.on_starting(self)
        self._tell_addresses()
        self.log.info("Using worker: %s", _class_name(cfg))
        if cfg.when_ready:
            cfg.when_ready(self)
        self.hook("nworkers_changed", self, self.num_workers, None)

    def _loop(self) -> None:
        while not (self._table.ending and not self._table.children):
            now = time.monotonic_ns()
            self._notice_sleep(now)
            self._notifier.beat(now)
            if 0 < self._drain_until <= now and not self._table.ending:
                self._stop(quick=False)
            self._family.step(now)
            if self._reloader.finished():
                self._notifier.ready("serving")
            self._wait(now)

    def _wait(self, now: int) -> None:
        times = [self._table.next_event(now), self._drain_until, self._notifier.due, now + TICK]
        until = min(time for time in times if time and time > now)
        for key, _ in self._selector.select(max(0.0, (until - time.monotonic_ns()) / SECOND)):
            key.data()

    def _notice_sleep(self, now: int) -> None:
        """A machine that was suspended, or too busy to run the master, had no time for the workers either."""
        if now - self._woke > TICK + ASLEEP:
            self.log.warning("the master did not run for %.1f s", (now - self._woke) / SECOND)
            self._table.forgive(now)
        self._woke = now

    def _finish(self) -> None:
        for listener in self._all_listeners():
            listener.close()
        if self._pid_file:
            self._pid_file.remove()
        self.log.info("Shutting down: Master")
        self.hook("on_exit", self)

    def shed(self, keep: Iterable[socket.socket]) -> None:
        """In a child: close what is the master's alone."""
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # objects, all of them, never numbers
        self._selector.close()
        kept = set(keep)
        for listener in self._all_listeners():
            for each in listener.sockets:
                if each not in kept:
                    each.close()

    # -- signals -------------------------------------------------------------------------

    def _take_signals(self) -> None:
        for number in self._signals.take():
            level = logging.DEBUG if number == signal.SIGCHLD else logging.INFO
            self.log.log(level, "Handling signal: %s", number.name[3:].lower())
            handler = self._handlers.get(number)
            if handler is not None:
                handler()

    def _end(self, quick: bool) -> None:
        """Stop; with a drain delay serve on for a while, so that a load balancer can turn away first."""
        self._notifier.stopping()
        delay = self.cfg.drain_delay
        if quick or not delay or self._drain_until:
            self._stop(quick)
            return
        self._drain_until = time.monotonic_ns() + int(delay * SECOND)
        self.log.info("not ready any more; serving on for %g s (drain_delay)", delay)

    def _stop(self, quick: bool) -> None:
        """Tell the workers to stop. The sockets are theirs alone now: the last to close one ends it."""
        board = self._family.board
        if board.masters() <= {os.getpid()}:
            board.header[SERVER_STOPPING] = 1
        for listener in self._all_listeners():
            listener.close()
        how = "quickly" if quick else f"within {self.cfg.graceful_timeout:g} s"
        busy = sum(row[BUSY] for row in board.rows())
        workers = len(self._table.children)
        self.log.info("stopping %s: %d workers, %d requests in flight", how, workers, busy)
        self._table.end(quick)

    def _set_target(self, target: int, why: str) -> None:
        before = self._table.target
        if target == before:
            return
        try:
            sockets.grow(self._reloader.current.listeners, policy(self.cfg), target)
        except sockets.ListenError as error:
            self.log.error("%d workers stay: %s", before, error)
            return
        self._table.target = target
        self.log.info("%d workers instead of %d, %s", target, before, why)
        self.hook("nworkers_changed", self, target, before)

    def _stop_workers(self) -> None:
        """WINCH. From a terminal it only means that the window changed."""
        if self.cfg.daemon:
            self._set_target(0, "by signal; HUP or TTIN bring them back")
        else:
            self.log.debug("WINCH is ignored: not a daemon")

    def _reload(self) -> None:
        if self._table.ending or self._drain_until:
            return
        if (fresh := self._reloader.begin()) is not None:
            self._notifier.reloading()
            self.hook("on_reload", self, cfg=fresh)
        if not self._table.target:
            self._set_target(int(self.cfg.workers), "by reload")

    def _reopen_logs(self) -> None:
        self.log.reopen()
        self._family.signal_all(signal.SIGUSR1)

    def _reap(self) -> None:
        """Bury what has ended: workers, and as process 1 or as an heir also what nobody else waits for."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if not self._family.bury(pid, status):
                self.log.debug("process %d ended: %s", pid, describe(status))

    # -- what becomes of workers ---------------------------------------------------------

    def _on_ready(self, child: Child, canary: bool) -> None:
        if canary:
            before, after = self._reloader.commit(child)
            self._adopt_settings(before, after)
        elif len(self._table.serving) == 1:
            self._notifier.ready("serving")

    def _adopt_settings(self, before: Config, after: Config) -> None:
        """The new settings are the server's now: what the master itself does changes too."""
        self.cfg = after
        self._table.limits = _limits(after)
        if before.bind != after.bind:
            self._tell_addresses()
        if (before.errorlog, before.loglevel, before.capture_output) != (
            after.errorlog, after.loglevel, after.capture_output,
        ):  # fmt: skip
            self._move_log(after)
        if before.workers != after.workers:
            self._set_target(int(after.workers), "as set")
        if self._pid_file and after.pidfile and before.pidfile != after.pidfile:
            self._pid_file.move(after.pidfile)
        process.set_title(f"master [{spawn.title(after)}]")

    def _move_log(self, cfg: Config) -> None:
        try:
            self.log.begin(cfg.errorlog, cfg.loglevel, cfg.capture_output)
        except ConfigError as error:
            self.log.error("%s; the old log stays", error)

    def _on_ended(self, ended: Ended) -> None:
        if ended.end is End.CALLED_OFF:
            self._reloader.failed(ended)
            self._notifier.ready("reload called off")
        elif ended.end is End.BOOT_FAILED:
            failure = ended.failure
            trace = f"\n{failure.traceback.rstrip()}" if failure.traceback else ""
            self.log.error("Worker (pid:%d) failed to boot: %s%s", ended.child.pid, failure.line, trace)
            if not self._table.ending:
                self._try_again_or_give_up(failure)

    def _try_again_or_give_up(self, failure: Failure) -> None:
        backoff = self._table.backoff
        hopeless = not self._table.ever_ready and failure.exit_code in HOPELESS
        if hopeless:
            self.log.error("giving up: any worker would fail so")
            self.exit_code = failure.exit_code
            self._stop(quick=True)
        elif self._table.gives_up():
            self.log.error("giving up: %d failed boots in a row (boot_retries)", backoff.failures)
            self.exit_code = WorkerBootError.exit_code
            self._stop(quick=True)
        elif (wait := backoff.until - time.monotonic_ns()) > 0:
            self.log.info("next try in %.1f s (failures in a row: %d)", wait / SECOND, backoff.failures)

    # -- small things --------------------------------------------------------------------

    def _all_listeners(self) -> list[sockets.Listener]:
        generations = self._family.generations.values()
        return [listener for generation in generations for listener in generation.listeners]

    def _tell_addresses(self) -> None:
        urls = ",".join(listener.url for listener in self._reloader.current.listeners)
        self.log.info("Listening at: %s (%d)", urls, self.pid)


def _limits(cfg: Config) -> Limits:
    return Limits(
        timeout=int(cfg.timeout * SECOND),
        graceful_timeout=int(cfg.graceful_timeout * SECOND),
        boot_timeout=int(cfg.boot_timeout * SECOND),
        boot_retries=cfg.boot_retries,
        surge=cfg.reload_surge,
    )


def _class_name(cfg: Config) -> str:
    return cfg.worker_class if isinstance(cfg.worker_class, str) else cfg.worker_class.__qualname__
