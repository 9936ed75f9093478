"""One connection of the generator: sends a call, reads its answer, reports to its owner.

The owner (`engine.Generator`) decides what is sent next and counts; a connection knows
one call at a time and no statistics. There are no retries anywhere: what the server
did to a request is what gets counted.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

from canter.bench.answer import Answer, Malformed
from canter.bench.shots import Call

if TYPE_CHECKING:
    from canter.bench.engine import Generator

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, no time: closing sends RST."""


class Connection(asyncio.Protocol):
    """A client's end of one TCP connection."""

    __slots__ = ("answer", "call", "owner", "transport", "used")

    def __init__(self, owner: Generator, call: Call | None) -> None:
        self.owner = owner
        self.call = call
        self.answer = Answer()
        self.transport: asyncio.Transport | None = None
        self.used = 0
        """Answers received."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.owner.connected(self)
        if self.call is not None:
            self.send(self.call)

    def send(self, call: Call) -> None:
        """Put a call on the wire. The connection must be open and without one."""
        assert self.transport is not None
        self.call = call
        shot = call.shot
        self.answer.begin(shot.bodyless, shot.keep)
        call.begun = self.owner.clock()
        wire = shot.wire(call.ident, call.last)
        if call.abort:
            self.owner.leave_early(self, call, wire)
        else:
            self.transport.write(wire)

    def data_received(self, data: bytes) -> None:
        call = self.call
        if call is None:
            self.owner.stray(self, data)
            return
        try:
            complete = self.answer.feed(data)
        except Malformed as error:
            self.owner.failed(self, call, "malformed", str(error))
            return
        if call.shot.timed:
            self.owner.heard(self, call)
        if complete:
            self.used += 1
            self.owner.answered(self, call)

    def connection_lost(self, error: Exception | None) -> None:
        call, self.transport = self.call, None
        self.owner.disconnected(self)
        if call is None:
            return
        if error is None and self.answer.end():
            self.owner.answered(self, call)
            return
        self.owner.failed(self, call, self._loss(error), f"{call.shot.target.label}: {error or 'closed'}")

    def _loss(self, error: Exception | None) -> str:
        if self.answer.started:
            return "truncated"
        if self.used:
            return "stale"
        return "reset" if error is not None else "closed"

    def close(self) -> None:
        """Close; nothing is reported after this."""
        self.call = None
        if self.transport is not None:
            self.transport.close()

    def reset(self) -> None:
        """Close with RST: a client that crashed."""
        self.call = None
        if self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
