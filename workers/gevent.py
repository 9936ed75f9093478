"""gevent: thousands of waiting requests in one process, without a thread each.

For applications that wait a lot, on sockets, locks and sleeps: long polling, streams,
WebSockets, slow services. The standard library is patched before the application is
imported, so that its blocking calls leave their greenlet to the hub. A call that gevent
does not know (a C library, a long computation) stops the whole worker while it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gevent
from gevent import monkey
from gevent import socket as gevent_socket
from gevent.hub import get_hub

from canter.stream import Waiter
from canter.workers.greenlets import GreenletWorker

if TYPE_CHECKING:
    from collections.abc import Callable


class Late(Exception):
    """The time to wait is over."""


class HubWaiter(Waiter):
    """Waits through the hub, while other greenlets run."""

    def wait(self, fd: int, write: bool, seconds: float) -> bool:
        wait = gevent_socket.wait_write if write else gevent_socket.wait_read
        try:
            wait(fd, timeout=seconds, timeout_exc=Late())
        except Late:
            return False
        return True


class GeventWorker(GreenletWorker):
    """Greenlets under gevent's hub."""

    @classmethod
    def patch(cls) -> None:
        monkey.patch_all()

    def setup(self) -> None:
        super().setup()
        gevent.reinit()  # where the loader of --preload had a hub before the fork
        self.hub = get_hub()
        self.watchers: list[Any] = []

    def waiter(self) -> Waiter:
        return HubWaiter()

    def to_hub(self) -> None:
        self.hub.switch()

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        self.begin(self.hub.loop.io(fd, 1), call)

    def every(self, seconds: float, call: Callable[[], None]) -> None:
        self.begin(self.hub.loop.timer(seconds, seconds), call)

    def begin(self, watcher: Any, call: Callable[[], None]) -> None:
        watcher.start(call)
        self.watchers.append(watcher)

    def unwatch(self) -> None:
        for watcher in self.watchers:
            watcher.stop()

    def greenlet(self, run: Callable[[], None]) -> Any:
        return gevent.Greenlet(run)

    def start(self, run: Callable[[], None]) -> None:
        gevent.Greenlet(run).switch()
