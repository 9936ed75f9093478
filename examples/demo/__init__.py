"""All examples as one application, and a page that shows them: what `make serve` serves.

canter --chdir examples --pythonpath django_site demo:app
"""

import os
from pathlib import Path
from string import Template

import download
import environ_dump
import flask_app
import form_get
import form_post
import hello
import upload
from guestbook import wsgi as guestbook

PAGE = Template(Path(__file__).with_name("index.html").read_text(encoding="utf-8"))

MOUNTS = {
    "hello": hello.app,
    "environ": environ_dump.app,
    "get": form_get.app,
    "post": form_post.app,
    "flask": flask_app.app,
    "django": guestbook.application,
    "download": download.app,
    "upload": upload.app,
}


def app(environ, start_response):
    """Hand a request to the example whose name its path begins with."""
    name, slash, rest = environ["PATH_INFO"].removeprefix("/").partition("/")
    if not slash and name in MOUNTS:
        return text(start_response, "308 Permanent Redirect", "", [("Location", f"{name}/")])
    if name in MOUNTS:
        # What PEP 3333 says an application needs to know of where it is mounted.
        environ["SCRIPT_NAME"] += f"/{name}"
        environ["PATH_INFO"] = f"/{rest}"
        return MOUNTS[name](environ, start_response)
    if name:
        return text(start_response, "404 Not Found", "There is no such example.\n")
    return text(
        start_response, "200 OK", PAGE.substitute(pid=os.getpid(), **server(environ)), kind="text/html"
    )


def server(environ):
    """What the page says of the server that runs it."""
    concurrency = "many requests at a time" if environ["wsgi.multithread"] else "one request at a time"
    return {"software": environ["SERVER_SOFTWARE"], "concurrency": concurrency}


def text(start_response, status, content, headers=(), kind="text/plain"):
    body = content.encode()
    start_response(
        status, [("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body))), *headers]
    )
    return [body]
