"""``python -m canter.bench.interface APP``: prints which interface an application speaks.

In a process of its own, because loading an application may do anything.
"""

from __future__ import annotations

import inspect
import sys

from canter.gateway import loader


def interface(app: object) -> str:
    """``asgi`` for a coroutine function of three parameters, ``async_wsgi`` of two, else ``wsgi``."""
    if inspect.isclass(app):
        return "wsgi"
    function = app if inspect.isroutine(app) else getattr(app, "__call__", app)  # noqa: B004
    if not inspect.iscoroutinefunction(function):
        return "wsgi"
    return "asgi" if len(inspect.signature(function).parameters) == 3 else "async_wsgi"


if __name__ == "__main__":
    sys.path.insert(0, "")
    print(interface(loader.load(sys.argv[1])))
