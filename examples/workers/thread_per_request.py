"""A worker in five lines: a thread for each request that runs.

    canter -k thread_per_request:ThreadPerRequest --chdir examples/workers ...

Slow and idle clients have no thread: the poller holds them. `--worker-connections`
bounds the connections, and so the threads.
"""

from __future__ import annotations

from threading import Thread

from canter import Worker


class ThreadPerRequest(Worker):
    """No pool, no queue: what comes is served at once."""

    multithread = True

    def capacity(self) -> int:
        return self.cfg.worker_connections

    def run(self) -> None:
        for connection in self.accept():
            Thread(target=self.serve, args=(connection,), daemon=True).start()
