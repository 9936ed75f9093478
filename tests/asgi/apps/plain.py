"""An ASGI application without a framework: a behaviour a path. What it sees it prints."""

from __future__ import annotations

import asyncio
import contextvars
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

HERE = Path(__file__).resolve()
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
go = asyncio.Event()
kept: list[asyncio.Task[Any]] = []


def tell(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


async def start(send: Send, status: int = 200, *headers: tuple[bytes, bytes], **more: Any) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers, **more})


async def body(send: Send, data: bytes = b"", more: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            tell("http.disconnect inside the body")
            raise EOFError
        parts.append(message["body"])
        if not message["more_body"]:
            return b"".join(parts)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    else:
        await PATHS[scope["path"]](scope, receive, send)


async def lifespan(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    scope["state"]["made"] = ["at startup"]
    await send({"type": "lifespan.startup.complete"})
    await receive()
    tell("shut down")
    await send({"type": "lifespan.shutdown.complete"})


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, 200, (b"content-type", b"text/plain"), (b"content-length", b"5"))
    await body(send, b"hello")


async def show(scope: Scope, receive: Receive, send: Send) -> None:
    """The scope as JSON."""
    await start(send)
    await body(send, json.dumps(scope, default=lambda value: value.decode("latin-1")).encode())


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    data = await read(receive)
    await start(send)
    await body(send, data)


async def pieces(scope: Scope, receive: Receive, send: Send) -> None:
    """What each message of the body holds, and whether more comes."""
    found = []
    while True:
        message = await receive()
        found.append([message["body"].decode(), message["more_body"]])
        if not message["more_body"]:
            break
        tell("a piece")
    await start(send)
    await body(send, json.dumps(found).encode())


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    await body(send, b"", True)  # the head goes out
    for data in (b"one", b"", b"two"):
        await body(send, data, True)
    await body(send)


async def streams_on(scope: Scope, receive: Receive, send: Send) -> None:
    """More than any buffer between here and the client holds."""
    await start(send)
    for number in range(1000):
        await body(send, b"x" * 65536, True)
        if number % 10 == 0:
            tell(f"sent {number}")
    await body(send)
    tell("sent all")


async def held(scope: Scope, receive: Receive, send: Send) -> None:
    """Nothing, until the client leaves."""
    await read(receive)
    tell("waiting")
    message = await receive()
    tell("told", message["type"])
    await start(send, 200, (b"content-length", b"4"))
    await body(send, b"late")
    tell("sent on")


async def sends_to_nobody(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    await body(send, b"first", True)
    tell("waiting")
    while (await receive())["type"] != "http.disconnect":
        pass
    try:
        while True:
            await body(send, b"x" * 65536, True)
    except OSError as error:
        tell("OSError", type(error).__name__)
        raise


async def after(scope: Scope, receive: Receive, send: Send) -> None:
    """Goes on after its answer."""
    waiting = asyncio.create_task(receive_after(receive))
    await hello(scope, receive, send)
    tell("told", (await waiting)["type"])
    try:
        await body(send, b"more")
    except RuntimeError as error:
        tell("RuntimeError", error)
    await asyncio.wait_for(go.wait(), 60)
    go.clear()
    tell("went on")


async def receive_after(receive: Receive) -> dict[str, Any]:
    await receive()
    return await receive()


async def release(scope: Scope, receive: Receive, send: Send) -> None:
    go.set()
    await hello(scope, receive, send)


async def impatient(scope: Scope, receive: Receive, send: Send) -> None:
    """Gives up on receive() again and again; nothing is lost by that."""
    parts, tries = [], 0
    while True:
        try:
            message = await asyncio.wait_for(receive(), 0.001)
        except asyncio.TimeoutError:
            tries += 1
            if tries == 3:
                tell("impatient")
            continue
        parts.append(message["body"])
        if not message["more_body"]:
            break
    await start(send)
    await body(send, b"".join(parts))


async def variables(scope: Scope, receive: Receive, send: Send) -> None:
    found = variable.get()
    variable.set("left over")
    await asyncio.sleep(0)
    await start(send)
    await body(send, f"{found} {variable.get()}".encode())


async def tasks(scope: Scope, receive: Receive, send: Send) -> None:
    """The current task is a task like any other."""
    task = asyncio.current_task()
    assert task is not None
    assert task in asyncio.all_tasks()
    assert task.get_coro() is not None
    async with asyncio.timeout(30) if sys.version_info >= (3, 11) else contextvars.copy_context():
        await asyncio.sleep(0)
    task.print_stack()
    await start(send)
    await body(send, repr(task).encode())


async def cancels_itself(scope: Scope, receive: Receive, send: Send) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def raises_before(scope: Scope, receive: Receive, send: Send) -> None:
    raise LookupError("before")


async def raises_begun(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, 201)
    raise LookupError("begun")


async def raises_within(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    await body(send, b"part", True)
    raise LookupError("within")


async def raises_after(scope: Scope, receive: Receive, send: Send) -> None:
    await hello(scope, receive, send)
    raise LookupError("after")


async def exits(scope: Scope, receive: Receive, send: Send) -> None:
    sys.exit("no")


async def says_nothing(scope: Scope, receive: Receive, send: Send) -> None:
    pass


async def says_half(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    await body(send, b"half", True)


async def too_short(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, 200, (b"content-length", b"10"))
    await body(send, b"short")


async def too_long(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, 200, (b"content-length", b"4"))
    await body(send, b"much", True)
    await body(send, b" too long", True)
    await body(send)


async def no_content(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, 204)
    await body(send, b"nobody sees this")


async def bad_header(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send, 200, (b"x-bad", b"a\r\nb: c"))


async def str_body(scope: Scope, receive: Receive, send: Send) -> None:
    await start(send)
    await send({"type": "http.response.body", "body": "text"})


async def hints(scope: Scope, receive: Receive, send: Send) -> None:
    assert "http.response.early_hint" in scope["extensions"]
    await send(
        {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]}
    )
    await hello(scope, receive, send)


async def trailers(scope: Scope, receive: Receive, send: Send) -> None:
    assert "http.response.trailers" in scope["extensions"]
    await start(send, 200, trailers=True)
    await body(send, b"data")
    await send({"type": "http.response.trailers", "headers": [(b"x-one", b"1")], "more_trailers": True})
    await send({"type": "http.response.trailers", "headers": [(b"x-two", b"2")]})


async def file(scope: Scope, receive: Receive, send: Send) -> None:
    assert "http.response.pathsend" in scope["extensions"]
    await start(send, 200, (b"content-type", b"text/plain"))
    await send({"type": "http.response.pathsend", "path": str(HERE)})


async def sends_at_once(scope: Scope, receive: Receive, send: Send) -> None:
    """Two tasks that both send: their pieces do not mix."""
    await start(send)

    async def many(octet: bytes) -> None:
        for _ in range(50):
            await body(send, octet * 50_000, True)

    await asyncio.gather(many(b"a"), many(b"b"))
    await body(send)


async def unawaited(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends, and returns before the client has taken it."""
    await start(send)
    kept.append(asyncio.ensure_future(body(send, b"y" * 20_000_000, True)))
    await asyncio.sleep(0)
    kept.append(asyncio.ensure_future(body(send)))
    await asyncio.sleep(0)


PATHS = {
    f"/{each.__name__}": each
    for each in (
        hello, show, echo, pieces, stream, streams_on, held, sends_to_nobody, after, release, impatient,
        variables, tasks, cancels_itself, raises_before, raises_begun, raises_within, raises_after, exits,
        says_nothing, says_half, too_short, too_long, no_content, bad_header, str_body, hints, trailers,
        file, sends_at_once, unawaited,
    )
}  # fmt: skip
