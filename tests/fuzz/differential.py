"""The same octets to Canter, h11 and httptools: every difference has a name and a reason.

Compared is the first message: it is complete (with a method, a target, a version,
fields and a body), refused, or unfinished. Where one parser has it unfinished,
nobody has acted on it yet, so only complete against refused, and complete against
complete but different, are differences. One of the first kind must stand in
`STRICTER` (Canter refuses what the peer takes) or `LOOSER` (Canter takes what the
peer refuses) with its reason; of the second kind there may be none. What is not
explained fails: it is either a mistake of ours or a peer's news.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import h11
import httptools

from canter.errors import ClientDisconnected, ProtocolError
from canter.http._http1 import Connection, Limits

Field = tuple[bytes, bytes]


@dataclass
class Message:
    """What one parser says of the first message in some octets."""

    state: Literal["complete", "refused", "unfinished"]
    detail: str = ""
    method: bytes = b""
    target: bytes = b""
    version: str = ""
    fields: tuple[Field, ...] = ()
    body: bytes = b""

    @property
    def content(self) -> tuple[Any, ...]:
        """What must be equal. h11 gives a transfer coding, which has no case, in lower case."""
        fields = tuple(
            (name, value.lower() if name == b"transfer-encoding" else value) for name, value in self.fields
        )
        return self.method, self.target, self.version, fields, self.body


def by_canter(data: bytes) -> Message:
    connection = Connection(Limits(request_line=0, field_size=0, head=1 << 20, fields=1000, trailers=1 << 20))
    connection.feed(data)
    message = Message("unfinished")
    try:
        request = connection.next_request()
        if request is None:
            return message
        message.method = request.method.encode("latin-1")
        message.target = request.target.encode("latin-1")
        message.version = f"1.{request.minor}"
        message.fields = tuple(split_lines(request.head))
        while octets := connection.next_body():
            message.body += octets
        if connection.body_done:
            message.state = "complete"
    except (ProtocolError, ClientDisconnected) as error:
        message.state, message.detail = "refused", str(error)
    return message


def split_lines(head: bytes) -> Iterator[Field]:
    """The field lines of a head that Canter took, which has no folds and no odd line ends."""
    for line in head.split(b"\r\n")[1:-2]:
        name, _, value = line.partition(b":")
        yield name.lower(), value.strip(b" \t")


def by_h11(data: bytes) -> Message:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    message = Message("unfinished")
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                message.method, message.target = bytes(event.method), bytes(event.target)
                message.version = event.http_version.decode()
                message.fields = tuple((bytes(name), bytes(value)) for name, value in event.headers)
            elif isinstance(event, h11.Data):
                message.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                message.state = "complete"
                return message
            else:
                return message
    except h11.RemoteProtocolError as error:
        message.state, message.detail = "refused", str(error)
        return message


class _Collector:
    """Callbacks of httptools; it takes in the first message alone."""

    def __init__(self) -> None:
        self.message = Message("unfinished")
        self.parser = httptools.HttpRequestParser(self)

    @property
    def done(self) -> bool:
        return self.message.state == "complete"

    def on_url(self, url: bytes) -> None:
        if not self.done:
            self.message.target += url

    def on_header(self, name: bytes, value: bytes | None) -> None:
        if not self.done and not self.message.version:  # behind the head they are trailers
            self.message.fields += ((name.lower(), (value or b"").strip(b" \t")),)

    def on_headers_complete(self) -> None:
        if not self.done:
            self.message.method = self.parser.get_method()
            self.message.version = self.parser.get_http_version()

    def on_body(self, body: bytes) -> None:
        if not self.done:
            self.message.body += body

    def on_message_complete(self) -> None:
        self.message.state = "complete"


def by_httptools(data: bytes) -> Message:
    collector = _Collector()
    message = collector.message
    try:
        collector.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        message.state = "complete"
    except httptools.HttpParserError as error:
        if not collector.done:
            message.state, message.detail = "refused", str(error)
    return message


PEERS: dict[str, Callable[[bytes], Message]] = {"h11": by_h11, "httptools": by_httptools}


@dataclass(frozen=True)
class Difference:
    """A difference that is explained: one side's refusal, by its detail, against what the other took."""

    peers: str
    refusal: str  # a pattern that the detail of the refusal begins with
    reason: str

    def explains(self, peer: str, detail: str) -> bool:
        return peer in self.peers.split() and re.match(self.refusal, detail) is not None


BOTH = "h11 httptools"

