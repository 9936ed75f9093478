"""curl, ab and wrk agree that hello is answered."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from canter.testing import serve
from tests.programs import needed

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def run(program: str, *arguments: str) -> str:
    """What the program prints; it must exit with 0."""
    result = subprocess.run(
        [needed(program), *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module", params=[0, 2], ids=["close", "keep-alive"])
def url(request):
    with serve("hello:app", cwd=EXAMPLES, keepalive=request.param, workers=2) as server:
        yield f"{server.url}/"


def test_curl(url) -> None:
    assert run("curl", "-sS", "--fail", url) == "Hello, world!\n"


def test_curl_keeps_a_connection_or_makes_another(url) -> None:
    assert run("curl", "-sS", "--fail", url, url, url) == "Hello, world!\n" * 3


def test_curl_head(url) -> None:
    said = run("curl", "-sS", "--fail", "--head", url)
    assert said.startswith("HTTP/1.1 200 OK")
    assert re.search(r"(?im)^content-length: 14\s*$", said)


@pytest.mark.parametrize("options", [(), ("-k",)], ids=["close", "keep-alive"])
def test_ab(url, options) -> None:
    said = run("ab", "-q", "-n", "400", "-c", "8", *options, url)
    assert re.search(r"Complete requests:\s+400\n", said)
    assert re.search(r"Failed requests:\s+0\n", said)
    assert "Non-2xx" not in said


def test_wrk(url) -> None:
    said = run("wrk", "-t", "1", "-c", "8", "-d", "1s", url)
    assert int(re.search(r"(\d+) requests in", said)[1]) > 0
    assert "Socket errors" not in said
    assert "Non-2xx" not in said
