"""Idle connections in a process of their own: ``python -m canter.bench.hold URL COUNT``.

Opens them, sends one request on each, says ``held N``, and holds them until its
standard input ends; then says ``still N`` and ends. `held` does that from Python.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from canter.bench.background import Holder
from canter.bench.load import plan, raise_file_limit, run_loop
from canter.bench.plan import require_loopback


@contextmanager
def held(url: str, count: int, cpu: int = -1) -> Iterator[int]:
    """Hold `count` idle connections to `url`; gives the number that could be opened."""
    command = [sys.executable, "-m", "canter.bench.hold", url, str(count), str(cpu)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().split()[1])
        finally:
            process.stdin.close()
            process.wait(60)


async def _hold(url: str, count: int) -> None:
    load = plan(url, idle=count)
    loop = asyncio.get_running_loop()
    holder = Holder(loop, require_loopback(load), load)
    print("held", await holder.open(), flush=True)
    ended: asyncio.Future[None] = loop.create_future()
    waiter = threading.Thread(
        target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set_result, None)), daemon=True
    )
    waiter.start()
    await ended
    print("still", holder.close(), flush=True)


def main() -> None:
    url, count, cpu = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if cpu >= 0:
        os.sched_setaffinity(0, {cpu})
    raise_file_limit(count)
    run_loop(lambda: _hold(url, count))


if __name__ == "__main__":
    main()
