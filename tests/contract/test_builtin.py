"""Every worker class of Canter keeps the contract that is asked of a user's own."""

from __future__ import annotations

from typing import Any, ClassVar

from canter.testing import WorkerContract


class TestSync(WorkerContract):
    worker_class = "sync"
    concurrency = 1


class TestGthread(WorkerContract):
    worker_class = "gthread"
    settings: ClassVar[dict[str, Any]] = {"threads": 4}


class TestGevent(WorkerContract):
    worker_class = "gevent"


class TestEventlet(WorkerContract):
    worker_class = "eventlet"


class TestAsyncio(WorkerContract):
    """A WSGI application on the threads of the asyncio worker."""

    worker_class = "asyncio"
    settings: ClassVar[dict[str, Any]] = {"threads": 4}


class TestTornado(WorkerContract):
    """A WSGI application on the tornado worker."""

    worker_class = "tornado"
    settings: ClassVar[dict[str, Any]] = {"threads": 4}
