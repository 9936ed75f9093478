"""Whatever an application hands over: exactly one answer on the wire, or a ResponseError.

The octets of an input say what the application says (`decode`). What `Response` makes of
it is read by h11's client, which must find one answer with the fields and the body that
were handed over, nothing behind it, and the same mind about keeping the connection.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import h11

from canter.errors import ResponseError
from canter.http._http1 import Connection, Limits
from canter.http._response import Response
from tests.fuzz.invariants import STAMP
from tests.policy import get

GROUP, UNIT, PAIR = b"\x1e", b"\x1f", b"="
REQUESTS = (
    get(),
    get(b"Connection: close"),
    get(method=b"HEAD"),
    get(method=b"POST"),
    get(version=b"HTTP/1.0"),
    get(b"Connection: keep-alive", version=b"HTTP/1.0"),
)
WHOLE, WSGI = 0x10, 0x20  # in the first octet, whose low ones choose the request
STATUSES = (
    b"200 OK|204 No|304 Not|404 |500 A\tb|200|OK|099 A|1000 A|200 A\r\nX: y|200 \xff|206 Partial".split(b"|")
)
NAMES = (
    b"X|x-y|Content-Length|content-length|Transfer-Encoding|Connection|Date|Server|Content-Type|Trailer|Upgrade|"
    b"Set-Cookie|X Y|X:|X\r\nY||\xff|TE|Keep-Alive|Content_Length"
).split(b"|")
VALUES = (
    b"a|5|3|0|05|+5|5,5|5 | 5|-1|99999999999999999999|chunked|close|keep-alive|a\r\nX: y|a\nb|\0|"
    b"\x7f|a\tb||\xff| a"
).split(b"|")
PIECES = (b"", b"hello", b"0\r\n\r\n", b"a", b"HTTP/1.1 200 OK\r\n\r\n", b"\r\n", bytes(300))


def check(data: bytes) -> None:
    request, flags, status, headers, pieces = decode(data)
    connection = Connection(Limits())
    connection.feed(request)
    asked = connection.next_request()
    assert asked is not None
    response = Response(asked, asked.keep_alive)
    try:
        response.begin(status, headers)
    except ResponseError:
        return
    if response.status >= 200:
        wire = written(response, flags, pieces)
        hold(asked.method, response, wire, b"".join(pieces), headers)


def decode(data: bytes) -> tuple[bytes, int, Any, list[tuple[Any, Any]], list[bytes]]:
    """Request, flags, status, headers and pieces of the body."""
    first, *rest = data.split(GROUP)
    flags = first[0] if first else 0
    status, fields, *pieces = (*rest, b"", b"") if len(rest) < 2 else rest
    pairs: list[tuple[Any, Any]] = [
        (name, value) for name, _, value in (line.partition(PAIR) for line in fields.split(UNIT) if line)
    ]
    request = REQUESTS[flags % 16 % len(REQUESTS)]
    if flags & WSGI:
        text = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]
        return request, flags, status.decode("latin-1"), text, pieces
    return request, flags, int(status[:3]) if status[:3].isdigit() else -1, pairs, pieces


def written(response: Response, flags: int, pieces: list[bytes]) -> bytes:
    """The octets of the answer, in one or in pieces."""
    if flags & WHOLE:
        return response.whole(STAMP, b"".join(pieces))
    return response.head(STAMP, -1) + b"".join(map(response.frame, pieces)) + response.end()


def hold(method: str, response: Response, wire: bytes, body: bytes, headers: list[tuple[Any, Any]]) -> None:
    """Read it as a client does."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(wire)
    if not response.keep_alive:
        client.receive_data(b"")
    answer = client.next_event()
    assert type(answer) is h11.Response, wire
    got = []
    try:
        while type(event := client.next_event()) is h11.Data:
            got.append(bytes(event.data))
        assert type(event) is h11.EndOfMessage, (event, wire)
    except h11.RemoteProtocolError:
        assert response.underrun, wire
        assert not response.keep_alive
    else:
        assert not response.underrun
        if response.keep_alive:
            assert client.their_state is h11.DONE, wire
        elif not response.overrun:  # which shows only after the head has gone
            assert client.their_state in (h11.MUST_CLOSE, h11.CLOSED), (client.their_state, wire)
        assert not client.trailing_data[0], wire
    expected = b"" if response.bodyless else body if response.length < 0 else body[: response.length]
    assert b"".join(got) == expected, wire
    hold_fields(answer, response, headers)


def hold_fields(answer: h11.Response, response: Response, headers: list[tuple[Any, Any]]) -> None:
    """What was handed over is there, in order; nothing else but the server's own fields."""
    dropped = {name.lower() for name in response.dropped or ()} | {"connection"}
    if response.status == 204:
        dropped.add("content-length")  # RFC 9110 8.6
    wanted = [(octets(name).lower(), octets(value).strip(b" \t")) for name, value in headers]
    wanted = [(name, value) for name, value in wanted if name.decode("latin-1") not in dropped]
    found = [(bytes(name), bytes(value)) for name, value in answer.headers]
    rest = iter(found)
    assert all(any(field == other for other in rest) for field in wanted), (wanted, found)
    own = {b"server", b"date", b"connection", b"content-length", b"transfer-encoding"}
    assert {name for name, _ in found} <= own | {name for name, _ in wanted}


def octets(text: str | bytes) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text


def answers(seed: int) -> Iterator[bytes]:
    """Inputs without an end, always the same for a seed."""
    generator = random.Random(seed)
    some = generator.choice
    while True:
        fields = UNIT.join(some(NAMES) + PAIR + some(VALUES) for _ in range(some((0, 0, 1, 1, 2, 3))))
        status = some(STATUSES[:4]) if generator.random() < 0.8 else some(STATUSES)
        pieces = [some(PIECES) for _ in range(some((0, 1, 1, 2, 4)))]
        yield GROUP.join((bytes([generator.randrange(64)]), status, fields, *pieces))
