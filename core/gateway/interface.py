"""Which interface an application speaks: told by its shape, or said by `--interface`.

WSGI calls `app(environ, start_response)`, ASGI awaits `app(scope, receive, send)`, and
asynchronous WSGI (docs/async-wsgi.md) awaits `app(environ, start_response)`. Two things
tell them apart: what the application takes, and whether calling it makes a coroutine.
A callable that takes two arguments as well as three is told by the latter alone.
"""

from __future__ import annotations

import enum
import inspect
from functools import partial
from typing import Any

from canter.errors import WorkerBootError


class Interface(enum.Enum):
    """What an application is; the value is how it is called."""

    WSGI = "app(environ, start_response)"
    ASYNC_WSGI = "await app(environ, start_response)"
    ASGI = "await app(scope, receive, send)"


def tell(app: Any, asked: str = "auto") -> Interface:
    """The interface of `app`; `asked` is the setting: auto, wsgi or asgi.

    Raises WorkerBootError where the shape is that of no interface, or not of the one
    that is asked for.
    """
    if not callable(app):
        raise WorkerBootError(f"the application is of type {type(app).__name__}, which can't be called")
    two, three, coroutine = _takes(app, 2), _takes(app, 3), _is_async(app)
    if not two and not three:
        raise WorkerBootError(
            "the application takes neither (environ, start_response) nor (scope, receive, send): "
            + _shown(app)
        )
    if asked == "asgi" and not three:
        raise WorkerBootError(
            f"--interface asgi: the application does not take (scope, receive, send): {_shown(app)}"
        )
    if asked == "wsgi" and not two:
        raise WorkerBootError(
            f"--interface wsgi: the application does not take (environ, start_response): {_shown(app)}"
        )
    if asked == "asgi" or (asked == "auto" and three and (coroutine or not two)):
        return Interface.ASGI
    return Interface.ASYNC_WSGI if coroutine else Interface.WSGI


def _takes(app: Any, count: int) -> bool:
    """Whether it can be called with so many positional arguments; so it seems where nobody can tell."""
    try:
        inspect.signature(app).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True


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
    return f"{name}{inspect.signature(app)}"
