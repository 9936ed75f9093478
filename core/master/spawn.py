"""From a fork to a worker: everything that happens in the child, until its process ends.

The order matters. First the child stops being a master: its signals, the descriptors
it inherited. Then it becomes a worker: user, directory, environment, class. A failure
before the worker is ready goes to the master over the worker's own socket, with the
exit code and the traceback; nothing is said on stderr, which may be a full pipe.
"""

from __future__ import annotations

import atexit
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from canter import scoreboard as sb
from canter import workers
from canter.errors import AppImportError, CanterError, ConfigError, WorkerBootError
from canter.gateway import loader
from canter.master import process, report, signals
from canter.workers.base import Worker  # before the fork: what all workers need is in pages that they share

if TYPE_CHECKING:
    from canter.config import Config
    from canter.observe.errorlog import ErrorLog

DUMP: Final = signal.SIGUSR2  # tells a worker to write the stacks of its threads to the log


@dataclass
class WorkerView:
    """A worker as the master's hooks see it: there is no worker object on this side of the fork.

    What `pre_fork` sets on it is set on the worker too.
    """

    age: int
    ppid: int
    cfg: Config
    log: ErrorLog
    sockets: list[socket.socket]
    pid: int | str = "[booting]"
    booted: bool = False
    aborted: bool = False
    alive: bool = True

    @property
    def timeout(self) -> float:
        return self.cfg.timeout


OWN: Final = frozenset(WorkerView.__dataclass_fields__)


@dataclass
class Birth:
    """All that a new worker gets from the master."""

    server: Any  # the Arbiter, for hooks
    view: WorkerView
    scoreboard: sb.Scoreboard
    row: int
    line: socket.socket  # to the master
    shed: Callable[[], None]  # closes what is not for a worker
    app: Any = None  # the application, where a loader has imported it


def live(birth: Birth) -> NoReturn:
    """Be the worker. Called in the child with signals still held back."""
    code = WorkerBootError.exit_code
    try:
        code = _live(birth)
    except BaseException:
        birth.view.log.critical("worker process %d cannot end in order", os.getpid(), exc_info=True)
    finally:
        os._exit(code)


def _live(birth: Birth) -> int:
    gc.freeze()  # a collection writes to all it looks at: that would part pages shared with the master
    birth.shed()
    log, ready = birth.view.log, _Ready(birth)
    signal.signal(signal.SIGUSR1, lambda *_: log.reopen())  # until the worker takes that over
    signals.release()
    birth.line.sendall(report.encode(report.Born(os.getpid())))
    log.info("Booting worker with pid: %d", os.getpid())
    code = _boot_and_run(birth, ready)
    log.info("Worker exiting (pid: %d)", os.getpid())
    atexit._run_exitfuncs()
    logging.shutdown()
    flush()
    return code


def flush() -> None:
    """Write what the streams still hold: before an end, and before a fork, or it would be written twice."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # closed, full or None


def _boot_and_run(birth: Birth, ready: _Ready) -> int:
    try:
        worker = _build(birth, ready)
        try:
            worker.init_process()
        finally:
            _say_goodbye(birth, worker)
    except SystemExit as error:
        return _exit_code(error)
    except BaseException as error:
        if ready.told:
            birth.view.log.exception("Exception in worker process")
            return 1
        failure = explain(error)
        birth.line.sendall(report.encode(failure))
        return failure.exit_code
    return 0


def _say_goodbye(birth: Birth, worker: Any) -> None:
    hook = birth.view.cfg.worker_exit
    if hook is not None:
        try:
            hook(birth.server, worker)
        except Exception:
            birth.view.log.exception("the hook worker_exit failed")


def write_stacks(log: ErrorLog) -> None:
    """Let the master ask for the stacks of all threads, also while no bytecode runs.

    They are written on a crash, too, and on ABRT until the worker takes that over.
    """
    if log.sink is not None:
        faulthandler.enable(file=log.sink.fd, all_threads=True)
        faulthandler.register(DUMP, file=log.sink.fd, all_threads=True)


def _build(birth: Birth, ready: _Ready) -> Worker:
    """The worker object, in a process that is fit for it."""
    view = birth.view
    cfg = view.cfg
    process.set_title(f"worker [{title(cfg)}]")
    write_stacks(view.log)
    process.become(cfg.uid, cfg.gid, cfg.initgroups)
    loader.enter(cfg)
    loader.set_environment(cfg)
    made = workers.resolve(cfg.worker_class)(
        age=view.age,
        ppid=view.ppid,
        listeners=view.sockets,
        cfg=cfg,
        log=view.log,
        scoreboard=birth.scoreboard,
        index=birth.row,
        ready=ready,
    )
    made.app = birth.app
    made.alive_fd = birth.line.fileno()
    vars(made).update((name, value) for name, value in vars(view).items() if name not in OWN)
    made.pid = os.getpid()  # hooks log it
    if cfg.post_fork:
        cfg.post_fork(birth.server, made)
    return made


class _Ready:
    """The `ready` of a worker: tells the master, once."""

    def __init__(self, birth: Birth) -> None:
        self._birth = birth
        self.told = False

    def __call__(self) -> None:
        if self.told:
            return
        self.told = True
        row = self._birth.scoreboard.row(self._birth.row)
        row[sb.BEAT] = time.monotonic_ns()
        row[sb.STATE] = sb.SERVING
        self._birth.line.sendall(report.encode(report.Ready()))


def explain(error: BaseException) -> report.Failure:
    """Why a boot failed: in a line, and with a traceback where it is code that must be read."""
    if isinstance(error, AppImportError):
        return report.Failure(error.exit_code, str(error), error.traceback_text)
    if isinstance(error, ConfigError):
        return report.Failure(error.exit_code, str(error))
    line = f"{type(error).__name__}: {error}"
    if isinstance(error, CanterError):
        return report.Failure(WorkerBootError.exit_code, str(error))
    trace = "".join(traceback.format_exception(error))
    return report.Failure(WorkerBootError.exit_code, line, trace)


def title(cfg: Config) -> str:
    """The server's name in the list of processes."""
    return cfg.proc_name or (cfg.wsgi_app if isinstance(cfg.wsgi_app, str) else type(cfg.wsgi_app).__name__)


def _exit_code(error: SystemExit) -> int:
    """What `sys.exit` means as a code."""
    if error.code is None:
        return 0
    return error.code if isinstance(error.code, int) else 1
