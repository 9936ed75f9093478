"""The four time-outs: head, body, write, keep-alive. Each is seen by its effect, never by a clock.

All that is slow happens at once, a client a thread, and is looked at afterwards: so
the whole costs little more than the longest time-out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from canter.testing import Server, serve
from tests.policy import get
from tests.wire.conftest import APPS, Family, settings_of
from tests.wire.dialogue import Answer, Client, Tail, ask
from tests.wire.test_bodies import CHUNKED

LIMIT = 1
SETTINGS = {"header_timeout": LIMIT, "body_timeout": LIMIT, "write_timeout": LIMIT, "keepalive": LIMIT}
POST = b"POST"
LARGE = 20_000_000
SOUND = 40  # attempts at what the machine's load can spoil


@dataclass
class Seen:
    """What became of one connection."""

    name: str  # the client's address, for the log
    answer: Answer | None = None
    end: str = ""
    octets: int = 0


def silent(client: Client) -> Answer | None:
    """Nothing is sent at all."""
    client.expect_end()
    return None


def half_a_head(client: Client) -> Answer:
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Begun: ")
    return client.answer()


def a_head_that_drips(client: Client) -> Answer:
    """The time-out counts from the head's first octet, whatever comes meanwhile."""
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
    client.sock.settimeout(0.1)
    for _ in range(300):
        client.try_send([b"X: y\r\n"])
        try:
            if not client.more():
                break
        except AssertionError:
            continue
    client.sock.settimeout(30)
    return client.answer()


def half_a_second_head(client: Client) -> Answer:
    assert client.ask(get()).status == 200
    return half_a_head(client)


def half_a_body(client: Client) -> Answer:
    """Small and declared: the poller waits for it."""
    client.send(ask("digest", None, b"Content-Length: 10", method=POST) + b"12345")
    return client.answer()


def half_a_chunk(client: Client) -> Answer:
    """The application waits for it."""
    client.send(ask("digest", None, CHUNKED, method=POST) + b"5\r\n123")
    return client.answer()


def half_a_large_body(client: Client) -> Answer:
    client.send(ask("digest", None, b"Content-Length: 1000000", method=POST) + b"x" * 100_000)
    return client.answer()


def an_idle_connection(client: Client) -> Answer:
    answer = client.ask(get())
    client.expect_end("fin")
    return answer


def no_reader(client: Client, pieces: int) -> None:
    """Take the head, and then nothing until the server has given up."""
    client.send(ask("large", {"size": LARGE, "pieces": pieces}))
    client.until(b"\r\n\r\n")


def no_reader_of_one_piece(client: Client) -> None:
    no_reader(client, 1)


def no_reader_of_pieces(client: Client) -> None:
    no_reader(client, 50)


def steadily(pieces: list[bytes], do: Callable[[bytes], Any]) -> bool:
    """Do one after the other, well within a time-out. False: this machine stood still for too long."""
    last = time.monotonic()
    for piece in pieces:
        time.sleep(LIMIT / 4)
        do(piece)
        now = time.monotonic()
        if now - last > LIMIT / 2:
            return False
        last = now
    return True


def a_body_that_moves(client: Client) -> Answer | None:
    """Small and declared; six steps take longer than the time-out."""
    client.send(ask("digest", None, b"Content-Length: 6", method=POST))
    return client.answer() if steadily([b"x"] * 6, lambda piece: client.try_send([piece])) else None


def chunks_that_move(client: Client) -> Answer | None:
    client.send(ask("digest", None, CHUNKED, method=POST))
    pieces = [b"1\r\nx\r\n"] * 5 + [b"0\r\n\r\n"]
    return client.answer() if steadily(pieces, lambda piece: client.try_send([piece])) else None


def a_large_body_that_moves(client: Client) -> Answer | None:
    client.send(ask("digest", None, b"Content-Length: 70000", method=POST) + b"x" * 69_994)
    return client.answer() if steadily([b"x"] * 6, lambda piece: client.try_send([piece])) else None


def a_slow_reader(client: Client) -> Answer | None:
    """It empties the server's send buffer so slowly that there is no room for long."""
    client.send(ask("large", {"size": LARGE}))
    client.until(b"\r\n\r\n")
    if not steadily([b"x"] * 10, lambda _: client.exactly(20_000)):
        return None
    left = LARGE - 10 * 20_000
    return Answer(200, "OK", [], complete=len(client.exactly(left)) == left)


MOVING = (a_body_that_moves, chunks_that_move, a_large_body_that_moves, a_slow_reader)
SCENES: tuple[Callable[[Client], Answer | None], ...] = (
    silent,
    half_a_head,
    a_head_that_drips,
    half_a_second_head,
    half_a_body,
    half_a_chunk,
    half_a_large_body,
    an_idle_connection,
    no_reader_of_one_piece,
    no_reader_of_pieces,
    *MOVING,
)


@dataclass
class Act:
    """All scenes, played on one server."""

    server: Server
    tail: Tail
    seen: dict[str, Future[Seen]]


