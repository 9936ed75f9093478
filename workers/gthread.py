"""gthread: `--threads` requests at once, each on a thread of a pool.

For applications that block: on databases, on other services, on locks. A connection
has a thread only while its request runs; slow and idle clients are the poller's. The
threads take turns at the poller themselves (`canter.crew`), so a short request is
served by the thread that found it.

The main thread only waits for the end, and for signals: Python runs their handlers
there, whichever thread the system chose. The others do not block them, because what an
application starts, threads and programs, would inherit that.
"""

from __future__ import annotations

import contextvars
import os
import select
import signal
import threading

from canter.crew import Crew
from canter.workers.base import Worker


def serve_on_threads(worker: Worker) -> None:
    """Serve a worker's WSGI requests on `--threads` threads, until it has stopped.

    Context variables that were set so far, by the application's import for one, are
    seen by each request, and what a request sets is gone with it.
    """
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    crew = Crew(worker.context, worker.cfg.threads, lambda: os.write(wake_write, b"\0"), worker.pulse)
    for number in range(worker.cfg.threads + 1):
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(crew.work,), name=f"canter-{number}", daemon=True).start()
    while not crew.over:
        if select.select([wake_read], [], [], worker.pulse)[0]:
            os.read(wake_read, 4096)  # each number a signal, whose handler has run by now


class ThreadWorker(Worker):
    """A pool of threads that share one poller."""

    multithread = True

    def capacity(self) -> int:
        return self.cfg.threads

    def run(self) -> None:
        serve_on_threads(self)
