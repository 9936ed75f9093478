"""The same small site in each WSGI framework, all in one application: /FRAMEWORK/...

GET  /hello/NAME    text; NAME is not ASCII
POST /upload        the length and the hash of the body, as JSON
GET  /stream/COUNT  so many lines, one a piece
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.util import shift_path_info

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]
BLOCK = 65536


def lines(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield b"%d\n" % number


def digest(stream: Any) -> list[Any]:
    """Length and hash of what a file-like object holds, read in pieces."""
    total, hashed = 0, hashlib.sha256()
    while piece := stream.read(BLOCK):
        total += len(piece)
        hashed.update(piece)
    return [total, hashed.hexdigest()]


def make_flask() -> WsgiApp:
    from flask import Flask, Response, request

    site = Flask(__name__)

    @site.get("/hello/<name>")
    def hello(name: str) -> str:
        return f"hello {name}"

    @site.post("/upload")
    def upload() -> list[Any]:
        return digest(request.stream)

    @site.get("/stream/<int:count>")
    def stream(count: int) -> Response:
        return Response(lines(count))

    return site


def make_django() -> WsgiApp:
    from django import setup
    from django.conf import settings
    from django.core.wsgi import WSGIHandler
    from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
    from django.urls import path

    urls = [
        path("hello/<name>", lambda request, name: HttpResponse(f"hello {name}")),
        path("upload", lambda request: JsonResponse(digest(request), safe=False)),
        path("stream/<int:count>", lambda request, count: StreamingHttpResponse(lines(count))),
    ]
    settings.configure(ROOT_URLCONF=tuple(urls), ALLOWED_HOSTS=["*"], SECRET_KEY="x")
    setup()
    return WSGIHandler()


def make_falcon() -> WsgiApp:
    import falcon

    class Hello:
        def on_get(self, request: Any, response: Any, name: str) -> None:
            response.text = f"hello {name}"

    class Upload:
        def on_post(self, request: Any, response: Any) -> None:
            response.media = digest(request.bounded_stream)

    class Stream:
        def on_get(self, request: Any, response: Any, count: int) -> None:
            response.stream = lines(count)

    site = falcon.App()
    site.add_route("/hello/{name}", Hello())
    site.add_route("/upload", Upload())
    site.add_route("/stream/{count:int}", Stream())
    return site


def make_bottle() -> WsgiApp:
    from bottle import Bottle, request, response

    site = Bottle()

    @site.get("/hello/<name>")
    def hello(name: str) -> str:
        return f"hello {name}"

    @site.post("/upload")
    def upload() -> str:
        response.content_type = "application/json"
        return json.dumps(digest(request.body))

    @site.get("/stream/<count:int>")
    def stream(count: int) -> Iterator[bytes]:
        return lines(count)

    return site


def make_pyramid() -> WsgiApp:
    from pyramid.config import Configurator
    from pyramid.response import Response

    def hello(request: Any) -> Any:
        return Response(f"hello {request.matchdict['name']}")

    def upload(request: Any) -> Any:
        return Response(json_body=digest(request.body_file))

    def stream(request: Any) -> Any:
        return Response(app_iter=lines(int(request.matchdict["count"])))

    config = Configurator()
    for pattern, view in (("/hello/{name}", hello), ("/upload", upload), ("/stream/{count}", stream)):
        config.add_route(view.__name__, pattern)
        config.add_view(view, route_name=view.__name__)
    return config.make_wsgi_app()


SITES = {
    "flask": make_flask(),
    "django": make_django(),
    "falcon": make_falcon(),
    "bottle": make_bottle(),
    "pyramid": make_pyramid(),
}


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    return SITES[shift_path_info(environ)](environ, start_response)
