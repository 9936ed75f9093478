"""sync: one request at a time, in the main thread.

For CPU-bound applications behind a proxy. Slow and idle clients cost nothing: the
poller holds them. Connections are closed after each answer unless `--keep-alive` is
given, as in Gunicorn: a kept connection would wait for this worker's one request while
a sibling idles. For the same reason one connection is accepted at a time: what a busy
worker leaves in the accept queue, an idle sibling takes.
"""

from __future__ import annotations

from typing import ClassVar

from canter.workers.base import Worker


class SyncWorker(Worker):
    """One request at a time."""

    batch: ClassVar[int] = 1
    keepalive: ClassVar[float] = 0.0

    def run(self) -> None:
        self.poller.wakes = False  # who gives back is who polls next
        super().run()
