"""Each rule of docs/http-policy.md about requests, over a socket, on every worker class."""

from __future__ import annotations

import json
import random
import re
from itertools import pairwise

import pytest

from tests.policy import CASES, Case
from tests.wire.conftest import Family
from tests.wire.dialogue import Client, Tail

BEHIND = b"GET /behind HTTP/1.1\r\nHost: behind\r\n\r\n"
REFUSAL = re.compile(r"\] (\d{3}) to \S+: ")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(worker: Family, case: Case) -> None:
    server = worker.server(**case.settings)
    tail = worker.tail(server)
    for pieces in ([case.request], dribbled(case.request), [case.request + BEHIND]):
        tail.skip()
        with Client(server) as client:
            if case.status is None:
                is_served(worker, client, case, pieces)
            else:
                is_refused(client, case, pieces)
                told_once(tail, client, case.status, case.late and worker.early)


def dribbled(octets: bytes) -> list[bytes]:
    """The octets in a few pieces, cut inside line ends above all."""
    chance = random.Random(octets)
    ends = [match.start() + 1 for match in re.finditer(rb"\r\n", octets)]
    places = {*chance.sample(ends, min(2, len(ends))), *(chance.randrange(len(octets) + 1) for _ in range(2))}
    cuts = [0, *sorted(places), len(octets)]
    return [octets[begin:end] for begin, end in pairwise(cuts) if begin < end]


def method_of(case: Case) -> str:
    return case.request.lstrip().partition(b" ")[0].decode("latin-1")


def is_served(worker: Family, client: Client, case: Case, pieces: list[bytes]) -> None:
    if case.expects and len(pieces) > 1:
        head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
        client.send(head + b"\r\n\r\n")
        assert client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        pieces = [body]
    client.try_send(pieces, 0.0005)
    answer = client.answer(method_of(case))
    assert answer.status == 200
    if method_of(case) != "HEAD":
        told = json.loads(answer.body)
        assert told["body"] == case.body.decode("latin-1")
        expected = dict(case.environ)
        if worker.worker_class == "asyncio-asgi" and "://" in expected.get("RAW_URI", ""):
            del expected["RAW_URI"]  # a scope has no word for it: its Host says the authority
        assert {key: told["environ"].get(key) for key in expected} == expected
        assert not [key for key in case.absent if key in told["environ"]]
    assert answer.closes == case.closes
    if case.closes:
        client.expect_end()
        return
    if not pieces[-1].endswith(BEHIND):
        client.send(BEHIND)
    assert json.loads(client.answer().body)["environ"]["RAW_URI"] == "/behind"


def is_refused(client: Client, case: Case, pieces: list[bytes]) -> None:
    client.try_send(pieces, 0.0005)
    answer = client.answer()
    assert answer.status == case.status
    assert answer.closes and answer.complete
    client.expect_end()


def told_once(tail: Tail, client: Client, status: int | None, late: bool) -> None:
    """One line says what was refused, and to whom; only what is refused late reaches the application."""
    told = tail.lines(f" to {client.name}: ")
    assert len(told) == 1
    assert REFUSAL.search(told[0])[1] == str(status)
    called = tail.lines(f"called {client.name}")
    assert len(called) == late
