"""gthread: `--threads` requests at once, each on a thread of a pool.

For applications that block: on databases, on other services, on locks. A connection
has a thread only while its request runs; slow and idle clients are the poller's. The
threads take turns at the poller themselves (`canter.crew`), so a short request is
served by the thread that found it.

The main thread only waits for the end, and for signals: Python runs their handlers
there, so the other threads block them.
"""

from __future__ import annotations

import contextvars
import signal
import threading

from canter.crew import Crew
from canter.workers.base import BEAT, Worker


def serve_on_threads(worker: Worker) -> None:
    """Serve a worker's WSGI requests on `--threads` threads, until it has stopped.

    Context variables that were set so far, by the application's import for one, are
    seen by each request, and what a request sets is gone with it.
    """
    done = threading.Event()
    crew = Crew(worker.context, worker.cfg.threads, done.set, BEAT)
    for number in range(worker.cfg.threads + 1):
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(_work, crew), name=f"canter-{number}", daemon=True).start()
    while not done.wait(BEAT):
        pass


def _work(crew: Crew) -> None:
    """What each thread of the pool runs."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    crew.work()


class ThreadWorker(Worker):
    """A pool of threads that share one poller."""

    multithread = True

    def capacity(self) -> int:
        return self.cfg.threads

    def run(self) -> None:
        serve_on_threads(self)
