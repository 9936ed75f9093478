"""A client that says exactly what a test wants and reads exactly what a server says.

It forgives nothing: an answer that is framed in two ways, or octets that belong to
no answer, fail the test. Every wait has a deadline that only a hanging server meets.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from canter.testing import Server
from tests.policy import get

DEADLINE = 30.0
BLOCK = 65536
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9][0-9]) ([\t -~\x80-\xff]*)\r\n")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([^\x00-\x08\x0a-\x1f\x7f]*)\r\n")


class Wrong(AssertionError):
    """The server's octets are no answer, or not the end that was expected."""


@dataclass
class Answer:
    """One final answer, and the interim ones before it."""

    status: int
    reason: str
    fields: list[tuple[str, str]]  # names in lower case
    body: bytes = b""
    head: bytes = b""
    interim: list[Answer] = field(default_factory=list)
    chunks: list[int] | None = None  # sizes, where it came in chunks
    complete: bool = True  # False: the connection ended inside it

    def __getitem__(self, name: str) -> str:
        """The value of a field that is there exactly once."""
        values = self.all(name)
        if len(values) != 1:
            raise Wrong(f"{name}: {values} in {self.head!r}")
        return values[0]

    def all(self, name: str) -> list[str]:
        return [value for found, value in self.fields if found == name.lower()]

    @property
    def text(self) -> str:
        return self.body.decode("latin-1")

    @property
    def closes(self) -> bool:
        return "close" in self.all("connection")


class Client:
    """One connection. `read` is what came and was not asked for yet."""

    def __init__(self, server: Server, source: str = "127.0.0.1", receive_buffer: int = 0) -> None:
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.settimeout(DEADLINE)
        try:
            self.sock.bind((source, 0))
            self.sock.connect((server.host, server.port))
        except OSError:
            self.sock.close()
            raise
        self.port: int = self.sock.getsockname()[1]
        self.name = f"{source}:{self.port}"
        self.read = b""
        self.end = ""  # "fin" or "reset", once it is there

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    # -- what the client does ------------------------------------------------------------

    def send(self, *pieces: bytes) -> Client:
        """Send each piece by itself."""
        for piece in pieces:
            self.sock.sendall(piece)
        return self

    def try_send(self, pieces: Iterable[bytes], pause: float = 0.0) -> Client:
        """The same to a server that may have refused already and left."""
        try:
            for piece in pieces:
                self.sock.sendall(piece)
                time.sleep(pause)  # so that the server sees pieces; nothing depends on it
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self

    def finish(self) -> Client:
        """Half-close: say that nothing more comes."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reset(self) -> None:
        """Leave at once and without a word."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    # -- what the client sees --------------------------------------------------------------

    def more(self) -> bool:
        """Receive; False at the end."""
        if self.end:
            return False
        try:
            data = self.sock.recv(BLOCK)
        except ConnectionResetError:
            self.end = "reset"
            return False
        except TimeoutError:
            raise Wrong(f"nothing came for {DEADLINE:g} s; before that: {self.read!r}") from None
        if not data:
            self.end = "fin"
            return False
        self.read += data
        return True

    def take(self, size: int) -> bytes:
        data, self.read = self.read[:size], self.read[size:]
        return data

    def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        seen = 0
        while (at := self.read.find(mark, max(seen - len(mark), 0))) < 0:
            seen = len(self.read)
            if not self.more():
                raise Wrong(f"{self.end} instead of {mark!r} after {self.read!r}")
        return self.take(at + len(mark))

    def exactly(self, size: int) -> bytes:
        """`size` octets; fewer where the connection ends before."""
        parts = [self.take(size)]
        left = size - len(parts[0])
        while left and self.more():
            parts.append(self.take(left))
            left -= len(parts[-1])
        return b"".join(parts)

    def rest(self) -> bytes:
        """All there is to the end of the connection."""
        while self.more():
            pass
        return self.take(len(self.read))

    def answer(self, method: str = "GET") -> Answer:
        """The next final answer."""
        interim = []
        while (answer := self._head()).status < 200 and answer.status != 101:
            interim.append(answer)
        answer.interim = interim
        if method != "HEAD" and answer.status not in (101, 204, 304):
            self._body(answer)
        return answer

    def ask(self, request: bytes, method: str = "GET") -> Answer:
        return self.send(request).answer(method)

    def expect_end(self, how: str = "") -> None:
        """Nothing more comes, and the connection ends (so: "fin", "reset")."""
        stray = self.rest()
        if stray:
            raise Wrong(f"octets that nothing asked for: {stray!r}")
        if how and self.end != how:
            raise Wrong(f"the connection ended with a {self.end}, not a {how}")

    # -- reading one answer ------------------------------------------------------------------

    def _head(self) -> Answer:
        head = self.until(b"\r\n\r\n")
        match = STATUS_LINE.match(head)
        if not match:
            raise Wrong(f"no status line: {head!r}")
        at = match.end()
        fields = []
        while head[at : at + 2] != b"\r\n":
            line = FIELD.match(head, at)
            if not line:
                raise Wrong(f"no field at {at}: {head!r}")
            fields.append((line[1].decode().lower(), line[2].decode("latin-1")))
            at = line.end()
        return Answer(int(match[1]), match[2].decode("latin-1"), fields, head=head)

    def _body(self, answer: Answer) -> None:
        lengths, codings = answer.all("content-length"), answer.all("transfer-encoding")
        if len(lengths) + len(codings) > 1:
            raise Wrong(f"framed in two ways: {answer.head!r}")
        if codings:
            if codings != ["chunked"]:
                raise Wrong(f"an unknown coding: {answer.head!r}")
            self._chunks(answer)
        elif lengths:
            answer.body = self.exactly(int(lengths[0]))
            answer.complete = len(answer.body) == int(lengths[0])
        elif answer.closes:
            answer.body = self.rest()
            answer.complete = self.end == "fin"
        else:
            raise Wrong(f"no framing: {answer.head!r}")

    def _chunks(self, answer: Answer) -> None:
        answer.chunks = []
        parts = []
        try:
            while size := self._chunk_size():
                answer.chunks.append(size)
                parts.append(self.exactly(size))
                if self.until(b"\r\n") != b"\r\n":
                    raise Wrong("no CRLF behind a chunk")
            if self.until(b"\r\n") != b"\r\n":
                raise Wrong("trailers in an answer")
        except Wrong:
            if not self.end:
                raise
            answer.complete = False
        answer.body = b"".join(parts)

    def _chunk_size(self) -> int:
        line = self.until(b"\r\n")
        if not re.fullmatch(rb"[0-9a-f]+\r\n", line):
            raise Wrong(f"no chunk size: {line!r}")
        return int(line, 16)


