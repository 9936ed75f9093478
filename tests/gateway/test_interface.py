"""What an application is, told by its shape, and which worker classes serve it."""

from __future__ import annotations

from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest
from tornado.web import Application

from canter.errors import AppImportError
from canter.gateway.interface import Interface, served, tell
from canter.testing import serve

HERE = Path(__file__).parent
WSGI, ASYNC_WSGI, ASGI = Interface.WSGI, Interface.ASYNC_WSGI, Interface.ASGI


def wsgi(environ: Any, start_response: Any) -> Any:
    """The plain form."""


async def async_wsgi(environ: Any, start_response: Any) -> Any:
    """The awaited form."""


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """The third form."""


def returns_coroutine(scope: Any, receive: Any, send: Any) -> Any:
    return asgi(scope, receive, send)


def anything(*args: Any) -> Any:
    """Takes what it is given."""


async def anything_awaited(*args: Any) -> Any:
    """The same, awaited."""


class Instance:
    def __call__(self, environ: Any, start_response: Any) -> Any:
        """As a framework's application is."""


class AsyncInstance:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As a framework's application is."""


class IterableClass:
    """PEP 3333's example of an application that is a class."""

    def __init__(self, environ: Any, start_response: Any) -> None:
        pass


class Secretive:
    """Python can't tell what it takes."""

    __signature__ = "none"

    def __call__(self, environ: Any, start_response: Any) -> Any:
        pass


@wraps(asgi)
def bridge(environ: Any, start_response: Any) -> Any:
    """A WSGI application made of an ASGI one: what it takes itself counts."""


@wraps(asgi)
def decorated(*args: Any) -> Any:
    """It takes anything: what it wraps counts."""
    return asgi(*args)


@pytest.mark.parametrize(
    ("app", "found"),
    [
        (wsgi, WSGI),
        (async_wsgi, ASYNC_WSGI),
        (asgi, ASGI),
        (returns_coroutine, ASGI),
        (anything, WSGI),
        (anything_awaited, ASGI),
        (Instance(), WSGI),
        (AsyncInstance(), ASGI),
        (IterableClass, WSGI),
        (Secretive(), WSGI),
        (partial(wsgi), WSGI),
        (partial(async_wsgi), ASYNC_WSGI),
        (bridge, WSGI),
        (decorated, ASGI),
        (dict.fromkeys, WSGI),
    ],
)
def test_shapes(app: Any, found: Interface) -> None:
    assert tell(app) is found


def test_the_setting_decides_where_both_fit() -> None:
    assert tell(anything_awaited, "wsgi") is ASYNC_WSGI
    assert tell(anything, "asgi") is ASGI


@pytest.mark.parametrize("app", [async_wsgi, asgi, AsyncInstance(), anything_awaited])
def test_what_must_be_awaited_names_the_class_that_does(app: Any) -> None:
    with pytest.raises(AppImportError, match=r"await app.*, which -k gthread does not do: use -k asyncio"):
        served(app, "auto", {WSGI}, "gthread")


def test_tornado_has_a_class_of_its_own() -> None:
    with pytest.raises(AppImportError, match=r"tornado\.web\.Application: serve it with -k tornado"):
        tell(Application())


@pytest.mark.parametrize("worker_class", ["sync", "gthread", "gevent", "eventlet"])
def test_boot_ends_in_one_line(worker_class: str) -> None:
    with serve("test_interface:asgi", worker_class, cwd=HERE) as server:
        server.wait_log(f"which -k {worker_class} does not do: use -k asyncio")
        assert server.wait() == 4
        assert "Traceback" not in server.log


@pytest.mark.parametrize("worker_class", ["sync", "asyncio"])
def test_boot_of_a_tornado_application_elsewhere(worker_class: str) -> None:
    with serve("tornado_site:app", worker_class, cwd=HERE.parent / "contract") as server:
        server.wait_log("serve it with -k tornado")
        assert server.wait() == 4
        assert "Traceback" not in server.log
