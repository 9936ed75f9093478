"""What must hold for any octets at all, however they are cut.

`check` feeds them whole, octet by octet and in pieces that the octets themselves
choose, asks every request everything it can say, answers it, and raises
AssertionError where anything differs. Only the errors of the house may come up.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

from canter.errors import BadRequest, ClientDisconnected, ProtocolError, ResponseError
from canter.http._http1 import Connection, Limits, Request
from canter.http._response import Response
from canter.http.forwarded import Proxies
from canter.observe.access import AccessLog

LIMITS = Limits(request_line=300, fields=30, field_size=200, head=1000, body=5000, trailers=300)
PROXIES = Proxies(["*", "10.0.0.0/8"], ["*"], {"X-FORWARDED-PROTO": "https"})
LOG = AccessLog("/dev/null", '%(h)s %(u)s %(t)s "%(r)s" %(m)s %(U)s %(q)s %(H)s "%(a)s" "%({x}i)s"', print)
STAMP = b"Server: canter\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
BASE = {"SCRIPT_NAME": "", "wsgi.url_scheme": "http"}
KEY = re.compile(r"[A-Z][A-Za-z0-9!#$%&'*+.^_`|~]*")
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def check(data: bytes) -> None:
    generator = random.Random(data)
    whole = list(events(data, lambda: len(data)))
    assert list(events(data, lambda: 1)) == whole
    assert list(events(data, lambda: generator.choice((1, 2, 3, 7, 40, 200)))) == whole


def events(data: bytes, size: Any) -> Iterator[tuple[Any, ...]]:
    """What happens: heads, bodies in one piece, and a refusal, a disconnect or the end."""
    connection = Connection(LIMITS)
    feed = pieces(data, size)
    request: Request | None = None
    body = b""
    try:
        while True:
            if request is None:
                request = connection.next_request()
                if request is not None:
                    yield ("request", request.head)
                    question(request)
                    continue
            elif octets := connection.next_body():
                body += octets
                continue
            elif octets == b"":
                assert connection.body_done
                yield ("body", body)
                answer(request, body)
                request, body = None, b""
                continue
            if connection.eof:
                yield ("end", connection.started)
                return
            connection.feed(next(feed))
    except ProtocolError as error:
        yield ("refused", error.status, body)
        assert connection.buffered_size == 0
    except ClientDisconnected:
        yield ("gone", body)


def pieces(data: bytes, size: Any) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        step = size()
        yield data[at : at + step]
        at += step
    yield b""


def question(request: Request) -> None:
    """Ask a request everything, and hold the answers together."""
    try:
        environ = request.environ(BASE)
    except BadRequest:
        raise AssertionError("a path that is below nothing") from None
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            assert KEY.fullmatch(key)
            assert VALUE.fullmatch(value)
    assert "HTTP_PROXY" not in environ
    assert environ["PATH_INFO"].startswith("/") or request.target == "*"
    assert request.minor == 0 or request.field(b"host") is not None
    scope = request.scope({})
    assert scope["headers"] == request.raw_headers()
    assert len(request.headers) == len(scope["headers"])
    assert request.request_line == f"{request.method} {request.target} HTTP/1.{request.minor}"
    assert request.has_body == (request.chunked or request.content_length > 0)
    assert not (request.chunked and request.content_length >= 0)
    for name, value in request.raw_headers(hidden=True):
        found = request.field(name)
        assert found is not None
        assert value in found
    try:
        PROXIES.read(request.raw_headers(hidden=True))
    except BadRequest:
        pass
    LOG.record(request, "::1", 200, 0, 0)
    LOG.flush()


def answer(request: Request, body: bytes) -> None:
    """Answer with the request's own fields and body, in one piece and in several."""
    headers = request.raw_headers()
    try:
        whole = Response(request, True)
        whole.begin(200, headers)
    except ResponseError:
        return
    octets = whole.whole(STAMP, body)
    assert octets.startswith(b"HTTP/1.1 200 OK\r\n")
    assert octets.endswith(b"\r\n\r\n" + (b"" if whole.bodyless else body[: max(whole.length, 0)]))
    parts = Response(request, True)
    parts.begin(200, headers)
    parts.head(STAMP, -1)
    framed = b"".join(parts.frame(body[at : at + 7]) for at in range(0, len(body), 7)) + parts.end()
    assert parts.bodyless or framed.endswith(b"0\r\n\r\n") or not parts.chunked
