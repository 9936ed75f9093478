"""Looking at a server while it is loaded: memory of its processes, and its scoreboard.

A thread of the comparison's own process; the load generator runs in another one, so
looking costs the figures nothing but a little of the machine.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from types import TracebackType

from canter import scoreboard
from canter.bench.server import Server
from canter.scoreboard import Scoreboard

_TICK = 0.02
_MEMORY_TICKS = 25
"""Memory is looked at twice a second: adding up the pages of a process takes the kernel a while."""


def open_board() -> int:
    """A descriptor for ``--scoreboard-fd``: empty memory that the server makes its scoreboard in."""
    return os.memfd_create("canter-bench") if hasattr(os, "memfd_create") else -1


@dataclass
class Seen:
    """What was seen."""

    memory: int = 0
    busy: float | None = None
    queue_seconds: float | None = None


class Watch:
    """A context manager: watches from entering to leaving, then `seen` is complete."""

    def __init__(self, server: Server, board_fd: int = -1) -> None:
        self.seen = Seen()
        self._server = server
        self._board = _attach(board_fd)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._shares: list[float] = []

    def __enter__(self) -> Watch:
        self._start = self._queue()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self.seen.memory = max(self.seen.memory, self._server.memory()[1])
        if self._shares:
            self.seen.busy = sum(self._shares) / len(self._shares)
        if self._start is not None and (end := self._queue()) is not None:
            requests, waited = (now - then for now, then in zip(end, self._start, strict=True))
            self.seen.queue_seconds = waited / 1e9 / requests if requests else 0.0

    def _run(self) -> None:
        ticks = 0
        while not self._ended.wait(_TICK):
            ticks += 1
            if ticks % _MEMORY_TICKS == 0:
                self.seen.memory = max(self.seen.memory, self._server.memory()[1])
            self._look()

    def _look(self) -> None:
        if self._board is None:
            return
        rows = [row for row in self._board.rows() if row[scoreboard.MASTER]]
        places = sum(row[scoreboard.CAPACITY] for row in rows)
        if places:
            self._shares.append(sum(row[scoreboard.BUSY] for row in rows) / places)

    def _queue(self) -> tuple[int, int] | None:
        """Requests so far, and the ns they waited."""
        if self._board is None:
            return None
        return self._board.total(scoreboard.REQUESTS), self._board.total(scoreboard.QUEUE_WAIT)


def _attach(fd: int) -> Scoreboard | None:
    """The scoreboard in `fd`; None where the server made none there."""
    if fd < 0:
        return None
    try:
        return Scoreboard.attach(fd)
    except ValueError:
        return None