class Tail:
    """What a server logs, read as it grows."""

    def __init__(self, server: Server) -> None:
        self._file = server.log_file.open("rb")
        self._partial = b""
        self._lines: list[str] = []
        self._lock = threading.Lock()

    def __enter__(self) -> Tail:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def skip(self) -> None:
        """Look only at what comes from now on."""
        self._read()
        self._lines.clear()

    def lines(self, *words: str) -> list[str]:
        """The lines that have all of these words."""
        self._read()
        return [line for line in self._lines if all(word in line for word in words)]

    def wait(self, *words: str, count: int = 1) -> list[str]:
        """The same, waited for until there are so many."""
        deadline = time.monotonic() + DEADLINE
        while len(found := self.lines(*words)) < count:
            if time.monotonic() > deadline:
                raise Wrong(f"not {count} lines with {words} in the log:\n" + "\n".join(self._lines))
            time.sleep(0.01)
        return found

    def _read(self) -> None:
        with self._lock:
            *lines, self._partial = (self._partial + self._file.read()).split(b"\n")
            self._lines += [line.decode(errors="replace") for line in lines]


def wait_for(condition: Any, what: str = "") -> Any:
    """Wait until `condition()` is true; its value."""
    deadline = time.monotonic() + DEADLINE
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Wrong(f"waited in vain: {what or condition}")
        time.sleep(0.01)
    return value


def target(name: str, given: Any = None, how: str = "bare") -> bytes:
    """Where the application `name` of apps.py is asked to do as `given`."""
    query = "" if given is None else "?" + quote(json.dumps(given), safe="")
    return f"/{how}/{name}{query}".encode()


def ask(name: str, given: Any = None, *fields: bytes, how: str = "bare", **line: bytes) -> bytes:
    """A request without a body for an application of apps.py; `line`: method, version."""
    return get(*fields, target=target(name, given, how), **line)
