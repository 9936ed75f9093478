"""All worker classes are one server: byte for byte, Date aside, they say what sync says.

The other tests hold each class to what is right; this one holds them to each other, in
every octet, over every case of the policy and every kind of answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from canter.testing import Server
from tests.policy import CASES
from tests.wire.apps import pattern
from tests.wire.conftest import Family
from tests.wire.dialogue import Client, ask
from tests.wire.test_bodies import CHUNKED, EXPECT, INPUT_DIALOGUES, chunked, sized

TEXT = ["Content-Type", "text/plain"]
DATE = re.compile(rb"\r\nDate: [^\r]*")


def spoken(bodies: tuple[tuple[str, list[Any]], ...]) -> Iterator[bytes]:
    """Every way to hand over a body, with every method, version and status that changes its framing."""
    for how, body in bodies:
        for headers in ([TEXT], [TEXT, ["Content-Length", "5"]], [["Connection", "close"]], [["X", "a\nb"]]):
            given = {"how": how, "body": body, "headers": headers}
            yield ask("say", given)
            yield ask("say", given, method=b"HEAD")
            yield ask("say", given, b"Connection: keep-alive", version=b"HTTP/1.0")
        for status in ("204 No Content", "304 Not Modified", "404 Not Found", "200"):
            yield ask("say", {"how": how, "body": body, "status": status})


ANSWERS = (
    *spoken(
        tuple(
            (how, body)
            for how in ("list", "tuple", "iterator", "generator", "lazy", "write")
            for body in ([], ["hello"], ["he", "", "llo"], ["hello, world"], [{"str": "x"}], [{"raise": "x"}])
        )
    ),
    *(ask(name) for name in ("silent", "twice", "nothing", "fails", "recovers")),
    ask("hints", {"hints": [["link", "</a>"]]}),
    ask("large", {"size": 1_000_000}),
    ask("large", {"size": 1_000_000, "pieces": 7, "length": False}),
    ask("fails_on_close", {"body": ["hello"]}),
    *(ask("file", {"path": "abc" * 1000, "kind": kind}) for kind in ("memory", "pipe", "reader")),
    ask("say", {"body": ["a"]}) * 50 + ask("say", {"body": ["b"], "how": "lazy"}) * 50,
)

BODIES = (
    *(make(b"a\nb\r\nc" * 10, "input", calls) for calls, _ in INPUT_DIALOGUES for make in (sized, chunked)),
    *(make(pattern(size), "digest") for size in (0, 1, 65536, 300_000) for make in (sized, chunked)),
    ask("input", [["read"]], EXPECT, b"Content-Length: 3", method=b"POST") + b"abc",
    ask("ignores", None, EXPECT, b"Content-Length: 3", method=b"POST"),
    ask("reads_late", None, CHUNKED, method=b"POST") + b"3\r\nabc\r\n0\r\n\r\n",
    ask("ignores", None, CHUNKED, method=b"POST") + b"3\r\nabc\r\n0\r\n\r\n" + ask("say", {"body": ["next"]}),
    ask("digest", None, CHUNKED, method=b"POST") + b"3\r\nabc\r\nzz\r\n",
)


def said(server: Server, octets: bytes) -> tuple[bytes, str]:
    """All that comes back until the connection ends, and how it ends."""
    with Client(server) as client:
        client.try_send([octets])
        try:
            client.finish()
        except OSError:
            pass  # it has ended already
        return DATE.sub(b"", client.rest()), client.end


def differences(one: Server, other: Server, requests: Iterable[bytes]) -> list[tuple[bytes, Any, Any]]:
    """The requests that both do not answer alike, and what each says."""
    both = ((octets, said(one, octets), said(other, octets)) for octets in requests)
    return [found for found in both if found[1] != found[2]]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(pattern(200_000))
    return path


def files(path: Path) -> Iterator[bytes]:
    for given in ({}, {"at": 100}, {"length": 500}, {"at": 200_000}, {"before": "x"}):
        yield ask("file", {"path": str(path), **given})
        yield ask("file", {"path": str(path), **given}, b"Connection: close", version=b"HTTP/1.0")


@pytest.fixture(scope="module")
def model() -> Iterator[Family]:
    """What the others are held to."""
    with ExitStack() as stack:
        yield Family("sync", stack)


def settings_of_cases() -> list[dict[str, int]]:
    found: dict[str, dict[str, int]] = {repr(case.settings): dict(case.settings) for case in CASES}
    return list(found.values())


@pytest.mark.wsgi
@pytest.mark.parametrize("settings", settings_of_cases(), ids=repr)
def test_policy(worker: Family, model: Family, settings: dict[str, int]) -> None:
    requests = [case.request for case in CASES if case.settings == settings]
    assert not differences(worker.server(**settings), model.server(**settings), requests)


def test_answers(worker: Family, model: Family) -> None:
    assert not differences(worker.server(), model.server(), ANSWERS)


@pytest.mark.wsgi
def test_files(worker: Family, model: Family, path: Path) -> None:
    assert not differences(worker.server(), model.server(), files(path))


@pytest.mark.early
def test_bodies(worker: Family, model: Family) -> None:
    assert not differences(worker.server(), model.server(), BODIES)
