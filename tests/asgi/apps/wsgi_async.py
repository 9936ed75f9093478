"""An application of asynchronous WSGI: a behaviour a path. What it sees it prints."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], None]]
PLAIN = [("Content-Type", "text/plain")]


def tell(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


async def app(environ: Environ, start_response: StartResponse) -> Any:
    return await PATHS[environ["PATH_INFO"]](environ, start_response)


async def hello(environ: Environ, start_response: StartResponse) -> Any:
    await asyncio.sleep(0)
    start_response("200 OK", PLAIN)
    return [b"hel", b"lo"]


async def show(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)
    return [
        json.dumps({key: value for key, value in environ.items() if isinstance(value, (str, bool))}).encode()
    ]


async def echo(environ: Environ, start_response: StartResponse) -> Any:
    body = environ["wsgi.input"].read()
    start_response("200 OK", PLAIN)
    return [body]


class Pieces:
    def __iter__(self) -> Iterator[bytes]:
        yield from (b"one", b"", b"two")

    def close(self) -> None:
        tell("closed")


async def pieces(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)
    return Pieces()


async def events(environ: Environ, start_response: StartResponse) -> Any:
    async def each() -> AsyncIterator[bytes]:
        try:
            for number in range(3):
                await asyncio.sleep(0.01)
                yield b"data: %d\n\n" % number
        finally:
            tell("events closed")

    start_response("200 OK", [("Content-Type", "text/event-stream")])
    return each()


async def endless(environ: Environ, start_response: StartResponse) -> Any:
    async def each() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 65536
        finally:
            tell("endless closed")

    start_response("200 OK", PLAIN)
    return each()


async def silent(environ: Environ, start_response: StartResponse) -> Any:
    """Has one thing to say, then waits for news that never come."""

    async def each() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            tell("silent closed")

    start_response("200 OK", PLAIN)
    return each()


class ClosesSlowly:
    def __init__(self) -> None:
        self.pieces = iter([b"all"])

    def __aiter__(self) -> ClosesSlowly:
        return self

    async def __anext__(self) -> bytes:
        for piece in self.pieces:
            return piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Longer than a silent answer may last whose client has left."""
        try:
            await asyncio.sleep(3)
            tell("closed slowly")
        except asyncio.CancelledError:
            tell("closed early")
            raise


async def closes_slowly(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)
    return ClosesSlowly()


async def raises(environ: Environ, start_response: StartResponse) -> Any:
    raise LookupError("before")


async def raises_within(environ: Environ, start_response: StartResponse) -> Any:
    async def each() -> AsyncIterator[bytes]:
        yield b"part"
        raise LookupError("within")

    start_response("200 OK", PLAIN)
    return each()


async def begins_again(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)
    try:
        raise LookupError("again")
    except LookupError:
        start_response("503 Service Unavailable", PLAIN, sys.exc_info())
    return [b"sorry"]


async def writes(environ: Environ, start_response: StartResponse) -> Any:
    write = start_response("200 OK", PLAIN)
    write(b"written ")
    return [b"and returned"]


async def file(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", PLAIN)
    return environ["wsgi.file_wrapper"](open(__file__, "rb"))  # noqa: ASYNC230


PATHS = {
    f"/{each.__name__}": each
    for each in (
        hello, show, echo, pieces, events, endless, silent, closes_slowly, raises, raises_within,
        begins_again, writes, file,
    )
}  # fmt: skip
