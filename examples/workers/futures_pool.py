"""A worker on `concurrent.futures`: any executor that runs threads will do.

    canter -k futures_pool:FuturesWorker --threads 8 --chdir examples/workers ...

`accept` ends when the worker has stopped: all requests are answered, or the time of
`--graceful-timeout` is over. What still runs then is not waited for.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from canter import Worker


class FuturesWorker(Worker):
    """`--threads` requests at once, in a pool of the standard library."""

    multithread = True

    def capacity(self) -> int:
        return self.cfg.threads

    def run(self) -> None:
        pool = ThreadPoolExecutor(self.cfg.threads, thread_name_prefix="request")
        for connection in self.accept():
            pool.submit(self.serve, connection)
        pool.shutdown(wait=False, cancel_futures=True)
