"""From a target to the octets of one request, and from an answer to a verdict. Pure.

All that can be made once is made once: a request is three pieces joined. A generated
body differs in each request (it ends in the request's id), so that a server which
mixes up two of them cannot go unnoticed; its hash continues from a prepared one, so
that uniqueness does not cost the generator a second pass over a mebibyte.
"""

from __future__ import annotations

import hashlib
import random

from canter.bench.answer import Answer
from canter.bench.plan import Target

ID_SIZE = 16
_CHUNK = 16 * 1024


class Shot:
    """A target made ready to be sent to one host."""

    __slots__ = (
        "_after",
        "_before",
        "_content",
        "_hash",
        "_ids",
        "_plain",
        "_plain_last",
        "_stem",
        "_tail",
        "bodyless",
        "keep",
        "target",
        "timed",
    )

    def __init__(self, target: Target, host: str, *, ids: bool, rng: random.Random) -> None:
        self.target = target
        self.bodyless = target.method == "HEAD"
        self.keep = target.check != "length" and target.check != "status"
        self.timed = target.timed or target.check == "events" or target.check == "length"
        self._ids = ids or target.check == "echo"
        self._content = target.content.encode()
        generated = not self._content and target.body
        self._tail = min(target.body, ID_SIZE) if generated else 0
        self._stem = rng.randbytes(target.body - self._tail) if generated else b""
        self._hash = hashlib.sha256(self._stem or self._content)
        self._before = self._head(host)
        self._after = b"\r\n\r\n" + (b"" if generated else self._frame(self._content))
        self._plain = self._before + self._after
        self._plain_last = self._before + b"\r\nConnection: close" + self._after

    def _head(self, host: str) -> bytes:
        target = self.target
        given = {name.lower() for name, _ in target.headers}
        lines = [f"{target.method} {target.path} HTTP/1.1"]
        if "host" not in given:
            lines.append(f"Host: {host}")
        lines += [f"{name}: {value}" for name, value in target.headers]
        size = len(self._content) or target.body
        if target.check == "websocket":
            return "\r\n".join(lines).encode("latin-1")
        if target.chunked:
            lines.append("Transfer-Encoding: chunked")
        elif size or target.method in ("POST", "PUT", "PATCH"):
            lines.append(f"Content-Length: {size}")
        return "\r\n".join(lines).encode("latin-1")

    def _frame(self, body: bytes) -> bytes:
        if not self.target.chunked:
            return body
        pieces = [body[at : at + _CHUNK] for at in range(0, len(body), _CHUNK)]
        return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

    def wire(self, ident: bytes, last: bool) -> bytes:
        """The whole request. `last` says ``Connection: close``."""
        if self._tail == 0 and not self._ids:
            return self._plain_last if last else self._plain
        parts = [self._before]
        if self._ids:
            parts += (b"\r\nX-Request-Id: ", ident)
        if last:
            parts.append(b"\r\nConnection: close")
        parts.append(self._after)
        if self._tail:
            parts.append(self._frame(self._stem + ident[: self._tail]))
        return b"".join(parts)

    def upgrade(self, key: bytes) -> bytes:
        """The request that makes a connection a WebSocket."""
        fields = b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13"
        return self._before + fields + b"\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"

    def message(self, ident: bytes) -> bytes:
        """A text message of the target's size, another one for each id."""
        return ident.ljust(self.target.body, b".")

    def judge(self, ident: bytes, answer: Answer) -> tuple[str, str] | None:
        """What is wrong with a complete answer: the kind of error and an example; None: nothing."""
        target = self.target
        if answer.status != target.status and (target.status or answer.status >= 400):
            return f"status-{answer.status}", f"{target.label} answered {answer.status}"
        if target.check == "status" or self.bodyless:
            return None
        if target.check == "length":
            if answer.size == target.length:
                return None
            return "body", f"{target.label}: {answer.size} octets instead of {target.length}"
        if target.check == "echo":
            return self._compare(ident, answer.body(), self._echo(ident))
        if target.check == "websocket":
            return self._compare(ident, answer.body(), self.message(ident))
        return None

    def _echo(self, ident: bytes) -> bytes:
        digest = self._hash
        if self._tail:
            digest = digest.copy()
            digest.update(ident[: self._tail])
        size = len(self._content) or self.target.body
        line = b"%b %d %b\n" % (ident, size, digest.hexdigest().encode())
        return echo_body(line, self.target.length)

    def _compare(self, ident: bytes, body: bytes, wanted: bytes) -> tuple[str, str] | None:
        if body == wanted:
            return None
        example = f"{self.target.label}: {body[:120]!r} instead of {wanted[:120]!r}"
        return ("body" if body.startswith(ident) else "crosstalk"), example


def echo_body(line: bytes, size: int) -> bytes:
    """The answer of ``/echo``: its line, repeated and cut to `size` octets where a size is asked for."""
    return line if size <= 0 else (line * (size // len(line) + 1))[:size]


class Call:
    """One request under way."""

    __slots__ = ("abort", "begun", "heard", "ident", "last", "shot", "start")

    def __init__(self, shot: Shot, ident: bytes, start: float, last: bool, abort: float) -> None:
        self.shot = shot
        self.ident = ident
        self.start = start
        """When it was meant to leave."""
        self.begun = 0.0
        """When it left; 0.0: it waits for a connection."""
        self.heard = 0.0
        """When the last piece of the answer arrived (timed targets)."""
        self.last = last
        self.abort = abort
        """0: the client stays. Below 1: it leaves after that part of the request; else in the answer."""
