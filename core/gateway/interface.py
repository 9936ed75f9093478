"""Which interface an application speaks: told by its shape, or said by `--interface`.

WSGI calls `app(environ, start_response)`, ASGI awaits `app(scope, receive, send)`, and
asynchronous WSGI (docs/async-wsgi.md) awaits `app(environ, start_response)`. Two things
tell them apart: what the application takes, and whether calling it makes a coroutine.
A callable that takes two arguments as well as three is told by the latter alone.

A worker class says which of them it `serves`. A wrong one ends the boot in a line that
names the class to use: served all the same, it would answer each request with a 500.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Collection
from functools import partial
from typing import Any

from canter.errors import AppImportError


class Interface(enum.Enum):
    """What an application is; the value is how it is called."""

    WSGI = "app(environ, start_response)"
    ASYNC_WSGI = "await app(environ, start_response)"
    ASGI = "await app(scope, receive, send)"


def tell(app: Any, asked: str = "auto") -> Interface:
    """The interface of `app`; `asked` is the setting: auto, wsgi or asgi.

    Raises AppImportError where the shape is that of no interface, or not of the one
    that is asked for.
    """
    if not callable(app):
        raise AppImportError(f"the application is of type {type(app).__name__}, which can't be called")
    if is_tornado(app):
        raise AppImportError("the application is a tornado.web.Application: serve it with -k tornado")
    two, three, coroutine = _takes(app, 2), _takes(app, 3), _is_async(app)
    if not two and not three:
        raise AppImportError(
            "the application takes neither (environ, start_response) nor (scope, receive, send): "
            + _shown(app)
        )
    if asked == "asgi" and not three:
        raise AppImportError(
            f"--interface asgi: the application does not take (scope, receive, send): {_shown(app)}"
        )
    if asked == "wsgi" and not two:
        raise AppImportError(
            f"--interface wsgi: the application does not take (environ, start_response): {_shown(app)}"
        )
    if asked == "asgi" or (asked == "auto" and three and (coroutine or not two)):
        return Interface.ASGI
    return Interface.ASYNC_WSGI if coroutine else Interface.WSGI


def served(app: Any, asked: str, serves: Collection[Interface], worker_class: str) -> Interface:
    """The interface of `app`, which must be one that the worker class serves."""
    found = tell(app, asked)
    if found not in serves:
        raise AppImportError(
            f"the application is called as {found.value}, which -k {worker_class} does not do: use -k asyncio"
        )
    return found


def is_tornado(app: Any) -> bool:
    """Whether it is an application of Tornado's own; told without importing Tornado."""
    return any(
        f"{kind.__module__}.{kind.__name__}" == "tornado.web.Application" for kind in type(app).__mro__
    )


def _takes(app: Any, count: int) -> bool:
    """Whether it can be called with so many positional arguments; so it seems where nobody can tell."""
    try:
        signature = _signature(app)
    except (TypeError, ValueError):  # a builtin, or whatever hides what it takes
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _signature(app: Any) -> inspect.Signature:
    """What it takes itself; where that is anything (`*args`), what it says that it wraps."""
    own = inspect.signature(app, follow_wrapped=False)
    if any(each.kind is each.VAR_POSITIONAL for each in own.parameters.values()):
        return inspect.signature(app)
    return own


def _is_async(app: Any) -> bool:
    """Whether calling it makes something to await."""
    while isinstance(app, partial):
        app = app.func
    if inspect.isclass(app):
        return hasattr(app, "__await__")
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__)


def _shown(app: Any) -> str:
    """The application and what it takes, for a log line."""
    name = getattr(app, "__qualname__", None) or f"an object of type {type(app).__qualname__}"
    return f"{name}{_signature(app)}"
