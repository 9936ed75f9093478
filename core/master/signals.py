"""Signals as a readable descriptor, so that one select loop hears everything.

The interpreter writes the number of each signal into a pipe (`set_wakeup_fd`); the
loop reads it like any other input and no Python code runs at signal time. `blocked`
keeps signals away from a fork: one that reached a child before it had put off its
parent's handlers would be written into the parent's pipe.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

HEARD: Final = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
    signal.SIGCHLD,
)
# What a child does not hear until it says otherwise: a log rotation must not end a worker that boots.
DEAF_TO: Final = (
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)


class SignalQueue:
    """The signals this process has received and not yet read."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in HEARD:
            signal.signal(number, _heard)

    def fileno(self) -> int:
        return self._read

    def take(self) -> list[signal.Signals]:
        """What came in, in order, each once: several HUPs in a row are one."""
        try:
            numbers = os.read(self._read, 4096)
        except BlockingIOError:
            return []
        return [signal.Signals(number) for number in dict.fromkeys(numbers)]

    def close(self) -> None:
        """Hear nothing any more: in a child, and at the end."""
        signal.set_wakeup_fd(-1)
        for number in HEARD:
            signal.signal(number, signal.SIG_IGN if number in DEAF_TO else signal.SIG_DFL)
        os.close(self._read)
        os.close(self._write)


@contextmanager
def blocked() -> Iterator[None]:
    """Hold signals back for a moment; the other side of a fork must `release` them itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HEARD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release() -> None:
    """Let the signals in that were held back during a fork."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)


def _heard(number: int, frame: object) -> None:
    """Nothing: the number is in the pipe."""
