"""Each framework on each fitting worker class: text, an upload, a stream, a WebSocket.

One server a class carries all WSGI frameworks, under a prefix each; an ASGI framework
has a server of its own, so that its lifespan is played.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from canter.testing import Server, serve
from tests import apart
from tests.wire.apps import pattern

APPS = Path(__file__).with_name("apps")
WSGI_CLASSES = ["sync", "gthread", "gevent", "eventlet", "asyncio", "tornado"]
ASGI_CLASSES = ["asyncio", "tornado"]
WSGI_FRAMEWORKS = ["flask", "django", "falcon", "bottle", "pyramid"]
ASGI_FRAMEWORKS = ["starlette", "fastapi", "django", "falcon", "quart", "litestar"]
UPLOAD = pattern(1 << 20)
DEADLINE = 60.0


@pytest.fixture(scope="module", params=WSGI_CLASSES)
def wsgi(request: pytest.FixtureRequest) -> Iterator[Server]:
    threads = {} if request.param == "sync" else {"threads": 2}
    pyramid = apart.packages("pyramid")
    with serve("wsgi_apps:app", request.param, cwd=APPS, pythonpath=pyramid, **threads) as server:
        yield server


@pytest.fixture(scope="module", params=product(ASGI_CLASSES, ASGI_FRAMEWORKS), ids="-".join)
def asgi(request: pytest.FixtureRequest) -> Iterator[tuple[str, Server]]:
    worker_class, framework = request.param
    with serve(f"asgi_apps:make({framework!r})", worker_class, cwd=APPS) as server:
        yield framework, server


def visit(url: str) -> None:
    """What every one of them can do."""
    with httpx.Client(base_url=url, timeout=DEADLINE) as client:
        answer = client.get("hello/w%C3%B6rld?a=b")
        assert (answer.status_code, answer.text) == (200, "hello wörld")
        answer = client.post("upload", content=UPLOAD)
        assert answer.json() == [len(UPLOAD), hashlib.sha256(UPLOAD).hexdigest()]
        answer = client.get("stream/1000")
        assert answer.text.split() == [str(number) for number in range(1000)]
        assert answer.headers["transfer-encoding"] == "chunked"
        assert client.get("nowhere").status_code == 404


@pytest.mark.parametrize("framework", WSGI_FRAMEWORKS)
def test_wsgi(wsgi: Server, framework: str) -> None:
    visit(f"{wsgi.url}/{framework}/")


def test_asgi(asgi: tuple[str, Server]) -> None:
    _, server = asgi
    visit(server.url)
    assert "Traceback" not in server.log


def test_asgi_websocket(asgi: tuple[str, Server]) -> None:
    framework, server = asgi
    if framework == "django":
        pytest.skip("Django itself serves no WebSockets")
    with connect(f"ws://127.0.0.1:{server.port}/echo", open_timeout=DEADLINE) as socket:
        for text in ("one", "zwölf", "x" * 100_000):
            socket.send(text)
            assert socket.recv(timeout=DEADLINE) == text
