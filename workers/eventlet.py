"""eventlet: as gevent, for applications that were written for it.

Eventlet itself advises against new projects. Gunicorn has dropped its worker; this one
is for those who still depend on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import eventlet
from eventlet import hubs
from eventlet.greenthread import GreenThread

from canter.stream import Waiter
from canter.workers.greenlets import GreenletWorker

if TYPE_CHECKING:
    from collections.abc import Callable


class Late(Exception):
    """The time to wait is over."""


class HubWaiter(Waiter):
    """Waits through the hub, while other greenlets run."""

    def wait(self, fd: int, write: bool, seconds: float) -> bool:
        try:
            hubs.trampoline(fd, read=not write, write=write, timeout=seconds, timeout_exc=Late)
        except Late:
            return False
        return True


class EventletWorker(GreenletWorker):
    """Green threads under eventlet's hub."""

    @classmethod
    def patch(cls) -> None:
        eventlet.monkey_patch()

    def setup(self) -> None:
        super().setup()
        hubs.use_hub()  # a new one: that of the loader of --preload is shared with it
        self.hub = hubs.get_hub()
        self.listener: Any = None
        self.timer: Any = None

    def waiter(self) -> Waiter:
        return HubWaiter()

    def to_hub(self) -> None:
        self.hub.switch()

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        def ready(_: int) -> None:
            call()

        self.listener = self.hub.add(self.hub.READ, fd, ready, self.main.throw, self.unwatch)

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        def again() -> None:
            self.timer = self.hub.schedule_call_global(seconds, again)
            call()

        self.timer = self.hub.schedule_call_global(seconds, again)

    def unwatch(self) -> None:
        self.hub.remove(self.listener)
        self.timer.cancel()

    def forked(self) -> None:
        hubs.use_hub()  # to remove the listener from the old one would remove it from the parent's

    def start(self, run: Callable[[], None]) -> None:
        GreenThread(self.hub.greenlet).switch(run, (), {})
