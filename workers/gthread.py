"""gthread: `--threads` requests at once, each on a thread of a pool.

For applications that block: on databases, on other services, on locks. A connection
has a thread only while its request runs; slow and idle clients are the poller's. The
threads take turns at the poller themselves (`canter.crew`), so a short request is
served by the thread that found it.

The main thread only waits for the end, and for signals: Python runs their handlers
there, so the other threads block them.
"""

from __future__ import annotations

import signal
import threading
from typing import ClassVar

from canter.crew import Crew
from canter.workers.base import BEAT, Worker


class ThreadWorker(Worker):
    """A pool of threads that share one poller."""

    multithread: ClassVar[bool] = True

    def capacity(self) -> int:
        return self.cfg.threads

    def run(self) -> None:
        done = threading.Event()
        crew = Crew(self.context, self.cfg.threads, done.set, BEAT)
        for number in range(self.cfg.threads + 1):
            threading.Thread(target=self.work, args=(crew,), name=f"canter-{number}", daemon=True).start()
        while not done.wait(BEAT):
            pass

    def work(self, crew: Crew) -> None:
        """What each thread of the pool runs."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        crew.work()
