"""A worker with an express lane: health checks do not wait behind slow pages.

    canter -k express_lane:ExpressLane --threads 8 --chdir examples/workers ...

Connections come with their request read, so a worker can choose by what is asked for.
Here two lanes have threads of their own: one thread for short paths, `--threads` for the
rest. However long the other lane's queue is, a health check meets only health checks.
"""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

from canter import Worker

if TYPE_CHECKING:
    from canter.stream import Stream

EXPRESS = {"/healthz", "/readyz", "/metrics", "/favicon.ico"}


class ExpressLane(Worker):
    """`--threads` requests at once, and one more of the short ones."""

    multithread = True

    def capacity(self) -> int:
        return self.cfg.threads + 1

    def run(self) -> None:
        express: SimpleQueue[Stream] = SimpleQueue()
        normal: SimpleQueue[Stream] = SimpleQueue()
        for lane in (express, *[normal] * self.cfg.threads):
            Thread(target=self.work, args=(lane,), daemon=True).start()
        for connection in self.accept():
            request = connection.request
            (express if request and request.path in EXPRESS else normal).put(connection)

    def work(self, lane: SimpleQueue[Stream]) -> None:
        while True:
            self.serve(lane.get())
