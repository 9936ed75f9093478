"""The applications that are loaded: one set of paths, as WSGI and as ASGI.

This file imports the standard library alone and nothing of Canter, so that any other
server can run it from a folder of its own. `wsgi`, `asgi` and `async_wsgi` answer:

======================= ================================================================
``/``                   hello
``/echo``               the id of the request, the length and SHA-256 of its body
``/echo?size=N&ms=T``   the same, repeated to N octets, after T ms
``/block?ms=T``         hello after a blocking wait of T ms
``/cpu?loops=N``        hello after N turns of a Python loop (a thousand: some 40 us)
``/stream?chunks=N&size=S&ms=T``  N pieces of S octets, each T ms after the last
``/download?size=N``    N octets at once
``/upload``             the number of octets received
``/events?count=N&ms=T``  server-sent events, each the monotonic time (ns) it was due at
``/wait?ms=T``          a long poll: after T ms the monotonic time (ns) it was due at
======================= ================================================================
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs

HELLO = b"Hello, world!"
_PIECE = 64 * 1024

StartResponse = Callable[..., Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


# -- what both sides share -----------------------------------------------------------


class Wanted:
    """The numbers of a query string; what is not there is 0."""

    def __init__(self, query: str) -> None:
        self._values = parse_qs(query) if query else {}

    def __getattr__(self, name: str) -> int:
        return int(self._values.get(name, ("0",))[0])

    @property
    def seconds(self) -> float:
        return self.ms / 1000


def spin(loops: int) -> None:
    """Work that needs the interpreter lock."""
    total = 0
    for number in range(loops):
        total ^= number


def echo_line(ident: str, size: int, digest: str, wanted: int) -> bytes:
    line = f"{ident} {size} {digest}\n".encode()
    return line if wanted <= 0 else (line * (wanted // len(line) + 1))[:wanted]


def due(after: float) -> tuple[float, bytes]:
    """A moment and its text."""
    moment = time.monotonic_ns() + int(after * 1e9)
    return moment / 1e9, str(moment).encode()


# -- WSGI ------------------------------------------------------------------------------


def wsgi(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """Every path of the table above."""
    handler = _WSGI.get(environ["PATH_INFO"])
    if handler is None:
        start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
        return [b""]
    return handler(environ, start_response, Wanted(environ.get("QUERY_STRING", "")))


def _whole(start_response: StartResponse, body: bytes) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def _pieces(environ: dict[str, Any]) -> Iterator[bytes]:
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        while piece := stream.read(_PIECE):
            yield piece
        return
    left = int(environ.get("CONTENT_LENGTH") or 0)
    while left > 0 and (piece := stream.read(min(left, _PIECE))):
        left -= len(piece)
        yield piece


def _hello(environ: dict[str, Any], start_response: StartResponse, wanted: Wanted) -> Iterable[bytes]:
    return _whole(start_response, HELLO)


def _echo(environ: dict[str, Any], start_response: StartResponse, wanted: Wanted) -> Iterable[bytes]:
    size, digest = 0, hashlib.sha256()
    for piece in _pieces(environ):
        size += len(piece)
        digest.update(piece)
    if wanted.ms:
        time.sleep(wanted.seconds)
    ident = environ.get("HTTP_X_REQUEST_ID", "-")
    return _whole(start_response, echo_line(ident, size, digest.hexdigest(), wanted.size))


def _block(environ: dict[str, Any], start_response: StartResponse, wanted: Wanted) -> Iterable[bytes]:
    time.sleep(wanted.seconds)
    return _whole(start_response, HELLO)


def _cpu(environ: dict[str, Any], start_response: StartResponse, wanted: Wanted) -> Iterable[bytes]:
    spin(wanted.loops)
    return _whole(start_response, HELLO)


def _stream(environ: dict[str, Any], start_response: StartResponse, wanted: Wanted) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return _streamed(wanted, b"s" * wanted.size)


def _streamed(wanted: Wanted, piece: bytes) -> Iterator[bytes]:
    for number in range(wanted.chunks):
        if number and wanted.ms:
            time.sleep(wanted.seconds)
        yield piece


def _download(environ: dict[str, Any], start_response: StartResponse, wanted: Wanted) -> Iterable[bytes]:
    return _whole(start_response, bytes(wanted.size))


def _upload(environ: dict[str, Any], start_response: StartResponse, wanted: Wanted) -> Iterable[bytes]:
    return _whole(start_response, str(sum(map(len, _pieces(environ)))).encode())


def _events(environ: dict[str, Any], start_response: StartResponse, wanted: Wanted) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/event-stream"), ("Cache-Control", "no-store")])
    return _event_stream(wanted)


def _event_stream(wanted: Wanted) -> Iterator[bytes]:
    for _ in range(wanted.count):
        moment, text = due(wanted.seconds)
        time.sleep(max(0.0, moment - time.monotonic()))
        yield b"data: %b\n\n" % text


def _wait(environ: dict[str, Any], start_response: StartResponse, wanted: Wanted) -> Iterable[bytes]:
    moment, text = due(wanted.seconds)
    time.sleep(max(0.0, moment - time.monotonic()))
    return _whole(start_response, text)


_WSGI: dict[str, Callable[[dict[str, Any], StartResponse, Wanted], Iterable[bytes]]] = {
    "/": _hello,
    "/echo": _echo,
    "/block": _block,
    "/cpu": _cpu,
    "/stream": _stream,
    "/download": _download,
    "/upload": _upload,
    "/events": _events,
    "/wait": _wait,
}


# -- ASGI ------------------------------------------------------------------------------

_BLOCKING = ThreadPoolExecutor(64)
"""Where `asgi` calls what blocks: as many threads as servers with threads are given (none before that)."""


async def asgi(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Every path of the table above, and an echo of WebSocket messages on any path."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["type"] == "websocket":
        await _websocket(receive, send)
    else:
        wanted = Wanted(scope["query_string"].decode())
        streamed = _ASGI_STREAMS.get(scope["path"])
        if streamed is None:
            await _answer(scope, receive, send, wanted)
        else:
            await streamed(send, wanted)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _websocket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        answer: dict[str, Any] = {"type": "websocket.send"}
        if message.get("text") is not None:
            answer["text"] = message["text"]
        else:
            answer["bytes"] = message["bytes"]
        await send(answer)


async def _answer(scope: dict[str, Any], receive: Receive, send: Send, wanted: Wanted) -> None:
    """The paths that answer with one body."""
    path, status, body = scope["path"], 200, HELLO
    if path in ("/echo", "/upload"):
        received = await _receive_all(receive)
        if received is None:
            return
        size, digest = received
        await asyncio.sleep(wanted.seconds)
        ident = dict(scope["headers"]).get(b"x-request-id", b"-").decode()
        body = echo_line(ident, size, digest, wanted.size) if path == "/echo" else str(size).encode()
    elif path == "/block":
        await asyncio.get_running_loop().run_in_executor(_BLOCKING, time.sleep, wanted.seconds)
    elif path == "/cpu":
        spin(wanted.loops)
    elif path == "/download":
        body = bytes(wanted.size)
    elif path == "/wait":
        moment, body = due(wanted.seconds)
        await asyncio.sleep(max(0.0, moment - time.monotonic()))
    elif path != "/":
        status, body = 404, b""
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _receive_all(receive: Receive) -> tuple[int, str] | None:
    """Length and hash of the body; None: the client left."""
    size, digest, more = 0, hashlib.sha256(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        piece = message.get("body", b"")
        size += len(piece)
        digest.update(piece)
        more = message.get("more_body", False)
    return size, digest.hexdigest()


async def _start_stream(send: Send, kind: bytes) -> None:
    headers = [(b"content-type", kind)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _asgi_stream(send: Send, wanted: Wanted) -> None:
    await _start_stream(send, b"application/octet-stream")
    piece = b"s" * wanted.size
    for number in range(wanted.chunks):
        if number and wanted.ms:
            await asyncio.sleep(wanted.seconds)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _asgi_events(send: Send, wanted: Wanted) -> None:
    await _start_stream(send, b"text/event-stream")
    for _ in range(wanted.count):
        moment, text = due(wanted.seconds)
        await asyncio.sleep(max(0.0, moment - time.monotonic()))
        await send({"type": "http.response.body", "body": b"data: %b\n\n" % text, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


_ASGI_STREAMS = {"/stream": _asgi_stream, "/events": _asgi_events}


# -- asynchronous WSGI -----------------------------------------------------------------


async def async_wsgi(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    """The paths that wait are awaited; the rest are those of `wsgi`."""
    if environ["PATH_INFO"] in ("/wait", "/block"):
        wanted = Wanted(environ.get("QUERY_STRING", ""))
        moment, text = due(wanted.seconds)
        await asyncio.sleep(max(0.0, moment - time.monotonic()))
        return _whole(start_response, text if environ["PATH_INFO"] == "/wait" else HELLO)
    return wsgi(environ, start_response)
