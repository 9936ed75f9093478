"""Idle connections in a process of their own: ``python -m canter.bench.hold URL COUNT``.

Opens them, sends one request on each, says ``held N``, and holds them until its
standard input ends; then says ``still N`` and ends. `held` does that from Python.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen

from canter.bench.background import Holder
from canter.bench.load import plan, raise_file_limit, run_loop
from canter.bench.plan import require_loopback


class Held:
    """Connections that a process holds; `count`: how many it could open."""

    def __init__(self, process: Popen[str]) -> None:
        self._process = process
        self.count = self._said()

    def let_go(self) -> int:
        """End them; how many the server had not closed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._said()

    def _said(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline().split()[1])


@contextmanager
def held(url: str, count: int, cpu: int = -1) -> Iterator[Held]:
    """Hold `count` idle connections to `url`."""
    command = [sys.executable, "-m", "canter.bench.hold", url, str(count), str(cpu)]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:  # ends when its input does
        yield Held(process)


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
