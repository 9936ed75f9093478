"""nginx in front of Canter, as most deployments have it: over TCP and over a Unix socket, kept alive.

nginx gets its listening socket from the test, in the way in which it hands one to its own
successor, so no port is guessed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from canter.bench.load import run_load
from canter.testing import serve
from tests.programs import needed
from tests.wire.dialogue import wait_for

HERE = Path(__file__).resolve().parent
CLASSES = ["sync", "gthread", "gevent", "asyncio"]
CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr error;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    upstream tcp {{ server 127.0.0.1:{upstream}; keepalive 8; }}
    upstream unix {{ server unix:{folder}/canter.sock; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto https;
        location /tcp/ {{ proxy_pass http://tcp/; }}
        location /unix/ {{ proxy_pass http://unix/; }}
        location /streamed/ {{ proxy_pass http://tcp/; proxy_buffering off; proxy_request_buffering off; }}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, upstream: int) -> Iterator[str]:
    """nginx in front of a server with a Unix socket in `folder` and a port; its URL."""
    program = needed("nginx")
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        port, number = listener.getsockname()[1], listener.fileno()
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=folder, upstream=upstream, port=port))
        log = folder / "nginx.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program, "-p", folder, "-c", config, "-e", "stderr"],
                env=os.environ | {"NGINX": f"{number};"},
                pass_fds=[number],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
    try:
        wait_for(lambda: (folder / "pid").exists() or process.poll() is not None, "nginx runs")
        yield f"http://127.0.0.1:{port}"
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait()
    said = [line for line in log.read_text().splitlines() if "using inherited sockets" not in line]
    assert not said, said  # such as an upstream that closed a connection too early


@contextmanager
def behind(worker_class: str, **more: object) -> Iterator[str]:
    """The URL of an nginx with a server behind it."""
    with tempfile.TemporaryDirectory(prefix="nginx-") as name:  # a short path: the socket's is bounded
        folder = Path(name)
        folder.chmod(0o755)  # nginx's worker is another user
        bind = ["127.0.0.1:0", f"unix:{folder}/canter.sock"]
        threads = 1 if worker_class == "sync" else 8
        settings = {"bind": bind, "umask": 0, "keepalive": 100, "threads": threads, "cwd": HERE, **more}
        with serve("behind:app", worker_class, **settings) as server, nginx(folder, server.port) as url:
            yield url


@pytest.fixture(scope="module", params=CLASSES)
def served(request: pytest.FixtureRequest) -> Iterator[str]:
    with behind(request.param) as url:
        yield url


@pytest.fixture(params=["tcp", "unix"])
def url(request: pytest.FixtureRequest, served: str) -> str:
    return f"{served}/{request.param}"


def test_the_client_is_who_nginx_says(url: str) -> None:
    environ = httpx.get(f"{url}/environ?a=b", headers={"X-Forwarded-For": "203.0.113.9"}, timeout=60).json()
    assert environ["REMOTE_ADDR"] == "203.0.113.9"
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["HTTP_HOST"] == url.split("/")[2]
    assert environ["PATH_INFO"] == "/environ"
    assert environ["QUERY_STRING"] == "a=b"


def test_load(url: str) -> None:
    """Bodies, ids, clients that leave: nginx buffers them, and every answer is the right one's."""
    result = run_load(
        f"{url}/echo",
        method="POST",
        check="echo",
        body=20_000,
        requests=400,
        duration=3600,
        connections=8,
        abort=0.05,
        timeout=100,
    )
    assert not result.errors, result.examples
    assert result.answered + result.aborted == result.sent


def test_streams(served: str) -> None:
    """A chunked upload and a streamed answer pass as they come."""
    url = f"{served}/streamed"
    with httpx.Client(timeout=60) as client:
        sent = client.post(f"{url}/upload", content=(b"x" * 1000 for _ in range(500)))
        assert sent.text.split()[0] == "500000"
        with client.stream("GET", f"{url}/stream?chunks=50&size=1000") as answer:
            assert sum(map(len, answer.iter_raw())) == 50_000


@pytest.mark.parametrize("worker_class", CLASSES)
def test_connections_are_kept(worker_class: str) -> None:
    """Requests one after the other share a connection to Canter: they come from few ports of nginx's."""
    nobody = "192.0.2.1"  # nginx is not trusted, so it counts as the client itself
    with behind(worker_class, forwarded_allow_ips=nobody) as url, httpx.Client(timeout=60) as client:
        ports = {client.get(f"{url}/tcp/environ").json()["REMOTE_PORT"] for _ in range(40)}
    assert all(port.isdigit() for port in ports)
    assert len(ports) <= 20  # not one for each request
