"""The applications of apps.py behind ASGI: the same behaviour, said through `receive` and `send`.

Each runs on a thread of its own, and does there what it does under WSGI: it reads while
it runs, sends each piece when it has it, and blocks. So whatever is the server's and
not WSGI's must come out alike.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote_to_bytes

import apps

from canter.errors import ClientDisconnected

Message = dict[str, Any]
POOL = ThreadPoolExecutor(64)
JOINED = {"HTTP_COOKIE": "; "}


async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
    assert scope["type"] == "http"  # no lifespan
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(POOL, Call(scope, receive, send, loop).run)


class Call:
    """One request, on its thread."""

    def __init__(self, scope: Message, receive: Any, send: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.loop = loop
        self.head: Message | None = None
        self.sent = False
        self.left: Any = None

    def run(self) -> None:
        result = apps.app(self.environ(), self.start_response)
        try:
            if type(result) in (list, tuple) and not self.sent and all(isinstance(p, bytes) for p in result):
                self.emit(b"".join(result), False)
            else:
                for piece in result:
                    self.write(piece)
                self.emit(b"", False)
        finally:
            if hasattr(result, "close"):
                result.close()

    # -- what the application calls ------------------------------------------------------

    def start_response(self, status: str, headers: list[Any], exc_info: Any = None) -> Any:
        if exc_info is not None and self.sent:
            raise exc_info[1]
        assert status[3:4] == " "
        assert self.head is None or exc_info is not None
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self.head = {"type": "http.response.start", "status": int(status[:3]), "headers": pairs}
        return self.write

    def write(self, data: bytes) -> None:
        if data != b"":
            self.emit(data, True)

    def emit(self, data: bytes, more: bool) -> None:
        if not self.sent and self.head is not None:
            self.say(self.head)
            self.sent = True
        self.say({"type": "http.response.body", "body": data, "more_body": more})

    def say(self, message: Message) -> None:
        async def do() -> None:
            await self.send(message)

        asyncio.run_coroutine_threadsafe(do(), self.loop).result()

    def hear(self) -> Message:
        async def do() -> Message:
            return await self.receive()

        return asyncio.run_coroutine_threadsafe(do(), self.loop).result()

    def early_hints(self, headers: Iterable[tuple[str, str]]) -> None:
        assert {name.lower() for name, _ in headers} == {"link"}
        links = [value.encode("latin-1") for _, value in headers]
        self.say({"type": "http.response.early_hint", "links": links})

    def client_disconnected(self) -> bool:
        if self.left is None:
            self.left = asyncio.run_coroutine_threadsafe(self.until_left(), self.loop)
        return bool(self.left.done())

    async def until_left(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass

    # -- what it looks at --------------------------------------------------------------------

    def environ(self) -> dict[str, Any]:
        scope = self.scope
        query = scope["query_string"].decode("latin-1")
        raw = scope["raw_path"].decode("latin-1")
        environ = {
            "REQUEST_METHOD": scope["method"],
            "SCRIPT_NAME": scope["root_path"],
            "PATH_INFO": unquote_to_bytes(raw).decode("latin-1"),
            "QUERY_STRING": query,
            "RAW_URI": raw + ("?" + query if query else ""),
            "SERVER_PROTOCOL": "HTTP/" + scope["http_version"],
            "SERVER_NAME": scope["server"][0],
            "SERVER_PORT": str(scope["server"][1]),
            "REMOTE_ADDR": scope["client"][0],
            "REMOTE_PORT": str(scope["client"][1]),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": scope["scheme"],
            "wsgi.input": Input(Body(self)),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": blocks,
            "wsgi.early_hints": self.early_hints,
            "canter.client_disconnected": self.client_disconnected,
        }
        for name, value in scope["headers"]:
            key = name.decode("latin-1").upper().replace("-", "_")
            key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
            text = value.decode("latin-1")
            environ[key] = environ[key] + JOINED.get(key, ", ") + text if key in environ else text
        return environ


class Body(io.RawIOBase):
    """The body as a file: each read is what one message brings, or a part of it."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.held = b""
        self.over = False

    def readable(self) -> bool:
        return True

    def readinto(self, memory: Any) -> int:
        while not self.held and not self.over:
            message = self.call.hear()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected("the client left inside its body")
            self.held = message["body"]
            self.over = not message["more_body"]
        count = min(len(memory), len(self.held))
        memory[:count] = self.held[:count]
        self.held = self.held[count:]
        return count


class Input(io.BufferedReader):
    """What an application closes stays open, as `wsgi.input` does."""

    def close(self) -> None:
        pass


def blocks(filelike: Any, size: int = 65536) -> Iterator[bytes]:
    while data := filelike.read(size):
        yield data
