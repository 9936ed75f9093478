"""The same small site in each ASGI framework: `asgi_apps:make("starlette")`.

    GET  /hello/NAME    text; NAME is not ASCII
    POST /upload        the length and the hash of the body, as JSON
    GET  /stream/COUNT  so many lines, one a piece
    WS   /echo          what is said, said back

Each import is in its function: a server loads the framework that it serves, no other.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

Site = Any


async def lines(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield b"%d\n" % number


async def digest(pieces: AsyncIterable[bytes]) -> list[Any]:
    """Length and hash of what comes in pieces."""
    total, hashed = 0, hashlib.sha256()
    async for piece in pieces:
        total += len(piece)
        hashed.update(piece)
    return [total, hashed.hexdigest()]


def make_starlette() -> Site:
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
    from starlette.routing import Route, WebSocketRoute

    async def hello(request: Any) -> Any:
        return PlainTextResponse(f"hello {request.path_params['name']}")

    async def upload(request: Any) -> Any:
        return JSONResponse(await digest(request.stream()))

    async def stream(request: Any) -> Any:
        return StreamingResponse(lines(request.path_params["count"]))

    async def echo(websocket: Any) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    return Starlette(
        routes=[
            Route("/hello/{name}", hello),
            Route("/upload", upload, methods=["POST"]),
            Route("/stream/{count:int}", stream),
            WebSocketRoute("/echo", echo),
        ]
    )


def make_fastapi() -> Site:
    from fastapi import FastAPI, Request, WebSocket
    from fastapi.responses import PlainTextResponse, StreamingResponse

    site = FastAPI()

    async def hello(name: str) -> Any:
        return PlainTextResponse(f"hello {name}")

    async def upload(request: Request) -> list[Any]:
        return await digest(request.stream())

    async def stream(count: int) -> Any:
        return StreamingResponse(lines(count))

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(text)

    # The names that their annotations use are this function's own.
    upload.__annotations__["request"], echo.__annotations__["websocket"] = Request, WebSocket
    site.get("/hello/{name}", response_model=None)(hello)
    site.post("/upload")(upload)
    site.get("/stream/{count}", response_model=None)(stream)
    site.websocket("/echo")(echo)
    return site


def make_django() -> Site:
    from django import setup
    from django.conf import settings
    from django.core.asgi import ASGIHandler
    from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
    from django.urls import path

    async def hello(request: Any, name: str) -> Any:
        return HttpResponse(f"hello {name}")

    async def upload(request: Any) -> Any:
        return JsonResponse([len(request.body), hashlib.sha256(request.body).hexdigest()], safe=False)

    async def stream(request: Any, count: int) -> Any:
        return StreamingHttpResponse(lines(count))

    urls = (path("hello/<name>", hello), path("upload", upload), path("stream/<int:count>", stream))
    settings.configure(ROOT_URLCONF=urls, ALLOWED_HOSTS=["*"], SECRET_KEY="x")
    setup()
    return ASGIHandler()


def make_falcon() -> Site:
    import falcon.asgi

    class Hello:
        async def on_get(self, request: Any, response: Any, name: str) -> None:
            response.text = f"hello {name}"

    class Upload:
        async def on_post(self, request: Any, response: Any) -> None:
            response.media = await digest(request.stream)

    class Stream:
        async def on_get(self, request: Any, response: Any, count: int) -> None:
            response.stream = lines(count)

    class Echo:
        async def on_websocket(self, request: Any, websocket: Any) -> None:
            await websocket.accept()
            while True:
                try:
                    await websocket.send_text(await websocket.receive_text())
                except falcon.WebSocketDisconnected:
                    break

    site = falcon.asgi.App()
    site.add_route("/hello/{name}", Hello())
    site.add_route("/upload", Upload())
    site.add_route("/stream/{count:int}", Stream())
    site.add_route("/echo", Echo())
    return site


def make_quart() -> Site:
    from quart import Quart, Response, request, websocket

    site = Quart(__name__)

    @site.get("/hello/<name>")
    async def hello(name: str) -> str:
        return f"hello {name}"

    @site.post("/upload")
    async def upload() -> list[Any]:
        return await digest(request.body)

    @site.get("/stream/<int:count>")
    async def stream(count: int) -> Response:
        return Response(lines(count))

    @site.websocket("/echo")
    async def echo() -> None:
        while True:
            await websocket.send(await websocket.receive())

    return site


def make_litestar() -> Site:
    from litestar import Litestar, MediaType, Request, WebSocket, get, post, websocket
    from litestar.response import Stream

    async def hello(name: str) -> str:
        return f"hello {name}"

    async def upload(request: Request[Any, Any, Any]) -> list[Any]:
        return await digest(request.stream())

    async def stream(count: int) -> Stream:
        return Stream(lines(count))

    async def echo(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        async for text in socket.iter_data():
            await socket.send_text(text)

    # The names that their annotations use are this function's own.
    names = {"Request": Request, "WebSocket": WebSocket, "Stream": Stream}
    routes = [
        get("/hello/{name:str}", media_type=MediaType.TEXT, signature_namespace=names)(hello),
        post("/upload", status_code=200, signature_namespace=names)(upload),
        get("/stream/{count:int}", signature_namespace=names)(stream),
        websocket("/echo", signature_namespace=names)(echo),
    ]
    return Litestar(routes, request_max_body_size=None)


MAKERS = {
    "starlette": make_starlette,
    "fastapi": make_fastapi,
    "django": make_django,
    "falcon": make_falcon,
    "quart": make_quart,
    "litestar": make_litestar,
}


def make(name: str) -> Site:
    return MAKERS[name]()