# Canter refuses, the peer takes it: a row of docs/http-policy.md that the peer is looser in.
STRICTER = (
    Difference("h11", "a line of the head ends in a bare LF", "h11 takes LF for a line end"),
    Difference(
        "httptools", "a line of the head ends in a bare LF", "llhttp does so behind an HTTP/0.9 request line"
    ),
    Difference("httptools", "more than one empty line before", "llhttp skips any number of line ends"),
    Difference("httptools", "no request begins with .\\\\n'", "llhttp skips any number of line ends"),
    Difference("httptools", "no method and target: .\\\\r", "llhttp skips any number of line ends"),
    Difference("httptools", "no HTTP version: . ", "llhttp skips spaces between the parts of a request line"),
    Difference(
        "httptools",
        "the target is not visible ASCII",
        "llhttp skips spaces, and takes HTTP/0.9",
    ),
    Difference(BOTH, "no known HTTP version: .HTTP/0.9'", "both take the number for one they know"),
    Difference("h11", r"no known HTTP version: .HTTP/[01]\.[0-9]'", "h11 takes any two digits for a version"),
    Difference("h11", "not a version of HTTP/1: ", "h11 takes any two digits for a version"),
    Difference("httptools", "not a version of HTTP/1: .HTTP/2.0'", "llhttp is also fed HTTP/2 in text"),
    Difference(BOTH, "CONNECT$", "501: Canter is no proxy; a parser leaves that to its server"),
    Difference(BOTH, "an authority without a port", "neither looks into the target of CONNECT"),
    Difference(
        BOTH, "a target with a fragment", "RFC 9112 3.2 has none; both leave the target to the server"
    ),
    Difference(BOTH, r"the target \* with the method", "both leave the form of the target to the server"),
    Difference(BOTH, "neither a path nor an http address", "both leave the form of the target to the server"),
    Difference(BOTH, "no host", "neither looks into an authority, in Host or in the target"),
    Difference(BOTH, "an empty Host, and a target that names one", "neither looks into Host"),
    Difference("httptools", "host more than once", "llhttp leaves Host to the server"),
    Difference("httptools", "no Host$", "llhttp leaves Host to the server"),
    Difference("h11", "no field name and colon: .[ \\\\]", "h11 unfolds obs-fold"),
    Difference("h11", "a control octet in a field", "h11 refuses white space and NUL alone"),
    Difference(
        BOTH, "(authorization|content-type) more than once", "both leave the meaning of fields to the server"
    ),
    Difference("h11", "content-length more than once", "h11 takes the same length twice"),
    Difference(
        "h11",
        "Content-Length is not digits alone: .[0-9 ]+,",
        "h11 takes the same length twice, in a list too",
    ),
    Difference(
        "h11", "Transfer-Encoding and Content-Length", "h11 lets the coding win, as RFC 9112 6.3 allows"
    ),
    Difference(BOTH, "Transfer-Encoding on HTTP/1.0", "both read it; RFC 9112 6.1 calls such framing faulty"),
    Difference(
        "httptools",
        "a transfer coding other than chunked",
        "llhttp leaves what stands before chunked to the server",
    ),
    Difference("httptools", "the transfer coding identity", "llhttp looks at the last coding alone"),
    Difference("httptools", "no list", "llhttp looks at the last coding alone"),
    Difference(BOTH, "an expectation other than 100-continue", "417: both leave it to the server"),
    Difference(BOTH, "a chunk's size line is too long", "both take a longer extension"),
    Difference(
        "h11",
        r"no chunk size: .[0-9A-Fa-f]+(;|[ \\]|['\"])",
        "h11 allows white space and controls behind the size",
    ),
    Difference(
        "httptools", "no chunk size: .0[0-9A-Fa-f]{16,}[;']", "llhttp takes any number of leading zeros"
    ),
    Difference(BOTH, "a trailer named", "both leave the meaning of trailers to the server"),
    Difference("h11", "the trailers are too long", "h11 takes LF for a line end"),
)

# Canter takes it, the peer refuses, with that detail.
LOOSER = (
    Difference("h11", "bad Content-Length", "h11 counts the digits, leading zeros too"),
    Difference("h11", "no request line received", "h11 takes no empty line; RFC 9112 2.2 asks to skip one"),
    Difference(
        "httptools", "Invalid method encountered", "llhttp knows a list of methods; a method is any token"
    ),
    Difference(
        "httptools", "Expected space after method", "llhttp knows a list of methods; a method is any token"
    ),
    Difference(
        "httptools",
        "Invalid character in chunk ext",
        "llhttp holds extensions to their grammar; we read past them",
    ),
    Difference(
        "httptools", "Request has invalid `Transfer-Encoding`", "llhttp takes no tab around the coding"
    ),
)


@dataclass(frozen=True)
class Finding:
    """A difference in one message: what explains it, if anything does."""

    peer: str
    ours: Message
    theirs: Message
    explained: Difference | None


def compare(data: bytes) -> Iterator[Finding]:
    """Each difference between Canter and a peer."""
    ours = by_canter(data)
    for peer, parse in PEERS.items():
        theirs = parse(data)
        states = ours.state, theirs.state
        if states == ("refused", "complete"):
            table, detail = STRICTER, ours.detail
        elif states == ("complete", "refused"):
            table, detail = LOOSER, theirs.detail
        elif states == ("complete", "complete") and ours.content != theirs.content:
            table, detail = (), ""
        else:
            continue
        fitting = (difference for difference in table if difference.explains(peer, detail))
        yield Finding(peer, ours, theirs, next(fitting, None))
