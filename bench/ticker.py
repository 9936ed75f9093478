"""A clock that wakes an event loop at exact times.

The timers of libuv and of asyncio's selectors are whole milliseconds, many times the
latency of a fast answer, so an open loop on them would measure its own clock. A Linux
timerfd is a descriptor that becomes readable at a time in nanoseconds; where there is
none, the loop's own timer does, and the generator's lag says what that cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK_CLOEXEC = 0o4000 | 0o2000000
_ABSOLUTE = 1


class _Spec(ctypes.Structure):
    """struct itimerspec: interval, then value, each seconds and nanoseconds."""

    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns")]


class Ticker:
    """Calls back at times of `time.monotonic`, one armed time at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self._spec = _Spec(0, 0, 0, 0)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = -1
        if sys.platform == "linux":
            self._fd = self._libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK_CLOEXEC)
        if self._fd >= 0:
            loop.add_reader(self._fd, self._ring)

    def arm(self, when: float) -> None:
        """Ring at `when`, at once where that has passed."""
        if self._fd < 0:
            self._handle = self._loop.call_later(max(0.0, when - time.monotonic()), self._callback)
            return
        nanoseconds = max(1, int(when * 1e9))
        self._spec.at_s, self._spec.at_ns = divmod(nanoseconds, 1_000_000_000)
        if self._libc.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(self._spec), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # armed anew since it rang
            os.read(self._fd, 8)
            self._callback()
