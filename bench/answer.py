"""Reading answers: pure, octets in, one complete answer after another out.

The common answer arrives whole in one piece and has a head that was seen before
(heads differ once a second, when ``Date`` does), so heads are kept in a small
dictionary: finding one there is far cheaper than reading it again. Everything else
takes the slow way below. A client measures; it is strict about framing and does not
guess.
"""

from __future__ import annotations

from typing import NamedTuple

_HEADS_KEPT = 256
_HEAD_LIMIT = 64 * 1024
_LINE_LIMIT = 4096


class Malformed(ValueError):
    """The octets are no HTTP/1.1 answer."""


class Head(NamedTuple):
    """What the framing of an answer depends on."""

    status: int
    length: int
    """-1: chunked, or until the connection closes."""
    chunked: bool
    keep_alive: bool


_heads: dict[bytes, Head] = {}


def read_head(raw: bytes) -> Head:
    """Read a head, status line to empty line."""
    head = _heads.get(raw)
    if head is None:
        if len(_heads) >= _HEADS_KEPT:
            _heads.clear()
        head = _heads[raw] = _parse_head(raw)
    return head


def _parse_head(raw: bytes) -> Head:
    status_line, *lines = raw[:-4].split(b"\r\n")
    version, _, rest = status_line.partition(b" ")
    code = rest.partition(b" ")[0]
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or len(code) != 3 or not code.isdigit():
        raise Malformed(f"status line {status_line[:80]!r}")
    length, chunked, keep_alive = -1, False, version == b"HTTP/1.1"
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise Malformed(f"field line {line[:80]!r}")
        name, value = name.lower(), value.strip()
        if name == b"content-length":
            if not value.isdigit() or length >= 0:
                raise Malformed(f"Content-Length {value[:80]!r}")
            length = int(value)
        elif name == b"transfer-encoding":
            chunked = value.lower() == b"chunked"
        elif name == b"connection":
            tokens = {token.strip() for token in value.lower().split(b",")}
            keep_alive = b"close" not in tokens and (keep_alive or b"keep-alive" in tokens)
    if chunked and length >= 0:
        raise Malformed("Content-Length beside chunked")
    return Head(int(code), length, chunked, keep_alive)


class Answer:
    """The answers of one connection, one at a time: `begin`, then `feed` until it says True.

    After that `status`, `keep_alive`, `size` and `body()` speak of the complete answer.
    Octets past its end are an error: nothing was asked that they could answer.
    """

    __slots__ = ("_bodyless", "_buffer", "_keep", "_left", "_pieces", "head", "size", "started")

    def __init__(self) -> None:
        self.begin()

    def begin(self, bodyless: bool = False, keep: bool = True) -> None:
        """Expect another answer; `bodyless` after HEAD. Without `keep` only the size of the body is known."""
        self._bodyless = bodyless
        self._keep = keep
        self._buffer = b""
        self._left = 0
        self._pieces: list[bytes] = []
        self.head: Head | None = None
        self.size = 0
        self.started = False

    @property
    def status(self) -> int:
        return self.head.status if self.head else 0

    @property
    def keep_alive(self) -> bool:
        return self.head is not None and self.head.keep_alive

    def body(self) -> bytes:
        """The decoded body so far."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    def take(self) -> bytes:
        """The decoded octets since the last call: for those who look at a body as it comes."""
        taken = self.body()
        self._pieces.clear()
        return taken

    def feed(self, data: bytes) -> bool:
        """Octets that arrived; True once the answer is complete."""
        self.started = True
        if self.head is None:
            data = self._buffer + data if self._buffer else data
            end = data.find(b"\r\n\r\n") + 4
            if end == 3:
                if len(data) > _HEAD_LIMIT:
                    raise Malformed("a head without an end")
                self._buffer = data
                return False
            head = read_head(data[:end])
            if head.status < 200 and head.status != 101:
                self._buffer = b""
                return self.feed(data[end:]) if len(data) > end else False
            self.head = head
            self._buffer = b""
            data = data[end:]
            if self._bodyless or head.status in (101, 204, 304):
                return self._ended(data)
            self._left = head.length
        return self._feed_chunked(data) if self.head.chunked else self._feed_plain(data)

    def end(self) -> bool:
        """The connection closed; True where that completes the answer."""
        return self.head is not None and not self.head.chunked and self.head.length < 0

    def _feed_plain(self, data: bytes) -> bool:
        self._add(data)
        if self._left < 0:
            return False
        self._left -= len(data)
        if self._left < 0:
            raise Malformed(f"{-self._left} octets past the end of the answer")
        return self._left == 0

    def _feed_chunked(self, data: bytes) -> bool:
        """`_left`: octets of data in this chunk; 0: a size line follows; -2: CRLF after it; -3: trailers."""
        data = self._buffer + data if self._buffer else data
        self._left = 0 if self._left == -1 else self._left
        at = 0
        while at < len(data):
            if self._left > 0:
                piece = data[at : at + self._left]
                self._add(piece)
                at += len(piece)
                self._left = self._left - len(piece) or -2
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                break
            line, at = data[at:end], end + 2
            if self._left == -3:
                if not line:
                    return self._ended(data[at:])
            elif self._left == -2:
                if line:
                    raise Malformed("no CRLF after the data of a chunk")
                self._left = 0
            else:
                self._left = _chunk_size(line) or -3
        self._buffer = data[at:]
        if len(self._buffer) > _LINE_LIMIT:
            raise Malformed("a line without an end in a chunked body")
        return False

    def _add(self, data: bytes) -> None:
        self.size += len(data)
        if self._keep and data:
            self._pieces.append(data)

    def _ended(self, rest: bytes) -> bool:
        if rest and self.status != 101:
            raise Malformed(f"{len(rest)} octets past the end of the answer")
        self._buffer = rest
        return True


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or digits.strip(b"0123456789abcdefABCDEF"):
        raise Malformed(f"chunk size {line[:80]!r}")
    return int(digits, 16)
