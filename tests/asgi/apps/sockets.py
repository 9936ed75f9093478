"""An ASGI application of WebSockets: a behaviour a path. What it sees it prints."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


RELEASED = asyncio.Event()  # by any request over HTTP


def tell(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        RELEASED.set()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"http"})
    elif scope["type"] == "websocket":
        assert (await receive())["type"] == "websocket.connect"
        await PATHS[scope["path"]](scope, receive, send)
    else:
        raise NotImplementedError  # no lifespan


async def accept(send: Send, **more: Any) -> None:
    await send({"type": "websocket.accept", **more})


async def until_left(receive: Receive) -> None:
    while (message := await receive())["type"] != "websocket.disconnect":
        pass
    tell("left", message["code"], message["reason"])


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(send)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    tell("left", message["code"], message["reason"])
    try:
        await send({"type": "websocket.send", "text": "anybody?"})
    except OSError:
        tell("OSError after the end")


async def sends_on(scope: Scope, receive: Receive, send: Send) -> None:
    """Does not look whether anybody is there."""
    await accept(send)
    await until_left(receive)
    await send({"type": "websocket.send", "text": "anybody?"})


async def show(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(send)
    await send(
        {"type": "websocket.send", "text": repr({key: scope[key] for key in sorted(scope) if key != "state"})}
    )
    await until_left(receive)


async def chosen(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(send, subprotocol=scope["subprotocols"][1], headers=[(b"x-one", b"1")])
    await until_left(receive)


async def closes(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(send)
    await send({"type": "websocket.close", "code": 4001, "reason": "because"})
    await until_left(receive)


async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close"})
    await until_left(receive)


async def denies(scope: Scope, receive: Receive, send: Send) -> None:
    assert "websocket.http.response" in scope["extensions"]
    headers = [(b"x-why", b"so")]
    await send({"type": "websocket.http.response.start", "status": 418, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"no ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"socket"})


async def raises_before(scope: Scope, receive: Receive, send: Send) -> None:
    raise LookupError("before")


async def raises_open(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(send)
    raise LookupError("open")


async def returns_open(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(send)


async def returns_before(scope: Scope, receive: Receive, send: Send) -> None:
    pass


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes nothing until it is told to, by the second message's arrival never being awaited."""
    await accept(send)
    await receive()
    tell("slow")
    count = 0
    while (await receive())["type"] == "websocket.receive":
        count += 1
        await asyncio.sleep(0)
        if count == 500:
            await send({"type": "websocket.send", "text": str(count)})


async def holds(scope: Scope, receive: Receive, send: Send) -> None:
    """Takes nothing between the first message and its release; then counts up to a text."""
    await accept(send)
    await receive()
    RELEASED.clear()
    tell("holds")
    await RELEASED.wait()
    count = 0
    while (await receive()).get("text") is None:
        count += 1
    await send({"type": "websocket.send", "text": str(count)})
    await until_left(receive)


async def floods(scope: Scope, receive: Receive, send: Send) -> None:
    await accept(send)
    for number in range(300):
        await send({"type": "websocket.send", "bytes": number.to_bytes(2, "big") * 50_000})
    tell("flooded")
    await until_left(receive)


PATHS = {
    f"/{each.__name__}": each
    for each in (
        echo, show, chosen, closes, refuses, denies, raises_before, raises_open, returns_open, returns_before,
        slow, holds, floods, sends_on,
    )
}  # fmt: skip