@pytest.fixture(scope="module")
def act(worker: Family) -> Iterator[Act]:
    server = worker.server(**SETTINGS)

    def play(scene: Callable[[Client], Answer | None]) -> Seen:
        for _ in range(SOUND if scene in MOVING else 1):
            with Client(server, receive_buffer=4096 if "reader" in scene.__name__ else 0) as client:
                seen = Seen(client.name, scene(client))
                if scene.__name__.startswith("no_reader"):
                    worker.tail(server).wait(f"{client.name} took nothing")
                if seen.answer is not None or scene not in MOVING:
                    seen.octets = len(client.rest())
                    seen.end = client.end
                    break
        return seen

    with ThreadPoolExecutor(len(SCENES)) as pool:
        yield Act(server, worker.tail(server), {s.__name__: pool.submit(play, s) for s in SCENES})


def test_nothing_at_all_is_closed_in_silence(act: Act) -> None:
    seen = act.seen["silent"].result()
    assert (seen.end, seen.octets) == ("fin", 0)
    assert not act.tail.lines(seen.name)


@pytest.mark.parametrize(
    ("scene", "called", "why"),
    [
        ("half_a_head", 0, "head"),
        ("a_head_that_drips", 0, "head"),
        ("half_a_second_head", 1, "head"),
        ("half_a_body", 0, "body"),
        ("half_a_chunk", 1, "body"),
        ("half_a_large_body", 1, "body"),
    ],
)
def test_408(worker: Family, act: Act, scene: str, called: int, why: str) -> None:
    """An answer, one line that says why, the end; the application is called where it had to be."""
    seen = act.seen[scene].result()
    assert seen.answer is not None
    assert (seen.answer.status, seen.answer.closes, seen.octets) == (408, True, 0)
    (line,) = act.tail.lines(f" 408 to {seen.name}: ")
    assert why in line
    assert len(act.tail.lines(f"called {seen.name}")) == (called if worker.early or why == "head" else 0)


def test_an_idle_connection_is_closed_in_silence(act: Act) -> None:
    seen = act.seen["an_idle_connection"].result()
    assert seen.answer is not None
    assert (seen.answer.status, seen.end, seen.octets) == (200, "fin", 0)


@pytest.mark.parametrize("scene", ["no_reader_of_one_piece", "no_reader_of_pieces"])
def test_a_client_that_takes_nothing_is_cut(act: Act, scene: str) -> None:
    seen = act.seen[scene].result()
    assert seen.end == "reset"
    assert seen.octets < LARGE
    assert len(act.tail.lines(f"{seen.name} took nothing")) == 1
    if scene.endswith("_of_pieces"):
        act.tail.wait(f"closed {seen.name}")


@pytest.mark.parametrize("scene", [scene.__name__ for scene in MOVING])
def test_what_moves_may_take_its_time(act: Act, scene: str) -> None:
    seen = act.seen[scene].result()
    assert seen.answer is not None, "the machine never came to rest"
    assert (seen.answer.status, seen.answer.complete) == (200, True)


RATE = 1000  # octets a second, over windows of ten seconds


def drip(client: Client, octets: bytes, size: int) -> Answer:
    """Send a body in pieces of `size`, two a second, until it is over or the server has had enough."""
    client.sock.settimeout(0.5)
    for at in range(0, len(octets), size):
        client.try_send([octets[at : at + size]])
        try:
            client.more()
            break
        except AssertionError:
            continue
    client.sock.settimeout(30)
    return client.answer()


def chunks_too_slow(client: Client) -> int:
    client.send(ask("digest", None, CHUNKED, method=POST))
    return drip(client, b"1\r\nx\r\n" * 60, 6).status


def small_body_too_slow(client: Client) -> int:
    """It is received before the application runs."""
    client.send(ask("digest", None, b"Content-Length: 60000", method=POST))
    return drip(client, b"x" * 6000, 100).status


def small_body_fast_enough(client: Client) -> int:
    client.send(ask("digest", None, b"Content-Length: 48000", method=POST))
    return drip(client, b"x" * 48000, 2000).status


def bodies_far_apart(client: Client) -> int:
    """Time without a body does not count."""
    for pause in (11, 0):
        client.send(ask("digest", None, b"Content-Length: 4", method=POST))
        assert drip(client, b"abcd", 2).status == 200
        time.sleep(pause)  # what is tested is that time passed
    return 200


@pytest.mark.parametrize("worker_class", ["gthread", "asyncio-asgi"])
def test_min_rate(worker_class: str) -> None:
    """--body-min-rate ends a body that moves, but too slowly; ten seconds a window."""
    wanted = {
        chunks_too_slow: 408,
        small_body_too_slow: 408,
        small_body_fast_enough: 200,
        bodies_far_apart: 200,
    }
    app = APPS.get(worker_class, "apps:app")
    with (
        serve(app, **settings_of(worker_class, {"body_min_rate": RATE})) as server,
        ThreadPoolExecutor() as pool,
    ):

        def play(client_of: Callable[[Client], int]) -> int:
            with Client(server) as client:
                return client_of(client)

        assert dict(zip(wanted, pool.map(play, wanted), strict=True)) == wanted
        assert server.wait_log(r" 408 to .*1000 octets a second")
