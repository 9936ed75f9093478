"""The error log: what the master and the workers tell the operator.

A standard `logging.Logger` named ``canter.error``, so that an application may add
handlers to it, with Gunicorn's line format and three promises of its own:

* It **never raises**: a closed stderr, a full disk or a broken format costs the line.
* It **never blocks** for long: a pipe whose reader sleeps gets `PATIENCE` once, then
  loses lines until it moves again, and is told how many it lost.
* It **cannot be silenced by accident**: `logging.config` disables and closes what an
  application does not name; this logger stays.

Lines go straight to a descriptor, one `write` each, so lines of many processes do
not mix in one file. Every process reopens the file by itself (USR1).
"""

from __future__ import annotations

import logging
import os
import select
import stat
from typing import Final

from canter.errors import ConfigError

NAME: Final = "canter.error"
FORMAT: Final = "%(asctime)s [%(process)d] [%(levelname)s] %(message)s"
DATE_FORMAT: Final = "[%Y-%m-%d %H:%M:%S %z]"
PATIENCE: Final = 0.05  # seconds that a full pipe may take to move, once
PIECE: Final = 4096  # what a pipe that polls as writable takes without blocking (PIPE_BUF)
STDERR: Final = 2

# Bound before gevent or eventlet replace it: a log line must not switch greenlets.
_poll = select.poll
_write = os.write


class Sink(logging.Handler):
    """A handler that writes whole lines to a descriptor and swallows every failure."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self.fd = fd
        self.lost = 0
        self._is_pipe = _may_block(fd)

    def emit(self, record: logging.LogRecord) -> None:
        line = (self._render(record) + "\n").encode("utf-8", "backslashreplace")
        if self.lost:
            line = b"... %d log lines were lost: the log could not be written\n" % self.lost + line
        self.lost = 0 if self._write(line) else self.lost + 1

    def close(self) -> None:
        """Stay open: the descriptor is the log's, and `logging.config` closes handlers it did not make."""

    def _render(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # a wrong format or a __str__ that raises is not worth a worker
            return f"{record.levelname} {record.msg!r} {record.args!r} (not formatted: {error!r})"

    def _write(self, octets: bytes) -> bool:
        try:
            if not self._is_pipe:
                return _write(self.fd, octets) == len(octets)
            for at in range(0, len(octets), PIECE):
                if not self._is_writable(0 if self.lost else PATIENCE):
                    return False
                _write(self.fd, octets[at : at + PIECE])
        except OSError:
            return False
        return True

    def _is_writable(self, timeout: float) -> bool:
        poll = _poll()
        poll.register(self.fd, select.POLLOUT)
        return any(event & select.POLLOUT for _, event in poll.poll(timeout * 1000))


class ErrorLog(logging.Logger):
    """The logger, and the file behind it. Made by `open_log`."""

    path = "-"
    capture = False
    sink: Sink | None = None

    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        """`logging.config` disables loggers it does not know; the operator still wants to know."""

    def begin(self, path: str, level: str, capture: bool) -> None:
        """Write to `path` ("-": stderr) from now on. ConfigError when it cannot be opened."""
        try:
            fd = STDERR if path == "-" else _open(path)
        except OSError as error:
            raise ConfigError(f"errorlog: cannot write {path!r}: {error.strerror}") from None
        if self.sink is not None:
            self.removeHandler(self.sink)
            if self.sink.fd != STDERR:
                os.close(self.sink.fd)
        self.setLevel(level.upper())
        self.propagate = False
        self.path, self.capture = path, capture and path != "-"
        self.sink = Sink(fd)
        self.sink.setFormatter(logging.Formatter(FORMAT, DATE_FORMAT))
        self.addHandler(self.sink)
        self._capture()

    def reopen(self) -> None:
        """Go on in a new file where the old one was moved away; the old one where that fails."""
        if self.path == "-" or self.sink is None:
            return
        try:
            fresh = _open(self.path)
        except OSError as error:
            self.error("cannot reopen the error log %s: %s", self.path, error.strerror)
            return
        os.dup2(fresh, self.sink.fd, inheritable=False)
        os.close(fresh)
        self._capture()

    def chown(self, uid: int, gid: int) -> None:
        """Give the file to the workers' user, who must be able to reopen it."""
        if self.path == "-" or self.sink is None:
            return
        try:
            os.fchown(self.sink.fd, uid, gid)
        except OSError as error:
            self.warning("cannot give the error log %s to user %d: %s", self.path, uid, error.strerror)

    def _capture(self) -> None:
        """Let what the application prints go to the log, too."""
        if self.capture and self.sink is not None:
            for fd in (1, STDERR):
                os.dup2(self.sink.fd, fd)


def open_log(path: str = "-", level: str = "info", capture: bool = False) -> ErrorLog:
    """The log of this process, as `logging.getLogger("canter.error")` also gives it."""
    manager = logging.Logger.manager
    previous = manager.loggerClass
    manager.loggerClass = ErrorLog
    try:
        log = logging.getLogger(NAME)
    finally:
        manager.loggerClass = previous
    if not isinstance(log, ErrorLog):  # somebody asked for the name before: an application's own early set-up
        log.__class__ = ErrorLog
        assert isinstance(log, ErrorLog)
    log.begin(path, level, capture)
    return log


def secure_standard_streams() -> None:
    """Fill closed descriptors 0, 1, 2: a socket that took number 2 would be sent the log."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(fd)


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def _may_block(fd: int) -> bool:
    """Whether a write can wait for a reader: pipes, sockets and terminals, not files."""
    try:
        return not stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False
