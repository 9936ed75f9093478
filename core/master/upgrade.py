"""USR2: a new master of a new program takes over, and not a connection is lost on the way.

The old master forks and executes the command it was started with. The new one inherits
the listening sockets and the scoreboard by descriptor, starts its own workers, and says
through a pipe that they serve. Both serve until an operator ends one of them: the old
one with TERM or QUIT when all is well, the new one when it is not. A new master that
cannot boot ends by itself.

What is handed over stands in one variable of the environment, as JSON.
"""

from __future__ import annotations

import json
import os
import selectors
import sys
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NoReturn

from canter.master import signals
from canter.master.process import is_alive
from canter.scoreboard import MASTER, PID, Scoreboard

if TYPE_CHECKING:
    from canter.master.sockets import Listener

VARIABLE: Final = "CANTER__UPGRADE"


@dataclass
class Inheritance:
    """What an old master leaves to a new one. Numbers are descriptors."""

    master: int  # its pid
    listeners: dict[str, list[int]]  # by bind
    admin: dict[str, list[int]]
    activated: bool  # they come from the service manager, whatever `bind` says
    scoreboard: int
    line: int  # to say on it that the new server serves

    @property
    def is_over(self) -> bool:
        """Whether the old master has gone, and this one is the server."""
        return os.getppid() != self.master

    def tell_ready(self) -> None:
        """Say that the new server serves. Once; again says nothing."""
        if self.line >= 0:
            try:
                os.write(self.line, b"ready")
            except OSError:
                pass  # the old master has gone: nobody has to know
            self.hang_up()

    def hang_up(self) -> None:
        if self.line >= 0:
            os.close(self.line)
            self.line = -1


def take(environ: MutableMapping[str, str]) -> Inheritance | None:
    """What was left to this process. Taken once: workers see nothing of it."""
    text = environ.pop(VARIABLE, "")
    if not text:
        return None
    left = Inheritance(**json.loads(text))
    for fd in (left.scoreboard, left.line):
        os.set_inheritable(fd, False)
    return left


@dataclass
class Estate:
    """What this master has to leave, as long as it is here."""

    listeners: list[Listener]
    admin: list[Listener]
    activated: bool


class Upgrade:
    """The old master's side: at most one new master at a time."""

    def __init__(self, server: Any, directory: str) -> None:
        self.successor = 0  # pid of the new master; 0: there is none
        self._server = server
        self._directory = directory
        self._line = -1

    def begin(self, selector: selectors.BaseSelector, board: Scoreboard, left: Estate) -> None:
        self._selector, self._log = selector, self._server.log
        if self.successor:
            self._log.warning("USR2 is ignored: the new master (pid:%d) is still there", self.successor)
            return
        self._server.hook("pre_exec", self._server)
        self._line, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        estate = Inheritance(
            os.getpid(), _fds(left.listeners), _fds(left.admin), left.activated, board.fd, theirs
        )
        with signals.blocked():
            self.successor = os.fork()
            if self.successor == 0:
                self._execute(estate)
        os.close(theirs)
        self._selector.register(self._line, selectors.EVENT_READ, self._hear)
        self._log.info("a new master starts (pid:%d); this one serves on until TERM or QUIT", self.successor)

    def ended(self, pid: int, how: str) -> bool:
        """A process has ended: perhaps the new master."""
        if pid != self.successor:
            return False
        self._hang_up()
        self.successor = 0
        self._log.error("the new master (pid:%d) ended: %s; this one goes on", pid, how)
        return True

    def _hear(self) -> None:
        told = os.read(self._line, 100)
        self._hang_up()
        if told:
            self._log.info("the new master (pid:%d) serves", self.successor)
            self._server.succeeded(self.successor)

    def _hang_up(self) -> None:
        if self._line >= 0:
            self._selector.unregister(self._line)
            os.close(self._line)
            self._line = -1

    def _execute(self, left: Inheritance) -> NoReturn:
        """In the child: become the new program. `orig_argv` also knows of `python -m` and the like."""
        try:
            self._server.deafen()
            signals.release()
            sockets = chain(*left.listeners.values(), *left.admin.values())
            for fd in (*sockets, left.scoreboard, left.line):
                os.set_inheritable(fd, True)
            os.chdir(self._directory)
            environ = dict(os.environ, **{VARIABLE: json.dumps(asdict(left)), "PWD": self._directory})
            if "WATCHDOG_PID" in environ:
                environ["WATCHDOG_PID"] = str(os.getpid())
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)
        except BaseException:
            self._log.exception("the new master cannot be executed")
        finally:
            os._exit(127)


def _fds(listeners: list[Listener]) -> dict[str, list[int]]:
    return {listener.bind: [each.fileno() for each in listener.sockets] for listener in listeners}


def bury_rows(board: Scoreboard, dead_master: int) -> bool:
    """Give the rows of a master that has died back, once its workers have gone too. True when all are."""
    left = [row for row in range(board.workers) if board.row(row)[MASTER] == dead_master]
    gone = [row for row in left if not is_alive(board.row(row)[PID])]
    for row in gone:
        board.release(row)
    return len(gone) == len(left)
