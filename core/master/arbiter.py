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
USR2       start a new master beside this one: an upgrade of the program
WINCH      stop all workers, when the server is a daemon
CHLD       a process has ended
=========  ==========================================================================

The rooms beside this one: `children` decides (pure), `family` forks and buries, `spawn`
is the child's side, `reload` changes the settings, `upgrade` the program, `sockets`
listens, `process` and `systemd` talk to the system, `admin` answers whether all is well.
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
from canter.master import admin, autoscale, process, signals, sockets, spawn, systemd, upgrade
from canter.master.children import SECOND, Child, End, Limits, Table, describe
from canter.master.family import Ended, Family, Generation
from canter.master.reload import Reloader, policy
from canter.master.report import Failure
from canter.observe.errorlog import ErrorLog, open_log, secure_standard_streams
from canter.scoreboard import (
    BUSY,
    CAPACITY,
    QUEUE_WAIT,
    REQUESTS,
    SERVER_STOPPING,
    SERVING,
    STATE,
    Scoreboard,
)  # fmt: skip

TICK: Final = SECOND  # the longest the loop sleeps
GLANCE: Final = SECOND // 50  # between two looks for connections that the kernel holds back
HELD_BACK: Final = 3 * SECOND // 2  # more than it holds any
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
            signal.SIGUSR2: self._begin_upgrade,
            signal.SIGWINCH: self._stop_workers,
            signal.SIGCHLD: self._reap,
        }
        self._pid_file: process.PidFile | None = None
        self._drain_until = 0  # serving, but not ready: until then
        self._deferring: list[sockets.Listener] = []  # may have connections that no worker knows yet
        self._inheritance: upgrade.Inheritance | None = None  # while the master before this one is there
        self._upgrade = upgrade.Upgrade(self, cfg.started_in)
        self._listeners: list[sockets.Listener] = []  # those it began with
        self._admin: admin.Admin | None = None
        self._activated = False  # the service manager opened them
        self._dead_master = 0  # its workers are still about

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
            return self._give_up(error.exit_code)
        except Exception:  # a hook's
            self.log.critical("The server could not start", exc_info=True)
            return self._give_up(1)
        try:
            self._loop()
        except BaseException:
            self.log.critical("Unhandled exception in the master: the workers are killed", exc_info=True)
            self._family.signal_all(signal.SIGKILL)
            self.exit_code = 1
        self._finish()
        return self.exit_code

    def _give_up(self, code: int) -> int:
        """Leave nothing behind of a start that failed."""
        self._close(self._listeners)
        if self._pid_file:
            self._pid_file.remove()
        return code

    def _start(self) -> None:
        cfg = self.cfg
        self._notifier = systemd.Notifier(os.environ)
        self._inheritance = upgrade.take(os.environ)
        self._listeners = self._listen()
        if cfg.pidfile:
            self._pid_file = process.PidFile(cfg.pidfile + (".2" if self._inheritance else ""))
            self._pid_file.check()
        if cfg.daemon and not self._inheritance:  # only now: what could go wrong was told on the terminal
            process.go_to_background()
            self.pid = os.getpid()
        process.set_title(f"master [{spawn.title(cfg)}]")
        self.log.info("Starting canter %s", __version__)
        for note in cfg.notes:
            self.log.log(logging.getLevelName(note.level.upper()), "%s", note.text)
        self.log.chown(cfg.uid, cfg.gid)
        if self._pid_file:
            self._pid_file.write()
        self._open_house()
        self._welcome()

    def _listen(self) -> list[sockets.Listener]:
        cfg, left = self.cfg, self._inheritance
        given = systemd.take_activated(os.environ)
        if left is None:
            self._activated = bool(given)
            return sockets.open_all(cfg.bind, policy(cfg), int(cfg.workers), activated=given)
        self._activated = left.activated
        binds = list(left.listeners) if left.activated else cfg.bind
        return sockets.open_all(binds, policy(cfg), int(cfg.workers), left.listeners)

    def _open_house(self) -> None:
        """Everything the loop works with."""
        cfg = self.cfg
        self._selector = selectors.DefaultSelector()
        self._signals = signals.SignalQueue()
        self._selector.register(self._signals, selectors.EVENT_READ, self._take_signals)
        self._scaler = _scaler(cfg)
        self._table = Table(int(cfg.workers), _limits(cfg))
        self._family = Family(self, self._table, self._open_board(), self._selector)
        self._family.on_ready = self._on_ready
        self._family.on_ended = self._on_ended
        self._reloader = Reloader(self, self._family, Generation(1, cfg, self._listeners))
        self._reloader.activated = self._activated
        self._open_admin(self._inheritance.admin if self._inheritance else {})
        self._woke = time.monotonic_ns()

    def _open_board(self) -> Scoreboard:
        """The scoreboard: the old master's, so that the totals go on, or a new one."""
        cfg = self.cfg
        if self._inheritance is not None:
            try:
                return Scoreboard.attach(self._inheritance.scoreboard)
            except ValueError as error:
                self.log.warning("the figures begin anew: %s", error)
                os.close(self._inheritance.scoreboard)
        rows, slots = max(ROWS, 4 * cfg.workers.most), max(SLOTS, cfg.threads)
        try:
            return Scoreboard.create(rows, slots, time.monotonic_ns(), cfg.scoreboard_fd)
        except OSError as error:
            raise ConfigError(f"scoreboard_fd: {error.strerror}") from None

    def _open_admin(self, inherited: dict[str, list[int]]) -> None:
        """Listen, or listen no more, where the master is asked how it is."""
        if self._admin and self._admin.listener.bind != self.cfg.admin:
            self._admin.close(unlink=not self._is_one_of_two)
            self._admin = None
        if self.cfg.admin and not self._admin:
            (listener,) = sockets.open_all([self.cfg.admin], policy(self.cfg), 1, inherited)
            self._admin = admin.Admin(listener, self._selector, self._not_ready, time.monotonic_ns)
            self.log.info("Answering /livez and /readyz at: %s", listener.url)

    def _not_ready(self) -> str:
        """Why no requests should be sent here; "" when they may."""
        if self._table.ending or self._drain_until:
            return "stopping"
        return "" if self._table.serving else "no worker is ready"

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
            self._mourn()
            if self._admin:
                self._admin.expire(now)
            if self._drain_until and not self._table.ending and self._is_drained(now):
                self._stop(quick=False)
            self._family.step(now)
            self._scale(now)
            if self._reloader.finished():
                self._notifier.ready("serving")
            self._wait(now)

    def _wait(self, now: int) -> None:
        tick = autoscale.SAMPLE if self._scaler else TICK
        if 0 < self._drain_until <= now and not self._table.ending:
            tick = GLANCE
        times = [self._table.next_event(now), self._drain_until, self._notifier.due, now + tick]
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
        self._family.close()
        self._close(self._all_listeners())
        if self._admin:
            self._admin.close(unlink=not self._is_one_of_two)
        if self._pid_file:
            self._pid_file.remove()
        self.log.info("Shutting down: Master")
        self.hook("on_exit", self)

    def shed(self, keep: Iterable[socket.socket]) -> None:
        """In a child: close what is the master's alone."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, int):
                os.close(key.fileobj)
            else:
                key.fileobj.close()  # type: ignore[attr-defined]  # sockets and the like
        self._selector.close()
        if self._inheritance:
            self._inheritance.hang_up()
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
        if quick or self._drain_until:
            self._stop(quick)
            return
        if delay:
            self.log.info("not ready any more; serving on for %g s (drain_delay)", delay)
        if not self._is_one_of_two:
            self._deferring = sockets.stop_deferring(self._all_listeners())
        self._drain_until = time.monotonic_ns() + int(delay * SECOND)

    def _is_drained(self, now: int) -> bool:
        """The delay is over, and the workers have got every connection that the kernel held back."""
        if now < self._drain_until:
            return False
        return now > self._drain_until + HELD_BACK or not sockets.held_back(self._deferring)

    def _stop(self, quick: bool) -> None:
        """Tell the workers to stop. The sockets are theirs alone now: the last to close one ends it."""
        board = self._family.board
        if not self._is_one_of_two:
            board.header[SERVER_STOPPING] = 1
        self._close(self._all_listeners())
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

    def _scale(self, now: int) -> None:
        """Ask for more or fewer workers, as the work does."""
        if self._scaler and not self._table.ending and self._table.target:
            board, mine = self._family.board, [child.row for child in self._table.serving]
            rows = [row for row in map(board.row, mine) if row[STATE] == SERVING]
            busy, capacity = (sum(row[cell] for row in rows) for cell in (BUSY, CAPACITY))
            figures = autoscale.Sample(
                now, len(rows), busy, capacity, board.total(REQUESTS), board.total(QUEUE_WAIT)
            )
            if change := self._scaler.observe(figures, self._table.target):
                self._set_target(*change)

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
            how = describe(status)
            if self._family.bury(pid, status):
                continue
            if self._upgrade.ended(pid, how):
                self._notifier.main_pid(self.pid)
            else:
                self.log.debug("process %d ended: %s", pid, how)

    # -- upgrade -------------------------------------------------------------------------

    @property
    def _is_one_of_two(self) -> bool:
        """Whether another master serves on the same sockets."""
        return bool(self._upgrade.successor or self._inheritance)

    def _begin_upgrade(self) -> None:
        if self._table.ending or self._drain_until:
            return
        self._mourn()
        if self.pid == 1:
            self.log.warning("USR2 is ignored: process 1 cannot be replaced, for all others end with it")
        elif self._inheritance:
            self.log.warning(
                "USR2 is ignored: the old master (pid:%d) is still there", self._inheritance.master
            )
        else:
            asked = [self._admin.listener] if self._admin else []
            estate = upgrade.Estate(self._reloader.current.listeners, asked, self._activated)
            self._upgrade.begin(self._selector, self._family.board, estate)

    def deafen(self) -> None:
        """In a child that becomes another program: hear no signals any more."""
        self._signals.close()

    def succeeded(self, pid: int) -> None:
        """A new master serves."""
        self._notifier.main_pid(pid)

    def _mourn(self) -> None:
        """When the old master has gone, take its place; when its workers have gone too, free their rows."""
        left = self._inheritance
        if left and left.is_over:
            self.log.info("the old master (pid:%d) has gone: this one is the server now", left.master)
            left.hang_up()
            self._inheritance, self._dead_master = None, left.master
            self._family.board.header[SERVER_STOPPING] = 0
            if self.cfg.pidfile:
                self._move_pid_file(self.cfg.pidfile, left.master)
            self._notifier.main_pid(self.pid)
        if self._dead_master and upgrade.bury_rows(self._family.board, self._dead_master):
            self._dead_master = 0

    def _move_pid_file(self, path: str, replaces: int = 0) -> None:
        try:
            if self._pid_file:
                self._pid_file.move(path, replaces)
        except process.ProcessError as error:
            self.log.error("%s", error)

    # -- what becomes of workers ---------------------------------------------------------

    def _on_ready(self, child: Child, canary: bool) -> None:
        if canary:
            before, after = self._reloader.commit(child)
            self._adopt_settings(before, after)
        elif len(self._table.serving) == 1:
            self._notifier.ready("serving")
            if self._inheritance:
                self._inheritance.tell_ready()

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
        if before.admin != after.admin:
            try:
                self._open_admin({})
            except sockets.ListenError as error:
                self.log.error("admin: %s", error)
        if before.workers != after.workers:
            self._scaler = _scaler(after)
            self._set_target(int(after.workers), "as set")
        if after.pidfile and before.pidfile != after.pidfile:
            self._move_pid_file(after.pidfile)
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
            self.log.error("Worker (%s) failed to boot: %s%s", ended.child.name, failure.line, trace)
            if not self._table.ending:
                self._try_again_or_give_up(failure)

    def _try_again_or_give_up(self, failure: Failure) -> None:
        backoff = self._table.backoff
        code = failure.exit_code
        hopeless = not self._table.ever_ready and (code in HOPELESS or self._inheritance is not None)
        if hopeless:
            self.log.error("giving up: any worker would fail so")
            self.exit_code = code
            self._stop(quick=True)
        elif self._table.gives_up():
            self.log.error("giving up: %d failed boots in a row (boot_retries)", backoff.failures)
            self.exit_code = WorkerBootError.exit_code
            self._stop(quick=True)
        elif (wait := backoff.until - time.monotonic_ns()) > 0:
            self.log.info("next try in %.1f s (failures in a row: %d)", wait / SECOND, backoff.failures)

    # -- small things --------------------------------------------------------------------

    def _close(self, listeners: Iterable[sockets.Listener]) -> None:
        """Listen no more. Files of Unix sockets stay while another master listens there."""
        for listener in listeners:
            listener.close(unlink=not self._is_one_of_two)

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


def _scaler(cfg: Config) -> autoscale.Scaler | None:
    return autoscale.Scaler(int(cfg.workers), cfg.workers.most) if cfg.workers.scales else None


def _class_name(cfg: Config) -> str:
    return cfg.worker_class if isinstance(cfg.worker_class, str) else cfg.worker_class.__qualname__
