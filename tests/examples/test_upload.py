"""upload: what arrives on disk is what was sent, or nothing."""

from __future__ import annotations

import os
import socket
import time
from hashlib import sha256
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("uploads") / "made by the application"


@pytest.fixture(scope="module")
def uploads(visit, folder):
    with visit("upload:app", env={"UPLOADS": str(folder)}) as client:
        yield client


def test_page(uploads) -> None:
    assert '<input type="file"' in uploads.get("/").text


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_declared_length(uploads, folder, size: int) -> None:
    content = os.urandom(size)
    answer = uploads.put(f"/plain-{size}.bin", content=content)
    assert answer.status_code == 201
    assert answer.json() == {"name": f"plain-{size}.bin", "size": size, "sha256": sha256(content).hexdigest()}
    assert (folder / f"plain-{size}.bin").read_bytes() == content


def test_chunks(uploads, folder) -> None:
    pieces = [os.urandom(n) for n in (1, 100_000, 7, 300_000)]
    answer = uploads.put("/chunks.bin", content=iter(pieces))
    assert answer.json()["size"] == 400_008
    assert (folder / "chunks.bin").read_bytes() == b"".join(pieces)


@pytest.mark.parametrize("path", ["/", "/.hidden", "/a/b", "/..%2fa", "/a%00b", "/" + "a" * 200])
def test_names(uploads, path: str) -> None:
    assert uploads.put(path, content=b"x").status_code == 400


def test_method(uploads) -> None:
    answer = uploads.delete("/a")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, PUT"


def test_a_client_that_vanishes_leaves_nothing(uploads, folder) -> None:
    url = uploads.base_url
    with socket.create_connection((url.host, url.port), timeout=30) as client:
        client.sendall(
            b"PUT /half.bin HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 500_000
        )
        until(lambda: any(folder.glob(".*")))
    until(lambda: not any(folder.glob(".*")))
    assert not (folder / "half.bin").exists()
    assert uploads.get("/").status_code == 200


def until(condition, timeout: float = 30) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
