"""The client's side of an echo over WebSocket (RFC 6455), as the generator needs it.

A call is one text message and its echo; the connection is upgraded once, at its first
call. Messages are masked, as a client's must be, with a mask of zeros: that is a valid
mask which costs the server the same work and the generator none. (Masks protect
intermediaries; on a loopback there is none.) No extension is offered.
"""

from __future__ import annotations

import base64
import hashlib
import os
import struct

from canter.bench.answer import Answer, Malformed
from canter.bench.client import Connection
from canter.bench.shots import Call

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_LONGEST = 16 * 1024 * 1024


def frame(opcode: int, payload: bytes) -> bytes:
    """One final, masked frame."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + b"\0\0\0\0" + payload


def read_frame(data: bytes) -> tuple[int, bool, bytes, bytes] | None:
    """Opcode, whether it is final, payload and the octets after it; None: it is not complete yet."""
    if len(data) < 2:
        return None
    size, at = data[1], 2
    if size & 0x80:
        raise Malformed("a masked frame from a server")
    if size == 126:
        size, at = int.from_bytes(data[2:4], "big"), 4
    elif size == 127:
        size, at = int.from_bytes(data[2:10], "big"), 10
    if size > _LONGEST:
        raise Malformed(f"a frame of {size} octets")
    if len(data) < at or len(data) < at + size:
        return None
    return data[0] & 0x0F, bool(data[0] & 0x80), data[at : at + size], data[at + size :]


class Echo(Answer):
    """One message after another, with the face of an `Answer`: the status is that of the upgrade."""

    __slots__ = ("_partial", "pings")

    def begin(self, bodyless: bool = False, keep: bool = True) -> None:
        super().begin(bodyless, keep)
        self._partial = b""
        self.pings: list[bytes] = []
        """Pings that are to be answered."""

    @property
    def status(self) -> int:
        return 200

    @property
    def keep_alive(self) -> bool:
        return True

    def feed(self, data: bytes) -> bool:
        self.started = True
        self._buffer += data
        while (found := read_frame(self._buffer)) is not None:
            opcode, final, payload, self._buffer = found
            if opcode == _PING:
                self.pings.append(payload)
            elif opcode == _CLOSE:
                raise Malformed(f"closed by the server: {payload!r}")
            elif opcode != _PONG:
                self._partial += payload
                if final:
                    self._add(self._partial)
                    return self._ended(self._buffer)
        return False

    def end(self) -> bool:
        return False


class SocketConnection(Connection):
    """A connection that upgrades, then echoes."""

    __slots__ = ("_key", "_upgraded")

    _upgraded: bool
    _key: bytes

    def send(self, call: Call) -> None:
        assert self.transport is not None
        if getattr(self, "_upgraded", False):
            self.call = call
            self.answer.begin()
            call.begun = self.owner.clock()
            self.transport.write(frame(_TEXT, call.shot.message(call.ident)))
            return
        self._upgraded = False
        self.call = call
        self._key = base64.b64encode(os.urandom(16))
        self.transport.write(call.shot.upgrade(self._key))

    def data_received(self, data: bytes) -> None:
        if self._upgraded:
            super().data_received(data)
            if isinstance(self.answer, Echo) and self.answer.pings and self.transport is not None:
                self.transport.write(b"".join(frame(_PONG, ping) for ping in self.answer.pings))
                self.answer.pings.clear()
            return
        call = self.call
        if call is None:
            self.owner.stray(self, data)
            return
        try:
            if self.answer.feed(data):
                self._upgrade(call, data)
        except Malformed as error:
            self.owner.failed(self, call, "malformed", str(error))

    def _upgrade(self, call: Call, data: bytes) -> None:
        wanted = base64.b64encode(hashlib.sha1(self._key + _GUID).digest())
        if self.answer.status != 101 or wanted not in data:
            self.owner.failed(self, call, f"status-{self.answer.status}", repr(data[:120]))
            return
        self._upgraded = True
        self.answer = Echo()
        self.send(call)
