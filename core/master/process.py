"""What the process itself is: its pid file, its user, its place in the background, its name.

Small doors to the system, each of which fails in one line.
"""

from __future__ import annotations

import os
import pwd
import tempfile
from pathlib import Path
from typing import ClassVar

from canter.errors import CanterError


class ProcessError(CanterError):
    """The process cannot be what it should be."""

    exit_code: ClassVar[int] = 1


class PidFile:
    """A file with the number of this process, for the scripts that send it signals."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()

    def check(self) -> None:
        """Raise where `write` is bound to fail."""
        self._refuse_other(0)
        if not os.access(self.path.parent, os.W_OK | os.X_OK):
            raise ProcessError(
                f"cannot write the pid file {self.path}: its folder is missing or not writable"
            )

    def write(self, replaces: int = 0) -> None:
        """Written aside and moved there: a reader never sees half a number. `replaces`: who may be named."""
        self._refuse_other(replaces)
        try:
            fd, aside = tempfile.mkstemp(dir=self.path.parent, prefix=".canter-")
            with os.fdopen(fd, "w") as file:
                file.write(f"{os.getpid()}\n")
            os.chmod(aside, 0o644)
            os.rename(aside, self.path)
        except OSError as error:
            raise ProcessError(f"cannot write the pid file {self.path}: {error.strerror}") from None

    def _refuse_other(self, replaces: int) -> None:
        other = self._holder()
        if other not in (0, os.getpid(), replaces):
            raise ProcessError(f"already running: {self.path} names process {other}, which is alive")

    def remove(self) -> None:
        """Remove it, unless it names another process by now."""
        try:
            if self._number() == os.getpid():
                self.path.unlink()
        except OSError:
            pass  # somebody was faster, or took the folder's permission away: nothing depends on it

    def move(self, path: str, replaces: int = 0) -> None:
        """Take another name: after an upgrade, or a reload that changed it."""
        self.remove()
        self.path = Path(path).absolute()
        self.write(replaces)

    def _number(self) -> int:
        try:
            return int(self.path.read_text() or 0)
        except (OSError, ValueError):
            return 0

    def _holder(self) -> int:
        """The living process that the file names; 0 where there is none."""
        number = self._number()
        return number if number > 0 and is_alive(number) else 0


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is somebody else's, but it is
    return True


def become(uid: int, gid: int, all_groups: bool) -> None:
    """Give privileges up. The group first: afterwards there is no right to change it."""
    try:
        if gid != os.getegid() or uid != os.geteuid():
            if all_groups:
                os.initgroups(pwd.getpwuid(uid).pw_name, gid)
            elif os.geteuid() == 0:
                os.setgroups([gid])
            os.setgid(gid)
        if uid != os.geteuid():
            os.setuid(uid)
    except (OSError, KeyError) as error:
        raise ProcessError(f"cannot become user {uid}, group {gid}: {error}") from None


def go_to_background() -> None:
    """Leave the terminal and its session, as a daemon does; the foreground process ends here."""
    _fork_and_leave()
    os.setsid()
    _fork_and_leave()  # not a session leader any more: can never get a terminal again
    os.umask(0o022)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def _fork_and_leave() -> None:
    if os.fork():
        os._exit(0)


def set_title(title: str) -> None:
    """Name the process in the list of processes, where setproctitle is installed."""
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(f"canter: {title}")
