"""A client that says octets and hears octets, for tests that read as a dialogue."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

DEADLINE = 30.0


class Answer(NamedTuple):
    status: int
    fields: dict[str, str]  # by lower-case name
    body: bytes


class Client:
    """One connection. What it waits for must come within a deadline, else the test fails."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), DEADLINE, (source, 0))
        self.held = b""

    def say(self, octets: bytes) -> None:
        self.sock.sendall(octets)

    def get(self, path: str, *lines: str, version: str = "1.1") -> None:
        """Say a GET."""
        head = [f"GET {path} HTTP/{version}", "Host: a.example", *lines]
        self.say("\r\n".join([*head, "", ""]).encode())

    def until(self, mark: bytes) -> bytes:
        """Hear on to the end of `mark`."""
        while mark not in self.held:
            self._hear(f"{mark!r} was expected")
        found, _, self.held = self.held.partition(mark)
        return found + mark

    def exactly(self, size: int) -> bytes:
        while len(self.held) < size:
            self._hear(f"{size} octets were expected")
        found, self.held = self.held[:size], self.held[size:]
        return found

    def rest(self) -> bytes:
        """Everything up to the end of the connection; a reset ends it, too."""
        try:
            while data := self.sock.recv(65536):
                self.held += data
        except ConnectionResetError:
            pass
        found, self.held = self.held, b""
        return found

    def is_cut(self) -> bool:
        """Whether the connection ends by a reset, or in the middle of an answer's body."""
        return not self.rest().endswith(b"0\r\n\r\n")

    def _hear(self, wanted: str) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise AssertionError(f"{wanted}, but the connection ended after {self.held!r}")
        self.held += data

    def head(self) -> Answer:
        """The head of an answer."""
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")[:-2]
        fields = dict(line.split(": ", 1) for line in lines)
        return Answer(int(first.split()[1]), {name.lower(): value for name, value in fields.items()}, b"")

    def answer(self) -> Answer:
        """A whole answer that says where it ends."""
        status, fields, _ = self.head()
        if fields.get("transfer-encoding") == "chunked":
            return Answer(status, fields, b"".join(self._chunks()))
        return Answer(status, fields, self.exactly(int(fields.get("content-length", 0))))

    def _chunks(self) -> Iterator[bytes]:
        while chunk := self.chunk():
            yield chunk

    def chunk(self) -> bytes:
        """The data of one chunk; b"" is the last."""
        size = int(self.until(b"\r\n"), 16)
        data = self.exactly(size)
        assert self.exactly(2) == b"\r\n"
        return data

    def finish_sending(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Leave so that the server sees a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


@contextmanager
def connected(port: int, source: str = "127.0.0.1") -> Iterator[Client]:
    client = Client(port, source)
    try:
        yield client
    finally:
        client.close()
