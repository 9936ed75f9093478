"""Applications that differ in their lifespan and in their shape."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import time
from typing import Any

at_import: contextvars.ContextVar[str] = contextvars.ContextVar("at_import")
at_import.set("kept")


def tell(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


async def hello(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def without(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await hello(send)


async def fails(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def works(scope: Any, receive: Any, send: Any) -> None:
    """/wait waits until it is cancelled."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        tell("shut down")
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["path"] == "/wait":
        tell("waits")
        try:
            await asyncio.sleep(3600)
        finally:
            tell("cancelled")
    elif scope["path"] == "/block":
        tell("blocks")
        try:
            time.sleep(3600)  # noqa: ASYNC251
        except BaseException:
            tell("never seen")
    elif scope["path"] == "/while":
        tell("waits")
        await receive()
        await receive()
        await hello(send)
    else:
        await hello(send)


async def ends_slowly(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "lifespan":
        await works(scope, receive, send)
        return
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.sleep(0.8)
    tell("shut down")
    await send({"type": "lifespan.shutdown.complete"})


def plain(environ: Any, start_response: Any) -> Any:
    body = f"{at_import.get('lost')} {environ['wsgi.multithread']} {threading.current_thread().name}".encode()
    at_import.set("left over")
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def takes_nothing() -> None:
    pass
