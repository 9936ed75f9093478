"""Clients beside the load: those that hold a connection and say nothing, and those that dribble.

They are there to be felt by others; their own answers are checked but not timed.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import cast

from canter.bench.answer import Answer, Malformed
from canter.bench.plan import Load

_AT_ONCE = 100
"""Idle connections that are opened side by side: fewer than any listen backlog."""
_DRIP = 0.05
"""Seconds between two drips: a request of 200 octets takes a dribbler half a second."""
_DRIP_SIZE = 20


class _Client(asyncio.Protocol):
    """One connection that sends the first target's plain form and reads its answer."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.transport: asyncio.Transport | None = None
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            if not self.done.done() and self.answer.feed(data):
                self.done.set_result(self.answer.status < 400)
        except Malformed:
            self.finish(False)

    def connection_lost(self, _error: Exception | None) -> None:
        self.transport = None
        self.finish(self.answer.end())

    def finish(self, right: bool) -> None:
        if not self.done.done():
            self.done.set_result(right)


def _plain(load: Load) -> bytes:
    path = load.targets[0].path
    return f"GET {path} HTTP/1.1\r\nHost: {load.host}:{load.port}\r\n\r\n".encode()


class Holder:
    """`load.idle` connections: one request on each, then held to the end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str, load: Load) -> None:
        self._loop = loop
        self._address = address
        self._load = load
        self._clients: list[_Client] = []

    async def open(self) -> int:
        """Open them all; how many could be."""
        for begin in range(0, self._load.idle, _AT_ONCE):
            count = min(_AT_ONCE, self._load.idle - begin)
            await asyncio.gather(*(self._hold() for _ in range(count)))
        return len(self._clients)

    async def _hold(self) -> None:
        try:
            _, client = await self._loop.create_connection(_Client, self._address, self._load.port)
        except OSError:
            return
        assert client.transport is not None
        client.transport.write(_plain(self._load))
        try:
            if await asyncio.wait_for(client.done, self._load.timeout):
                self._clients.append(client)
        except asyncio.TimeoutError:
            if client.transport is not None:
                client.transport.abort()

    def close(self) -> int:
        """Close them; how many were still open."""
        held = [client.transport for client in self._clients if client.transport is not None]
        for transport in held:
            transport.abort()
        return len(held)


class Dribbler:
    """A client that takes its time: one request after another, a few octets at a time, for ever."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: str, load: Load, number: int) -> None:
        self._loop = loop
        self._address = address
        self._load = load
        self._right = 0
        self._closing = False
        self.errors: Counter[str] = Counter()
        self._task = loop.create_task(self._run(number))

    async def close(self) -> int:
        """Stop; how many right answers there were.

        The flag ends a task that swallows the cancellation: before Python 3.12 `wait_for` does,
        where its answer arrives at the same moment.
        """
        self._closing = True
        self._task.cancel()
        await asyncio.wait([self._task])
        return self._right

    async def _run(self, number: int) -> None:
        await asyncio.sleep(_DRIP * number / max(self._load.dribblers, 1))
        while not self._closing:
            try:
                await self._once()
            except OSError:
                self.errors["dribble"] += 1
                await asyncio.sleep(1)

    async def _once(self) -> None:
        _, client = await self._loop.create_connection(_Client, self._address, self._load.port)
        try:
            wire = _plain(self._load).replace(b"\r\n\r\n", b"\r\nX-Slow: " + b"s" * 100 + b"\r\n\r\n")
            for at in range(0, len(wire), _DRIP_SIZE):
                if client.transport is None:
                    break
                client.transport.write(wire[at : at + _DRIP_SIZE])
                await asyncio.sleep(_DRIP)
            if await asyncio.wait_for(client.done, self._load.timeout):
                self._right += 1
            else:
                self.errors["dribble"] += 1
        except asyncio.TimeoutError:
            self.errors["dribble"] += 1
        finally:
            if client.transport is not None:
                client.transport.abort()
